"""Several servers of one model: which one gets the next request, and which one rests.

Decides by load and health. It opens no connection and its clock is given to it. The rules: the
endpoint with the fewest running requests is next; an endpoint that failed ``failures`` times in a
row gets none for a pause, and then **one** to prove itself; only faults that are the server's own
count (`wsserver.engines.openai.faults`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto

from wsserver.engines.openai.dialect import Dialect
from wsserver.engines.openai.faults import Fault


class Circuit(Enum):
    """Whether an endpoint gets requests."""

    CLOSED = auto()  # yes
    OPEN = auto()  # not before its pause is over
    HALF_OPEN = auto()  # one is on its way to find out


class Breaker:
    """The circuit breaker of one endpoint.

    =========  ==============================  =========
    from       when                            to
    =========  ==============================  =========
    CLOSED     ``failures`` faults in a row    OPEN
    OPEN       a request after the pause       HALF_OPEN
    HALF_OPEN  its answer begins               CLOSED
    HALF_OPEN  it fails                        OPEN
    HALF_OPEN  it ends without telling         OPEN, its pause over
    =========  ==============================  =========
    """

    def __init__(self, failures: int, pause: float, clock: Callable[[], float]) -> None:
        self._failures = failures
        self._pause = pause
        self._clock = clock
        self._in_a_row = 0
        self._opened_at = 0.0
        self.circuit = Circuit.CLOSED

    @property
    def is_ready(self) -> bool:
        """Whether a request may go now."""
        if self.circuit is Circuit.OPEN:
            return self._clock() - self._opened_at >= self._pause
        return self.circuit is Circuit.CLOSED

    def begin(self) -> None:
        """A request goes; only while `is_ready`."""
        if self.circuit is Circuit.OPEN:
            self.circuit = Circuit.HALF_OPEN

    def show_life(self) -> None:
        """An answer begins: others need not wait for its end. What failed before still counts."""
        if self.circuit is Circuit.HALF_OPEN:
            self.circuit = Circuit.CLOSED

    def succeed(self) -> None:
        """The server did its part."""
        self._in_a_row = 0
        self.circuit = Circuit.CLOSED

    def fail(self) -> None:
        """The server did not do its part."""
        self._in_a_row += 1
        if self.circuit is Circuit.HALF_OPEN or self._in_a_row >= self._failures:
            self.open()

    def open(self) -> None:
        """Give it a rest from now on."""
        self.circuit = Circuit.OPEN
        self._opened_at = self._clock()

    def tell_nothing(self) -> None:
        """A request ended without a word on the server's health (it was cancelled)."""
        if self.circuit is Circuit.HALF_OPEN:
            self.circuit = Circuit.OPEN  # and the next one may try at once


class Endpoint:
    """One server. ``url`` is its API's base, without a slash at its end."""

    def __init__(self, url: str, dialect: Dialect, breaker: Breaker) -> None:
        self.url = url
        self.dialect = dialect
        self.breaker = breaker
        self.running = 0
        self.last_turn = 0

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Counts a request while it runs, and tells the breaker how it went."""
        self.breaker.begin()
        self.running += 1
        try:
            yield
        except Fault as fault:
            if fault.is_servers:
                self.breaker.fail()
            else:
                self.breaker.succeed()  # it answered, if only to refuse
            raise
        except BaseException:
            self.breaker.tell_nothing()
            raise
        else:
            self.breaker.succeed()
        finally:
            self.running -= 1


class Endpoints:
    """All servers of a model."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.all = tuple(endpoints)
        self._turns = itertools.count(1)

    def choose(self, tried: Collection[Endpoint] = ()) -> Endpoint | None:
        """Who gets the next request: of those that may, one not ``tried`` before, the least busy.

        Equally busy ones take turns. None if all rest.
        """
        ready = [endpoint for endpoint in self.all if endpoint.breaker.is_ready]
        if not ready:
            return None
        chosen = min(ready, key=lambda e: (e in tried, e.running, e.last_turn))
        chosen.last_turn = next(self._turns)
        return chosen
