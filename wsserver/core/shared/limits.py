"""Limits as a gateway of a fleet asks them: what it can't know at once is asked at admission."""

from __future__ import annotations

from collections.abc import Coroutine

from wsserver.core.limits import LimitReport, limit_of
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.led import store_away
from wsserver.core.shared.ports import SharedLimits
from wsserver.core.telemetry import Telemetry
from wsserver_protocol.errors import WireError


class DeferredLimits:
    """Lets everything pass: `Admission` asks the fleet's limits before a start is told."""

    def __init__(self, limits: SharedLimits, telemetry: Telemetry) -> None:
        self._limits = limits
        self._telemetry = telemetry

    def admit(self, key: str, requests: int, now: float) -> None:
        """Nothing yet: each answer is charged at its admission."""

    def admission(self, key: str, requests: int) -> Coroutine[None, None, None] | None:
        """Asks the fleet's limits."""
        return self._admit(key, requests)

    async def _admit(self, key: str, requests: int) -> None:
        try:
            await self._limits.admit(key, requests)
        except WireError as error:
            self._telemetry.rate_limited(limit_of(error))
            raise
        except StoreUnavailable:
            raise store_away() from None

    def begin(self, key: str, stream_id: str) -> None:
        """Nothing yet: a place is taken at its admission."""

    def end(self, key: str, stream_id: str) -> None:
        """Nothing: whoever writes an answer's end gives its place back."""

    def has_place(self, key: str) -> bool:
        """Not known yet; what waits for a place waits in its admission."""
        return True

    def require_place(self, key: str) -> None:
        """Not known yet."""

    def use_tokens(self, key: str, tokens: int, now: float) -> None:
        """Nothing: whoever writes an answer's end charges what it used."""

    async def report(self, key: str, now: float) -> LimitReport:
        """The key's allowances over the fleet.

        Raises:
            WireError: ``store_unavailable``.
        """
        try:
            return await self._limits.report(key)
        except StoreUnavailable:
            raise store_away() from None
