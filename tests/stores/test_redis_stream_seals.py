"""How answers on Redis are sealed: their end is decided before anyone else is told of it."""

from __future__ import annotations

import pytest

from tests.contracts.stream_log import COMPLETE
from tests.support.redis_streams import RedisLogUnderTest, begun
from tests.support.waiting import eventually
from wsserver.core.streams import Fenced
from wsserver.stores.redis import PUBLISH, RedisLink
from wsserver.stores.redis.stream_format import stream_keys
from wsserver.stores.redis.stream_log import RedisStreamLog


async def test_what_is_sealed_is_whole(log: RedisLogUnderTest, link: RedisLink) -> None:
    """Once its end is decided an answer has all its text, nobody claims it any more, and whoever is
    to end it in the writer's place knows how; the writer ends it all the same."""
    record, writer, fence = await begun(log)
    writer.log.append("s", fence, 0, "four", 1)
    await writer.log.seal("s", fence, COMPLETE)
    assert await link.command("GET", stream_keys("s")[1]) == b"four"
    successor = RedisStreamLog(link, retention=60.0)
    assert await successor.claim("s") is None
    assert await successor.cancelled("s") == COMPLETE
    assert not record.is_ended
    writer.log.finish("s", fence, 4, COMPLETE)
    await eventually(lambda: record.is_ended)


async def test_who_slept_seals_nothing(log: RedisLogUnderTest, link: RedisLink) -> None:
    """A writer that another has followed learns it before it tells anyone of its end."""
    _, writer, fence = await begun(log)
    await link.call("streams/claim", stream_keys("s"), ("w2", PUBLISH))
    with pytest.raises(Fenced):
        await writer.log.seal("s", fence, COMPLETE)
    assert await writer.log.cancelled("s") is None
