"""Answers on Redis: the contract of shared logs, and what only Redis can do to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import cast

import pytest

from tests.contracts.stream_log import COMPLETE, STOPPED, LogUnderTest, SharedStreamLogContract
from tests.support.redis import RedisProcess
from tests.support.redis_streams import RedisLogUnderTest, Writer, begun, is_quiet, shows
from tests.support.waiting import eventually
from wsserver.core.engine import TokenLogprob
from wsserver.core.shared.ports import Barred
from wsserver.core.streams import StreamRecord
from wsserver.stores.redis import PUBLISH, RedisLink
from wsserver.stores.redis.bells import Bells
from wsserver.stores.redis.link import Argument
from wsserver.stores.redis.stream_format import (
    beginning_keys,
    pack_ending,
    pack_logprobs,
    stream_keys,
)
from wsserver.stores.redis.stream_log import RedisStreamLog
from wsserver.stores.redis.streams import RedisStreams
from wsserver_protocol.lifecycle import StreamState


class TestRedisStreamLog(SharedStreamLogContract):
    """The contract, on one Redis and on a cluster."""

    @pytest.fixture(autouse=True)
    def made(self, log: RedisLogUnderTest) -> None:
        """What `make` gives."""
        self._log = log

    def make(self) -> LogUnderTest:
        return self._log


async def test_all_of_a_tick_is_one_operation(log: RedisLogUnderTest) -> None:
    """The first text goes out at once; what is made within the next 40 ms goes out together."""
    record, writer, fence = await begun(log)
    offset = writer.log.append("s", fence, 0, "first ", 1)
    await eventually(lambda: shows(record, "first "))
    before = await calls(log, "evalsha")
    for number in range(200):
        offset = writer.log.append("s", fence, offset, f"{number} ", 1)
    await eventually(lambda: record.transcript.generated == 201)
    assert await calls(log, "evalsha") <= before + 2
    assert record.transcript.text == "first " + "".join(f"{n} " for n in range(200))


async def calls(log: RedisLogUnderTest, command: str) -> int:
    """How often a command ran, on all hosts."""
    replies = await log.link.everywhere("INFO", "commandstats")
    stats = [reply.get(f"cmdstat_{command}", {}) for reply in replies]
    return sum(int(stat.get("calls", 0)) for stat in stats)


async def test_another_process_joins_midway(log: RedisLogUnderTest, other: RedisStreams) -> None:
    """It gets what there is with its creator's words, then all that comes, and the end's facts."""
    record, writer, fence = await begun(log)
    entries = (TokenLogprob("he", -0.5, (("ho", -1.0),)),)
    offset = writer.log.append("s", fence, 0, "he", 1, entries)
    await eventually(lambda: shows(record, "he"))
    opened = await other.open("s")
    assert opened is not None
    mirror, meta = opened
    assert (mirror.transcript.text, mirror.model_id, meta) == ("he", "model", b"meta")
    assert mirror.state is StreamState.RUNNING
    assert await other.open("s") == (mirror, b"meta")
    offset = writer.log.append("s", fence, offset, "llo", 1, entries)
    written = writer.log.get("s")
    assert written is not None
    written.prompt_tokens = 7
    ended: list[bool] = []
    other.on_end = lambda record: ended.append(record.is_ended)
    writer.log.finish("s", fence, offset, COMPLETE.told_with(written.facts(1.0)))
    await eventually(lambda: mirror.is_ended)
    assert ended == [True]
    assert (mirror.transcript.text, mirror.prompt_tokens) == ("hello", 7)
    assert mirror.logprobs == record.logprobs == [(2, entries), (5, entries)]


async def test_what_is_not_there_is_none(other: RedisStreams) -> None:
    """An unknown answer has no mirror, also for two who ask at once."""
    first, second = await asyncio.gather(other.open("no"), other.open("no"))
    assert first is second is None
    assert other.get("no") is None
    assert len(other) == 0


async def test_cancel_reaches_the_writer_by_a_bell(
    log: RedisLogUnderTest, other: RedisStreams
) -> None:
    """Also while it has no text to write; only the first one who asks is the first."""
    record, writer, _ = await begun(log)
    heard: list[object] = []
    writer.log.on_cancelled = lambda record, ending: heard.append((record.cancel, ending))
    assert await other.cancel("s", STOPPED) == (True, StreamState.RUNNING)
    await eventually(lambda: heard == [(STOPPED, STOPPED)])
    assert await other.cancel("s", STOPPED) == (False, StreamState.RUNNING)
    assert await writer.log.cancelled("s") == STOPPED
    assert record.cancel == STOPPED


class DeafBells:
    """Subscriptions on which nothing is ever heard."""

    async def subscribe(self, *_: object) -> Callable[[], None]:
        return lambda: None

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_cancel_right_after_the_claim_is_found(
    log: RedisLogUnderTest, link: RedisLink
) -> None:
    """The bell may ring before the subscription stands: the writer looks once, without any text."""
    await link.bells.close()
    link.bells = cast(Bells, DeafBells())
    # By one connection, one right behind the other: the look comes after both.
    streams, writer = RedisStreams(link, "nod", retention=60), RedisStreamLog(link, retention=60)
    cancelled: list[str] = []
    writer.on_cancelled = lambda record, _: cancelled.append(record.stream_id)
    for number in range(10):
        stream_id = f"s{number}"
        await log.create(StreamRecord(stream_id, "model", 0.0))
        asked = streams.cancel(stream_id, STOPPED)
        claim, _ = await asyncio.gather(writer.claim(stream_id), asked)
        if claim is not None:
            await eventually(partial(cancelled.__contains__, stream_id))
    await writer.close()


@pytest.mark.parametrize("ends", [True, False])
async def test_what_is_made_during_a_writing_is_written(
    redis_server: RedisProcess, ends: bool
) -> None:
    """Text and an end that come while Redis takes its time over earlier text need no other push."""
    redis_server.ask("FLUSHALL")
    async with AsyncExitStack() as stack:
        log = RedisLogUnderTest(redis_server.url, stack)
        record, writer, fence = await begun(log)
        redis_server.freeze()
        offset = writer.log.append("s", fence, 0, "first", 1)
        await eventually(lambda: writer.log._writings["s"].is_sending)
        offset = writer.log.append("s", fence, offset, " last", 1)
        if ends:
            writer.log.finish("s", fence, offset, COMPLETE)
        await eventually(lambda: is_quiet(writer.log))
        redis_server.thaw()
        await eventually(lambda: shows(record, "first last") and record.is_ended is ends)


async def test_a_released_text_is_whole(log: RedisLogUnderTest) -> None:
    """What an engine made just before it died goes back with the claim."""
    record, writer, fence = await begun(log)
    offset = writer.log.append("s", fence, 0, "first ", 1)
    writer.log.append("s", fence, offset, "last", 1)
    writer.log.release("s", fence)
    await writer.log.close()
    claim = await Writer(log.open_link()).claim("s")
    assert claim is not None
    assert (claim.text, claim.tokens) == ("first last", 2)
    await eventually(lambda: shows(record, "first last"))


async def test_a_mirror_keeps_for_a_while_and_goes(
    log: RedisLogUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Released it stays, so that who comes back finds it; then it goes with its subscription."""
    monkeypatch.setattr("wsserver.stores.redis.streams.KEPT_SECONDS", 0.05)
    record, _, _ = await begun(log)
    log.streams.release("s")
    opened = await log.streams.open("s")
    assert opened is not None
    assert opened[0] is record
    log.streams.release("s")
    await eventually(lambda: log.streams.get("s") is None)
    assert log.link.bells._channels == {}


