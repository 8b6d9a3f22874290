"""How much one identity may ask for: requests and tokens a minute, answers at once.

The rate limits are the generic cell rate algorithm (ITU-T I.371) with a burst of the whole
minute's allowance: a rested caller may use n at once, and afterwards one more every 60/n seconds.
State is one number per key, the theoretical arrival time; a key whose time has passed is the
same as no key, so idle callers cost nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Protocol

from wsserver_protocol.errors import ErrorCode, WireError

MINUTE = 60.0


class Meter:
    """GCRA for many keys.

    Args:
        rate: Units per ``period``; 0 means no limit.
        period: Seconds in which ``rate`` units come back.
        burst: Units that a rested key may use at once; the rate's whole period when None.
    """

    def __init__(self, rate: float, period: float = MINUTE, burst: float | None = None) -> None:
        self._interval = period / rate if rate else 0.0  # seconds until one unit comes back
        self._tolerance = self._interval * (rate if burst is None else burst)
        self._arrival: dict[str, float] = {}
        self._sweep_at = 0.0
        self.capacity = int(rate if burst is None else burst)

    def take(self, key: str, cost: float, now: float) -> float:
        """Spend ``cost`` units, or tell how long to wait.

        Returns:
            0.0 when spent; else seconds until the units are available (nothing is spent).
            Infinity if ``cost`` exceeds the burst, so that no wait could help.
        """
        if not self._interval:
            return 0.0
        if cost * self._interval > self._tolerance * (1 + 1e-9):
            return float("inf")
        arrival = max(self._arrival.get(key, now), now) + cost * self._interval
        wait = arrival - now - self._tolerance
        if wait > 1e-9:
            return wait
        self._arrival[key] = arrival
        self._sweep(now)
        return 0.0

    def charge(self, key: str, cost: float, now: float) -> None:
        """Spend what has been used already, also past the limit: a later `take` waits for it."""
        if self._interval:
            self._arrival[key] = max(self._arrival.get(key, now), now) + cost * self._interval
            self._sweep(now)

    def wait(self, key: str, now: float) -> float:
        """Seconds until one unit is available; 0.0 if it is now."""
        if not self._interval:
            return 0.0
        behind = max(self._arrival.get(key, now), now) - now
        return max(0.0, behind + self._interval - self._tolerance)

    def remaining(self, key: str, now: float) -> int:
        """Whole units that could be taken now."""
        if not self._interval:
            return 0
        behind = max(self._arrival.get(key, now), now) - now
        return max(0, int((self._tolerance - behind) / self._interval + 1e-9))

    def reset_in(self, key: str, now: float) -> float:
        """Seconds until the key is fully rested."""
        return max(0.0, self._arrival.get(key, now) - now)

    def _sweep(self, now: float) -> None:
        if now >= self._sweep_at:
            self._sweep_at = now + MINUTE
            self._arrival = {k: t for k, t in self._arrival.items() if t > now}


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """Allowances of one identity; 0 means none for the rates."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    max_concurrent_streams: int = 64


@dataclass(frozen=True, slots=True)
class LimitReport:
    """What `get_status` says of an identity's allowances. ``reset_in`` in seconds."""

    requests_limit: int
    requests_remaining: int
    tokens_limit: int
    tokens_remaining: int
    concurrent_limit: int
    concurrent_remaining: int
    reset_in: float


def limit_of(error: WireError) -> str:
    """The limit that has refused something, as it is counted."""
    is_full = error.code is ErrorCode.TOO_MANY_STREAMS
    return "max_concurrent_streams" if is_full else "requests_per_minute"


