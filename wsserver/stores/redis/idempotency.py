"""What requests became, over all processes: the same request under the same id is run once.

| key | type | holds |
|---|---|---|
| ``wsserver:{i:<digest of identity and id>}`` | hash | ``fingerprint``, ``outcome``, ``claim`` |

It ends a day after it was claimed, or the retention after its request has ended.
"""

from __future__ import annotations

import secrets

from wsserver.core.idempotency import duplicate_request
from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.names import digest

RUNNING_MS = 86_400_000
"""For which a request is remembered whose process died before it ended: longer than any runs."""


class RedisIdempotency:
    """Requests of all identities in one Redis. Each method raises `StoreUnavailable`.

    Args:
        link: The Redis.
        retention: Seconds for which an ended request is remembered.
    """

    def __init__(self, link: RedisLink, retention: float) -> None:
        self._link = link
        self._retention_ms = max(1, round(retention * 1000))

    async def claim(
        self, identity_key: str, request_id: str, fingerprint: bytes, outcome: bytes
    ) -> bytes | None:
        """Note what a request becomes, unless it has become something before.

        Returns:
            None if it is the caller's to do now; else what the same request became.

        Raises:
            WireError: ``duplicate_request`` if the id was used for another request.
        """
        args = (fingerprint, outcome, secrets.token_hex(8), RUNNING_MS)
        earlier = await self._link.call("repeats/claim", [_key(identity_key, request_id)], args)
        if earlier == 0:
            raise duplicate_request()
        known: bytes | None = earlier
        return known

    async def take_over(
        self, identity_key: str, request_id: str, earlier: bytes, outcome: bytes
    ) -> bool:
        """Have a request become something else, because what it became is not going to be.

        Returns:
            Whether it is the caller's to do now; False if it is not ``earlier`` any more.
        """
        args = (earlier, outcome, secrets.token_hex(8), RUNNING_MS)
        return bool(await self._link.call("repeats/take", [_key(identity_key, request_id)], args))

    async def settle(self, identity_key: str, request_id: str, outcome: bytes | None) -> None:
        """The request has ended as ``outcome`` says; None: it is as if it had never been."""
        key = _key(identity_key, request_id)
        if outcome is None:
            await self._link.command("DEL", key)
        else:
            await self._link.call("repeats/settle", [key], (outcome, self._retention_ms))


def _key(identity_key: str, request_id: str) -> str:
    # One digest of both: the length says where the first one ends.
    return f"wsserver:{{i:{digest(f'{len(identity_key)}:{identity_key}{request_id}')}}}"
