"""A Redis that goes away, or comes back with less: what answers and their readers have of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.contracts.stream_log import COMPLETE
from tests.support.redis import running_redis
from tests.support.redis_streams import RedisLogUnderTest, Writer, begun, is_quiet, shows
from tests.support.waiting import eventually, eventually_so
from wsserver.core.engine import TokenLogprob
from wsserver.core.streams import StreamRecord
from wsserver.stores.redis import RedisLink, followed, stream_log
from wsserver.stores.redis.stream_format import LEAST_KEPT_SECONDS, stream_keys
from wsserver.stores.redis.stream_log import RedisStreamLog
from wsserver.stores.redis.streams import RedisStreams
from wsserver_protocol.lifecycle import FinishReason


async def test_a_lost_tail_is_written_again(log: RedisLogUnderTest, other: RedisStreams) -> None:
    """Redis lost some of the text: it gets it back from the writer, and no reader is rewound."""
    record, writer, fence = await begun(log)
    rewinds: list[int] = []
    log.streams.on_rewind = lambda record, offset: rewinds.append(offset)
    offset = writer.log.append("s", fence, 0, "kept and lost ", 3)
    await eventually(lambda: shows(record, "kept and lost "))
    await log.link.command("SET", stream_keys("s")[1], "kept ")
    offset = writer.log.append("s", fence, offset, "end", 1)
    writer.log.finish("s", fence, offset, COMPLETE)
    await eventually(lambda: record.is_ended)
    opened = await other.open("s")
    assert opened is not None
    assert opened[0].transcript.text == record.transcript.text == "kept and lost end"
    assert rewinds == []


async def test_a_lost_answer_is_given_back(log: RedisLogUnderTest, other: RedisStreams) -> None:
    """Redis lost all of it: the writer makes it again, with all text, under the same fence."""
    record, writer, fence = await begun(log)
    entries = (TokenLogprob("a", -0.5),)
    offset = writer.log.append("s", fence, 0, "all of it ", 3, entries)
    await eventually(lambda: shows(record, "all of it "))
    await log.link.command("DEL", *stream_keys("s"))
    assert await other.open("s") is None
    writer.log.append("s", fence, offset, "is back", 2)
    await eventually(lambda: shows(record, "all of it is back"))
    opened = await other.open("s")
    assert opened is not None
    mirror, meta = opened
    assert (mirror.transcript.text, meta, mirror.logprobs) == (
        "all of it is back",
        b"meta",
        [(10, entries)],
    )
    assert record.fence == mirror.fence == fence


async def test_an_answer_that_nobody_gives_back_is_told_gone(
    log: RedisLogUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis lost an answer that no writer has: its mirror says so, and not before its time."""
    monkeypatch.setattr(followed, "GONE_SECONDS", 0.3)
    gone: list[StreamRecord] = []
    log.streams.on_gone = gone.append
    record = StreamRecord("s", "m", asyncio.get_running_loop().time())
    await log.streams.create(record, b"meta")
    await log.link.command("DEL", *stream_keys("s"))
    assert gone == []
    await eventually(lambda: gone[:1] == [record])


async def test_an_ended_answer_stays_for_mirrors_that_missed_it(log: RedisLogUnderTest) -> None:
    """With no retention at all the end can still be read for as long as a mirror may need."""
    streams = RedisStreams(log.link, "nod_short", retention=0)
    record = StreamRecord("s", "m", asyncio.get_running_loop().time())
    await streams.create(record, b"meta")
    assert await streams.end("s", COMPLETE)
    left = int(await log.link.command("PTTL", stream_keys("s")[0]))
    await streams.close()
    assert 5_000 < left <= LEAST_KEPT_SECONDS * 1000


async def test_a_lost_claim_is_made_good(log: RedisLogUnderTest) -> None:
    """Redis forgot the newest claim, and only that: its writer puts it back."""
    record, old, first = await begun(log)
    old.log.append("s", first, 0, "one ", 1)
    await eventually(lambda: shows(record, "one "))
    meta = stream_keys("s")[0]
    fields = ("fence", "claims", "writer", "state")
    before = await log.link.command("HMGET", meta, *fields)
    writer = Writer(log.open_link())
    claim = await writer.log.claim("s")
    assert claim is not None
    pairs = [part for pair in zip(fields, before, strict=True) for part in pair]
    await log.link.command("HSET", meta, *pairs)
    writer.log.append("s", claim.fence, 4, "two", 1)
    await eventually(lambda: shows(record, "one two"))
    assert int(await log.link.command("HGET", meta, "fence")) == claim.fence


async def test_another_history_replaces_the_one_that_was_lost(log: RedisLogUnderTest) -> None:
    """Redis forgot a claim, and another one took its number: readers begin anew, and converge."""
    record, zombie, first = await begun(log)
    zombie.log.append("s", first, 0, "one text", 1)
    await eventually(lambda: shows(record, "one text"))
    cuts: list[int] = []
    log.streams.on_rewind = lambda record, offset: cuts.append(offset)
    meta, text, *_ = stream_keys("s")
    await log.link.command("HSET", meta, "fence", 0, "claims", "", "writer", "", "state", "queued")
    await log.link.command("DEL", text)
    writer = Writer(log.open_link())
    claim = await writer.log.claim("s")
    assert claim is not None
    assert claim.fence == first
    writer.log.append("s", claim.fence, 0, "quite another", 1)
    await eventually(lambda: shows(record, "quite another"))
    assert cuts == [0]
    zombie.log.append("s", first, 8, " goes on", 1)
    await eventually(lambda: zombie.fenced == ["s"])


