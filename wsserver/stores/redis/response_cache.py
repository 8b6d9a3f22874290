"""The response cache of all processes: least recently used goes first.

It is cut into shards by the answers' keys, each with its share of the bounds, so that a cluster
holds it on all its hosts and a shard's bounds can be kept in one step.

| key | type | holds |
|---|---|---|
| ``wsserver:{a:<shard>}:answers`` | hash | key to `CachedAnswer` (MessagePack) |
| ``…:used`` | sorted set | key by its last use (µs of Redis' clock) |
| ``…:ends`` | sorted set | key by the time (µs) at which it is too old |
| ``…:size`` | string | bytes of all |

All end with the last of the answers.
"""

from __future__ import annotations

import logging

import msgspec

from wsserver.core.cache import CachedAnswer
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.link import RedisLink

MOST_SHARDS = 16
"""Fewer where so few answers are kept that a share would be less than one."""

log = logging.getLogger(__name__)

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(CachedAnswer).decode


class RedisResponseCache:
    """Answers in one Redis. Never raises: where Redis is away nothing is found and nothing kept.

    Args:
        link: The Redis.
        entries: Most answers that are kept; 0 keeps none.
        size: Most bytes that they cost together. An answer past a shard's share is not kept.
        ttl: Seconds for which an answer is good.
    """

    def __init__(self, link: RedisLink, *, entries: int, size: int, ttl: float) -> None:
        self._link = link
        self._shards = max(1, min(MOST_SHARDS, entries))
        self._most = entries // self._shards
        self._most_bytes = size // self._shards
        self._ttl_ms = round(ttl * 1000)

    async def get(self, key: bytes) -> CachedAnswer | None:
        """The answer under a key, None if there is none or it is too old."""
        if not self._keeps:
            return None
        try:
            found = await self._link.call("cache/get", self._keys(key), (key,))
        except StoreUnavailable as error:
            log.debug("no cached answer: %s", error)
            return None
        return None if found is None else _decode(found)

    async def put(self, key: bytes, answer: CachedAnswer) -> None:
        """Keep an answer; the least recently used go where room is needed."""
        if not self._keeps:
            return
        args = (key, _encode(answer), self._ttl_ms, self._most, self._most_bytes)
        try:
            await self._link.call("cache/put", self._keys(key), args)
        except StoreUnavailable as error:
            log.debug("an answer is not kept: %s", error)

    @property
    def _keeps(self) -> bool:
        return self._most > 0 and self._ttl_ms > 0

    def _keys(self, key: bytes) -> list[str]:
        base = f"wsserver:{{a:{int.from_bytes(key[-4:]) % self._shards}}}"
        return [f"{base}:{name}" for name in ("answers", "used", "ends", "size")]
