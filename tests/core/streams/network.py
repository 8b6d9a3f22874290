"""What lies between the parts of the simulated system: delay, loss, doubling, disorder."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tests.core.streams.virtual_loop import VirtualLoop

T = TypeVar("T")

REPLY_TIMEOUT = 0.05


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How bad it is: probabilities, unless it says otherwise."""

    lost_bells: float = 0.0  # doubled ones are half as many
    disorder: float = 0.0  # of a bell or a reply that comes up to 80 ms late, behind others
    deafness: float = 0.0  # of a gateway, at each bell: it hears none for up to 0.6 s
    lost_replies: float = 0.0  # of the store; half as many requests are lost on their way to it
    deaths: float = 0.0  # of a worker, at each flush, on average
    lost_tails: float = 0.0  # of the store, at each flush; ten times as many where a worker dies
    given_up: float = 0.0  # of an answer whose worker died: it is ended as it is
    cancelled: float = 0.0  # of an answer
    gateway_dies: bool = False
    knows_fence: float = 0.5  # of a viewer: it gives the fence of what it has when it comes back

    @property
    def are_of_workers_or_store(self) -> bool:
        return bool(self.lost_replies or self.deaths or self.lost_tails)


class Network:
    """Carries calls to the store and doorbells from it."""

    def __init__(self, loop: VirtualLoop, faults: Faults, rng: random.Random) -> None:
        self._loop = loop
        self.faults = faults
        self._rng = rng

    def call(
        self,
        operation: Callable[[], T],
        on_reply: Callable[[T], object],
        on_timeout: Callable[[], object],
    ) -> None:
        """Do an operation at the store and bring its reply, or neither, or only the one."""
        rng, lost = self._rng, self.faults.lost_replies
        there, back = self._delay(), self._late()
        if rng.random() < lost / 2:
            self._loop.call_later(REPLY_TIMEOUT, on_timeout)
            return
        is_answered = rng.random() >= lost

        def do() -> None:
            result = operation()
            if is_answered:
                self._loop.call_later(back, on_reply, result)
            else:
                self._loop.call_later(REPLY_TIMEOUT - there, on_timeout)

        self._loop.call_later(there, do)

    def ring(self, deliver: Callable[[], object]) -> None:
        """Deliver a doorbell once, twice, late or not at all."""
        rng, lost = self._rng, self.faults.lost_bells
        copies = 2 if rng.random() < lost / 2 else 1
        for _ in range(copies):
            if rng.random() >= lost:
                self._loop.call_later(self._late(), deliver)

    def _late(self) -> float:
        """A delay that now and then is long."""
        late = self._rng.random() < self.faults.disorder
        return self._delay() + (self._rng.uniform(0, 0.08) if late else 0.0)

    def _delay(self) -> float:
        return self._rng.uniform(0.0002, 0.003)
