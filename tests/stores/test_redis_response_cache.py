"""The shared response cache: what is kept, for how long, and what goes when there is no room."""

from __future__ import annotations

import asyncio

from wsserver.core.cache import CachedAnswer
from wsserver.stores.redis import RedisLink, RedisResponseCache
from wsserver_protocol.lifecycle import FinishReason


def answer(text: str = "text") -> CachedAnswer:
    return CachedAnswer(text, 3, 5, FinishReason.STOP)


def key(number: int) -> bytes:
    """A key; those of equal ``number`` modulo 16 share a shard."""
    return b"digest" + number.to_bytes(14)


async def kept(cache: RedisResponseCache, numbers: range) -> list[int]:
    return [n for n in numbers if await cache.get(key(n)) is not None]


async def test_an_answer_is_found_by_all_processes(link: RedisLink, redis_url: str) -> None:
    """What one keeps another gives again, whole."""
    other = RedisLink.open(redis_url)
    caches = [RedisResponseCache(one, entries=10, size=100_000, ttl=60) for one in (link, other)]
    given = answer("grüß 🙂")
    await caches[0].put(key(1), given)
    assert await caches[1].get(key(1)) == given
    assert await caches[1].get(key(2)) is None
    await other.close()


async def test_the_least_recently_used_go(link: RedisLink) -> None:
    """A shard holds its share; what was used last stays."""
    cache = RedisResponseCache(link, entries=48, size=1_000_000, ttl=60)  # three in a shard
    for number in (0, 16, 32):
        await cache.put(key(number), answer())
    await cache.get(key(0))
    await cache.put(key(48), answer())
    assert await kept(cache, range(0, 64, 16)) == [0, 32, 48]
    await cache.put(key(1), answer())  # another shard
    assert await kept(cache, range(0, 64, 16)) == [0, 32, 48]


async def test_bytes_are_bounded(link: RedisLink) -> None:
    """As many go as make room, and what is larger than all room is not kept."""
    cache = RedisResponseCache(link, entries=1600, size=16 * 4000, ttl=60)
    for number in (0, 16, 32):
        await cache.put(key(number), answer("x" * 700))
    await cache.put(key(48), answer("x" * 2000))
    assert await kept(cache, range(0, 64, 16)) == [32, 48]
    await cache.put(key(64), answer("x" * 4000))
    assert await kept(cache, range(0, 80, 16)) == [32, 48]
    await cache.put(key(48), answer())  # the same one again costs once, and less
    await cache.put(key(64), answer("x" * 1500))
    assert await kept(cache, range(0, 80, 16)) == [32, 48, 64]


async def test_a_total_of_a_few_is_kept_too(link: RedisLink) -> None:
    """Bounds smaller than the number of shards hold as they are."""
    cache = RedisResponseCache(link, entries=2, size=100_000, ttl=60)
    for number in range(20):
        await cache.put(key(number), answer())
    assert len(await kept(cache, range(20))) == 2
    none = RedisResponseCache(link, entries=0, size=100_000, ttl=60)
    await none.put(key(100), answer())
    assert await none.get(key(100)) is None


async def test_old_answers_are_not_given(link: RedisLink) -> None:
    """Past its time an answer is not given, makes room, and leaves no key."""
    cache = RedisResponseCache(link, entries=16, size=100_000, ttl=60)
    await cache.put(key(0), answer())
    base = "wsserver:{a:0}"
    ends = [await link.command("PTTL", f"{base}:{n}") for n in ("answers", "used", "ends", "size")]
    assert all(0 < end <= 60_000 for end in ends)
    await link.command("ZADD", f"{base}:ends", 1, key(0))
    assert await cache.get(key(0)) is None
    assert await link.command("GET", f"{base}:size") == b"0"


async def test_sizes_are_kept_whatever_comes_together(link: RedisLink) -> None:
    """Many at once leave the count of bytes true."""
    cache = RedisResponseCache(link, entries=64, size=16 * 10_000, ttl=60)
    texts = ["x" * (100 + n) for n in range(200)]
    await asyncio.gather(*(cache.put(key(n % 90), answer(t)) for n, t in enumerate(texts)))
    for shard in range(16):
        base = f"wsserver:{{a:{shard}}}"
        values = await link.command("HVALS", f"{base}:answers")
        size = await link.command("GET", f"{base}:size")
        assert int(size) == sum(len(value) + 512 for value in values)
        assert len(values) <= 4


async def test_without_redis_nothing_is_found(link: RedisLink) -> None:
    """A miss is always right: nobody waits or fails for a cache."""
    cache = RedisResponseCache(link, entries=10, size=100_000, ttl=60)
    await link.close()
    await cache.put(key(1), answer())
    assert await cache.get(key(1)) is None