async def test_a_whole_text_is_put_in(log: RedisLogUnderTest) -> None:
    """An answer that is given again gets its text and its end without a writer."""
    record = StreamRecord("s", "model", 0.0)
    await log.create(record)
    await log.streams.fill("s", "as before", 2)
    assert await log.streams.living(["s", "no"]) == {"s"}
    assert await log.streams.end("s", COMPLETE)
    assert not await log.streams.end("s", STOPPED)
    await eventually(lambda: record.is_ended)
    assert (record.transcript.text, record.transcript.generated) == ("as before", 2)
    assert record.ending == COMPLETE
    assert await log.streams.living(["s"]) == set()


async def test_every_key_ends_by_itself(log: RedisLogUnderTest, other: RedisStreams) -> None:
    """At each moment of an answer's life none of its keys is without a time to live."""
    record, writer, fence = await begun(log)
    keys = stream_keys("s")

    async def times() -> list[int]:
        return [int(await log.link.command("PTTL", key)) for key in keys]

    assert -1 not in await times()
    await other.view("s", has_viewers=True)
    writer.log.append("s", fence, 0, "x", 1, (TokenLogprob("x", 0.0),))
    await eventually(lambda: shows(record, "x"))
    assert all(3_500_000 < time <= 3_600_000 for time in await times())
    await log.link.command("DEL", *keys)
    offset = writer.log.append("s", fence, 1, "y", 1, (TokenLogprob("y", 0.0),))
    await eventually(lambda: shows(record, "xy"))
    assert -1 not in await times()
    writer.log.finish("s", fence, offset, COMPLETE)
    await eventually(lambda: record.is_ended)
    assert all(time <= 60_000 for time in await times())


