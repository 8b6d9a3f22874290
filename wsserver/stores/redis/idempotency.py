"""What requests became, over all processes: the same request under the same id is run once.

| key | type | holds |
|---|---|---|
| ``wsserver:{i:<digest of identity and id>}`` | hash | see below |

| field | holds |
|---|---|
| ``fingerprint`` | of what was asked |
| ``outcome`` | what the request becomes, or became |
| ``first``, ``last`` | what it was to become at first, and before this; the same without such |
| ``free`` | 1: it never was, and is whoever's asks next |

It ends a day after it was claimed, or the retention after its request has ended.
"""

from __future__ import annotations

from wsserver.core.idempotency import duplicate_request
from wsserver.core.shared.ports import Became
from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.names import digest

RUNNING_MS = 86_400_000
"""For which a request is remembered whose process died before it ended: longer than any runs."""


class RedisIdempotency:
    """Requests of all identities in one Redis: a `Repeats`.

    Args:
        link: The Redis.
        retention: Seconds for which an ended request is remembered.
    """

    def __init__(self, link: RedisLink, retention: float) -> None:
        self._link = link
        self._retention_ms = max(1, round(retention * 1000))

    async def claim(
        self, identity_key: str, request_id: str, fingerprint: bytes, outcome: bytes
    ) -> Became:
        args = (fingerprint, outcome, RUNNING_MS)
        became = await self._link.call("repeats/claim", [_key(identity_key, request_id)], args)
        if became == 0:
            raise duplicate_request()
        return Became(*became)

    async def look(
        self, identity_key: str, request_id: str, fingerprint: bytes | None
    ) -> bytes | None:
        key = _key(identity_key, request_id)
        known, outcome, free = await self._link.command(
            "HMGET", key, "fingerprint", "outcome", "free"
        )
        if known is None or free == b"1":
            return None
        if fingerprint is not None and known != fingerprint:
            raise duplicate_request()
        became: bytes = outcome
        return became

    async def take_over(
        self, identity_key: str, request_id: str, earlier: bytes, outcome: bytes
    ) -> bool:
        key = _key(identity_key, request_id)
        return bool(await self._link.call("repeats/take", [key], (earlier, outcome, RUNNING_MS)))

    def settle(self, identity_key: str, request_id: str, outcome: bytes, ended: bytes) -> None:
        args = (outcome, ended, self._retention_ms)
        self._link.insist("repeats/settle", [_key(identity_key, request_id)], args)

    def release(self, identity_key: str, request_id: str, outcome: bytes) -> None:
        args = (outcome, self._retention_ms)
        self._link.insist("repeats/release", [_key(identity_key, request_id)], args)


def _key(identity_key: str, request_id: str) -> str:
    # One digest of both: the length says where the first one ends.
    return f"wsserver:{{i:{digest(f'{len(identity_key)}:{identity_key}{request_id}')}}}"