class Limits(Protocol):
    """Admission of work. Control messages never come here."""

    def admit(self, key: str, requests: int, now: float) -> None:
        """Charge ``requests`` requests.

        Raises:
            WireError: ``rate_limited`` with ``retry_after`` when requests or tokens are used up;
                nothing is charged then.
        """

    def admission(self, key: str, requests: int) -> Coroutine[None, None, None] | None:
        """What decides later, and elsewhere, on requests that `admit` has let pass.

        For what is no answer (a batch as a whole, a load). None if `admit` has decided; else to be
        awaited once, and raises as `admit` does, or ``store_unavailable``.
        """

    def begin(self, key: str, stream_id: str) -> None:
        """Take a place for one running or waiting answer.

        Raises:
            WireError: As for `require_place`.
        """

    def end(self, key: str, stream_id: str) -> None:
        """Give the place of one answer back."""

    def has_place(self, key: str) -> bool:
        """Whether `begin` would succeed."""

    def require_place(self, key: str) -> None:
        """Refuse where `begin` would.

        Raises:
            WireError: ``too_many_streams`` when all places are taken.
        """

    def use_tokens(self, key: str, tokens: int, now: float) -> None:
        """Charge tokens that were used, prompt and answer alike."""

    async def report(self, key: str, now: float) -> LimitReport:
        """The key's allowances and what is left of them."""


class MemoryLimits:
    """Limits of a single process.

    Tokens are charged as they are used, never by an estimate that someone must correct: a request
    is admitted while at least one token is left, and what it runs over is waited for by the next.
    """

    def __init__(self, policy: LimitPolicy) -> None:
        self._policy = policy
        self._requests = Meter(policy.requests_per_minute)
        self._tokens = Meter(policy.tokens_per_minute)
        self._running: Counter[str] = Counter()

    def admit(self, key: str, requests: int, now: float) -> None:
        wait = self._tokens.wait(key, now)
        if wait > 0:
            raise tokens_used_up(wait)
        wait = self._requests.take(key, requests, now)
        if wait == float("inf"):
            raise too_many_requests(requests, self._requests.capacity)
        if wait > 0:
            raise requests_used_up(wait)

    def admission(self, key: str, requests: int) -> Coroutine[None, None, None] | None:
        return None

    def begin(self, key: str, stream_id: str) -> None:
        self.require_place(key)
        self._running[key] += 1

    def end(self, key: str, stream_id: str) -> None:
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]

    def has_place(self, key: str) -> bool:
        return self._running.get(key, 0) < self._policy.max_concurrent_streams

    def require_place(self, key: str) -> None:
        if not self.has_place(key):
            raise too_many_streams(self._policy.max_concurrent_streams)

    def use_tokens(self, key: str, tokens: int, now: float) -> None:
        self._tokens.charge(key, tokens, now)

    async def report(self, key: str, now: float) -> LimitReport:
        policy = self._policy
        return LimitReport(
            requests_limit=policy.requests_per_minute,
            requests_remaining=self._requests.remaining(key, now),
            tokens_limit=policy.tokens_per_minute,
            tokens_remaining=self._tokens.remaining(key, now),
            concurrent_limit=policy.max_concurrent_streams,
            concurrent_remaining=policy.max_concurrent_streams - self._running.get(key, 0),
            reset_in=max(self._requests.reset_in(key, now), self._tokens.reset_in(key, now)),
        )


def tokens_used_up(wait: float) -> WireError:
    """``rate_limited`` for ``wait`` seconds, because of the tokens."""
    return _rate_limited("The token limit of this minute is used up.", wait)


def requests_used_up(wait: float) -> WireError:
    """``rate_limited`` for ``wait`` seconds, because of the requests."""
    return _rate_limited("The request limit of this minute is used up.", wait)


def too_many_requests(requests: int, most: int) -> WireError:
    """``rate_limited`` for what no wait could help."""
    return WireError(
        ErrorCode.RATE_LIMITED,
        f"{requests} requests at once are more than a whole minute's limit of {most}.",
        retryable=False,
    )


def too_many_streams(most: int) -> WireError:
    """``too_many_streams`` with the number that may run."""
    return WireError(ErrorCode.TOO_MANY_STREAMS, f"At most {most} answers may run at once.")


def _rate_limited(message: str, wait: float) -> WireError:
    return WireError(ErrorCode.RATE_LIMITED, message, retry_after=max(1, int(wait * 1000 + 0.999)))
