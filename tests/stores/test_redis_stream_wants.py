"""Who wants an answer on Redis: known for as long as somebody says so, whatever Redis loses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.support.redis_streams import RedisLogUnderTest, Writer, begun
from tests.support.waiting import eventually, eventually_so
from wsserver.core.streams import StreamRecord
from wsserver.stores.redis import RedisLink
from wsserver.stores.redis.stream_format import stream_keys
from wsserver.stores.redis.streams import RedisStreams
from wsserver_protocol.lifecycle import StopReason

META = stream_keys("s")[0]


@pytest.fixture
async def hasty(monkeypatch: pytest.MonkeyPatch, link: RedisLink) -> AsyncIterator[RedisStreams]:
    """A process that says all the time what is wanted, and is soon not believed any more."""
    monkeypatch.setattr("wsserver.stores.redis.stream_wants.LOOK_AGAIN", 0.05)
    monkeypatch.setattr("wsserver.stores.redis.streams.ASKED_FOR", 0.5)
    streams = RedisStreams(link, "nod_hasty", retention=60)
    keeping = asyncio.create_task(streams.wants.keep())
    yield streams
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping
    await streams.close()


async def written(log: RedisLogUnderTest, streams: RedisStreams) -> tuple[StreamRecord, Writer]:
    """An answer of a process, and its writer, with some text."""
    record = StreamRecord("s", "model", 0.0)
    await streams.create(record, b"meta")
    writer = Writer(log.open_link())
    claim = await writer.claim("s")
    assert claim is not None
    await goes_on(record, writer)
    return record, writer


async def goes_on(record: StreamRecord, writer: Writer) -> None:
    """The writer writes a piece, and it is seen."""
    own = writer.log.get("s")
    assert own is not None
    length = writer.log.append("s", own.fence, len(own.transcript), "x", 1)
    await eventually(lambda: len(record.transcript) >= length)


async def asked_until(link: RedisLink) -> int:
    """Until when (ms) the asker is believed to be there."""
    return int(await link.command("HGET", META, "asked"))


async def test_who_looks_is_known_for_all_nodes(
    log: RedisLogUnderTest, other: RedisStreams
) -> None:
    """Nobody is left only when the last one has left and the asker is gone."""
    await log.create(StreamRecord("s", "model", 0.0))
    assert not await log.streams.view("s", has_viewers=True)
    assert not await other.view("s", has_viewers=True)
    assert not await log.streams.asker_gone("s")
    assert not await log.streams.view("s", has_viewers=False)
    assert await other.view("s", has_viewers=False)
    assert not await other.view("gone", has_viewers=False)


async def test_an_answer_for_nobody_is_ended_by_its_writer(
    log: RedisLogUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node where it was looked at died without a word: its time runs out, the writer stops."""
    monkeypatch.setattr("wsserver.stores.redis.stream_wants.LOOKED_FOR", 0.2)
    record, writer, fence = await begun(log)
    await log.streams.view("s", has_viewers=True)
    assert not await log.streams.asker_gone("s")
    offset = 0
    while record.cancel is None:
        offset = writer.log.append("s", fence, offset, "x", 1)
        shown = offset
        await eventually(lambda: len(record.transcript) >= shown)  # noqa: B023  # waited for here
    assert record.cancel.stop_reason is StopReason.DISCONNECT


async def test_an_asker_of_whom_nobody_speaks_is_gone(
    log: RedisLogUnderTest, hasty: RedisStreams
) -> None:
    """An answer goes on while its asker's process says that he is there; when all have forgotten
    him, its writer ends it."""
    here = ["s"]
    hasty.wants.asked_here = lambda: here
    record, writer = await written(log, hasty)
    begun_until = await asked_until(log.link)

    async def is_renewed() -> bool:
        return await asked_until(log.link) > begun_until + 1000

    await eventually_so(is_renewed)
    for _ in range(3):
        await goes_on(record, writer)
    assert record.cancel is None
    here.clear()
    while record.cancel is None:
        await goes_on(record, writer)
    assert record.cancel.stop_reason is StopReason.DISCONNECT


async def test_an_empty_redis_believes_nobody_for_ever(
    log: RedisLogUnderTest, hasty: RedisStreams
) -> None:
    """What a writer gives back to a Redis that has lost all is wanted only if somebody says so."""
    record, writer = await written(log, hasty)
    for key in stream_keys("s"):
        await log.link.command("DEL", key)
    while record.cancel is None:
        await goes_on(record, writer)
    assert record.cancel.stop_reason is StopReason.DISCONNECT
    assert await log.link.command("HGET", META, "lease") == b"500"


async def test_a_restored_answer_s_asker_is_to_be_named_soon(log: RedisLogUnderTest) -> None:
    """Redis is there: who has the asker can say so. Then he is believed to be there as before."""
    _, writer, fence = await begun(log)
    whole = await asked_until(log.link)
    for key in stream_keys("s"):
        await log.link.command("DEL", key)
    writer.log.append("s", fence, 0, "x", 1)
    await eventually_so(lambda: log.link.command("HGET", META, "asked"))
    assert whole - 80_000 < await asked_until(log.link) < whole - 60_000
    await log.link.call("streams/view", stream_keys("s"), ("", 0, "1"))
    assert await asked_until(log.link) >= whole


async def test_that_an_asker_is_gone_is_told_again(
    log: RedisLogUnderTest, hasty: RedisStreams
) -> None:
    """Redis may lose it: the process that knows of it says so until the answer has ended."""
    await written(log, hasty)
    assert await hasty.asker_gone("s")
    await log.link.command("HSET", META, "asked", 9_999_999_999_999)

    async def is_gone() -> bool:
        return await asked_until(log.link) == 0

    await eventually_so(is_gone)


async def test_who_is_gone_does_not_come_back(
    log: RedisLogUnderTest, hasty: RedisStreams, other: RedisStreams
) -> None:
    """A process that has not heard of it says that he is there: it knows less."""
    hasty.wants.asked_here = lambda: ["s"]
    await hasty.create(StreamRecord("s", "model", 0.0), b"meta")
    await other.asker_gone("s")
    await log.link.call("streams/view", stream_keys("s"), ("", 0, "1"))
    assert await asked_until(log.link) == 0


async def test_some_need_no_asker(log: RedisLogUnderTest, hasty: RedisStreams) -> None:
    """An answer that goes on without its asker is not believed to have one, nor to lack him."""
    await hasty.create(StreamRecord("s", "model", 0.0), b"meta", needs_asker=False)
    await log.link.call("streams/view", stream_keys("s"), ("", 0, "1"))
    assert await log.link.command("HMGET", META, "lease", "asked") == [None, None]
    assert not await hasty.view("s", has_viewers=False)