async def test_a_reader_ahead_waits(
    log: RedisLogUnderTest, other: RedisStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has more than the mirror keeps it if the text is there, and is cut if it is not."""
    monkeypatch.setattr("wsserver.stores.redis.streams.PLACE_SECONDS", 0.3)
    record, writer, fence = await begun(log)
    writer.log.append("s", fence, 0, "four", 1)
    await eventually(lambda: shows(record, "four"))
    await other.open("s")
    other._followed["s"]._leave()  # deaf from now on
    writer.log.append("s", fence, 4, "and on", 1)
    await eventually(lambda: shows(record, "fourand on"))
    assert await other.place("s", 2) == 2
    assert await other.place("s", 10) == 10
    assert await other.place("s", 99) == 10


async def test_every_step_may_run_twice(link: RedisLink) -> None:
    """Redis did it and the reply was lost: the same step again changes and says nothing else."""
    keys, ending = stream_keys("s"), pack_ending(COMPLETE)
    steps: list[tuple[str, tuple[Argument, ...]]] = [
        ("create", ("model", b"meta", 60_000)),
        ("claim", ("w1",)),
        ("append", (1, "w1", 0, "four", 1, b"")),
        ("append", (1, "w1", 4, "more", 2, pack_logprobs([(8, (TokenLogprob("m", 0.0),))]))),
        ("cancel", (ending, "c1")),
        ("view", ("nod", 1000, "1")),
        ("seal", (1, "w1", 8, ending)),
        ("finish", (1, "w1", 8, ending, 60_000)),
    ]
    for name, args in steps:
        given = beginning_keys("s") if name == "create" else keys
        once = await link.call(f"streams/{name}", given, (*args, PUBLISH))
        seen = await link.call("streams/read", keys, (0,))
        assert await link.call(f"streams/{name}", given, (*args, PUBLISH)) == once, name
        assert await link.call("streams/read", keys, (0,)) == seen, name


async def test_what_is_barred_never_begins(link: RedisLink, other: RedisStreams) -> None:
    """Who was believed dead puts no answer into the log in whose place another is made; what is
    there already can't be barred."""
    assert await other.bar("s")
    assert await other.bar("s")
    with pytest.raises(Barred):
        await other.create(StreamRecord("s", "model", 0.0), b"meta")
    assert len(other) == 0
    assert not await other.is_known("s")
    await other.create(StreamRecord("s2", "model", 0.0), b"meta")
    assert not await other.bar("s2")
    assert 0 < await link.command("PTTL", beginning_keys("s")[-1]) <= 86_400_000


async def test_a_claim_asked_again_after_a_lost_tail_is_another(link: RedisLink) -> None:
    """Readers were told where its text begins: if that is lost, too, they are told anew."""
    keys = stream_keys("s")
    await link.call("streams/create", beginning_keys("s"), ("model", b"meta", "", PUBLISH))
    await link.call("streams/claim", keys, ("w1", PUBLISH))
    await link.call("streams/append", keys, (1, "w1", 0, "four", 1, b"", PUBLISH))
    await link.call("streams/claim", keys, ("w2", PUBLISH))
    await link.command("SET", keys[1], "fo")
    _, (fence, claims, *_), text, _ = await link.call("streams/claim", keys, ("w2", PUBLISH))
    assert (fence, claims, text) == (b"3", b"w1:0,w2:4,w2:2", b"fo")


@pytest.mark.parametrize(("step", "args"), [("fill", ("w1", "all", 3)), ("end", ("w1", 60_000))])
async def test_what_needs_no_writer_may_run_twice(
    link: RedisLink, step: str, args: tuple[Argument, ...]
) -> None:
    """A text that is put in is put in once; who ended an answer is told so again."""
    keys = stream_keys("s")
    await link.call("streams/create", beginning_keys("s"), ("model", b"", "", PUBLISH))
    given = (*((pack_ending(COMPLETE),) if step == "end" else ()), *args, PUBLISH)
    assert await link.call(f"streams/{step}", keys, given) == 1
    seen = await link.call("streams/read", keys, (0,))
    assert await link.call(f"streams/{step}", keys, given) == 1
    assert await link.call("streams/read", keys, (0,)) == seen