@pytest.mark.parametrize("lost", ["end", "tail", "claim", "all"])
async def test_a_lost_end_is_given_back(log: RedisLogUnderTest, lost: str) -> None:
    """Its writer was told that it stands: it says it again when Redis comes back without."""
    _, writer, fence = await begun(log)
    writer.log.append("s", fence, 0, "all of it", 3)
    meta, text, *_ = stream_keys("s")
    await eventually_so(lambda: log.link.command("STRLEN", text))
    fields = await log.link.command("HGETALL", meta)
    writer.log.finish("s", fence, 9, COMPLETE)
    await eventually(lambda: writer.finished == ["s"])
    ended = await log.link.call("streams/read", stream_keys("s"), (0,))
    await log.link.command("DEL", meta)
    if lost == "claim":
        fields |= {b"fence": b"0", b"claims": b"", b"writer": b"", b"state": b"queued"}
    if lost != "all":
        await log.link.command("HSET", meta, *(part for pair in fields.items() for part in pair))
    if lost != "end":
        await log.link.command("SET", text, "all")
    for told in tuple(writer.log._link.on_up):
        told()

    async def has_ended() -> bool:
        return bool(await log.link.command("HGET", meta, "state") == b"ended")

    await eventually_so(has_ended)
    assert await log.link.call("streams/read", stream_keys("s"), (0,)) == ended


async def test_viewers_here_go_on_while_redis_is_away(
    tmp_path: Path,
) -> None:
    """Text reaches the mirrors of the writer's own process; the end waits for Redis."""
    with running_redis(tmp_path) as server:
        link = RedisLink.open(server.url)
        streams = RedisStreams(link, "nod", retention=60, patience=0.2)
        log = RedisStreamLog(link, retention=60, near=streams)
        finished: list[str] = []
        log.on_finished = finished.append
        record = StreamRecord("s", "model", 0.0)
        await streams.create(record, b"")
        claim = await log.claim("s")
        assert claim is not None
        offset = log.append("s", claim.fence, 0, "before ", 1)
        await eventually(lambda: shows(record, "before "))
        server.kill()
        server.forget()
        offset = log.append("s", claim.fence, offset, "while ", 1)
        await eventually(lambda: shows(record, "before while "))
        log.finish("s", claim.fence, offset, COMPLETE)
        await eventually(lambda: not link.is_up)
        assert not record.is_ended
        server.start()
        await eventually(lambda: record.is_ended and finished == ["s"])
        assert record.ending is not None
        assert record.ending.finish_reason is FinishReason.STOP
        await log.close()
        await streams.close()
        await link.close()


async def test_what_comes_during_a_slow_writing_is_written_too(tmp_path: Path) -> None:
    """Text, and an end with the last text, whose tick found the writing before it under way."""
    with running_redis(tmp_path) as server:
        link = RedisLink.open(server.url)
        log = RedisStreamLog(link, retention=60)
        finished: list[str] = []
        log.on_finished = finished.append
        streams = RedisStreams(link, "nod", retention=60)
        record = StreamRecord("s", "model", 0.0)
        await streams.create(record, b"")
        claim = await log.claim("s")
        assert claim is not None
        text, offset = "", 0
        for word in ("first ", "last "):
            server.freeze()
            offset = log.append("s", claim.fence, offset, word, 1)
            await eventually(lambda: log._writings["s"].is_sending and is_quiet(log))
            offset = log.append("s", claim.fence, offset, f"then {word}", 1)
            if word == "last ":
                log.finish("s", claim.fence, offset, COMPLETE)
            await eventually(lambda: is_quiet(log))
            server.thaw()
            text += f"{word}then {word}"
            await eventually(lambda: record.transcript.text == text)  # noqa: B023  # waited for here
        await eventually(lambda: finished == ["s"])
        await log.close()
        await streams.close()
        await link.close()


async def test_an_answer_is_given_up_when_redis_stays_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while its owner is told, once."""
    monkeypatch.setattr(stream_log, "AWAY_SECONDS", 0.5)
    with running_redis(tmp_path) as server:
        link = RedisLink.open(server.url)
        log = RedisStreamLog(link, retention=60)
        lost: list[StreamRecord] = []
        log.on_lost = lost.append
        streams = RedisStreams(link, "nod", retention=60)
        await streams.create(StreamRecord("s", "model", 0.0), b"")
        claim = await log.claim("s")
        assert claim is not None
        server.stop()
        log.append("s", claim.fence, 0, "x", 1)
        await eventually(lambda: len(lost) == 1)
        assert lost == [log.get("s")]
        await streams.close()
        await link.close()
        await log.close()


async def test_what_comes_while_a_write_is_under_way_is_written(tmp_path: Path) -> None:
    """The last text and the end, made while a reply is waited for, need nothing further to go."""
    with running_redis(tmp_path) as server:
        link = RedisLink.open(server.url)
        streams = RedisStreams(link, "nod", retention=60)
        writer = Writer(link)
        try:
            await streams.create(StreamRecord("s", "m", 0.0), b"")
            claim = await writer.log.claim("s")
            assert claim is not None
            offset = writer.log.append("s", claim.fence, 0, "first ", 1)
            await eventually(lambda: not writer.log._writings["s"].writer.unsent)
            server.freeze()
            offset = writer.log.append("s", claim.fence, offset, "second ", 1)
            await eventually(lambda: writer.log._writings["s"].is_sending)
            offset = writer.log.append("s", claim.fence, offset, "third", 1)
            writer.log.finish("s", claim.fence, offset, COMPLETE)
            server.thaw()
            await eventually(lambda: writer.finished == ["s"])
        finally:
            await writer.log.close()
            await streams.close()
            await link.close()
