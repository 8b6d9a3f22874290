"""Asks in rooms whose gateway loses Redis, or dies, in the midst of beginning them.

What stands in a room's log is shown to all who are there: the question and its answer, or neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.conftest import Connect, StartServer
from tests.integration.session_steps import sign_in
from tests.integration.test_generating import counted
from tests.integration.test_rooms import join
from tests.support.redis import RedisProcess, redis_is_installed
from tests.support.redis_gate import RedisGate, redis_gate
from tests.support.server import ServerProcess
from tests.support.waiting import eventually, eventually_so
from tests.support.wire import Frame, Wire

pytestmark = pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)

MODEL = ("--model", "m=synthetic:?tps=200&ttft_ms=0&slots=8")


class Pair:
    """Ada on a gateway behind a gate, bob beside her and cyd on another gateway, in one room."""

    here: ServerProcess
    gate: RedisGate
    ada: Wire
    bob: Wire
    cyd: Wire

    async def ask(self, **options: int) -> None:
        """Ada asks the model."""
        options = {"maxTokens": 5, **options}
        await self.ada.send(type="stream", requestId="q", roomId="r", prompt="?", options=options)

    async def begin(self) -> None:
        """One question and its answer: Redis knows all the scripts from then on."""
        start = await self.cyd.stream(roomId="r", options={"maxTokens": 1})
        await asyncio.gather(*(w.end_of(start["streamId"]) for w in (self.ada, self.bob, self.cyd)))

    async def log(self) -> list[Frame]:
        """The room's log, as cyd's gateway hands it out."""
        page = await self.cyd.ask("room_history", roomId="r")
        messages: list[Frame] = page["messages"]
        return messages


@asynccontextmanager
async def _pair(
    redis: RedisProcess, start_server: StartServer, connect: Connect
) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        pair = Pair()
        there = await asyncio.to_thread(start_server, *MODEL, "--redis-url", redis.url)
        pair.gate = await stack.enter_async_context(redis_gate(redis))
        arguments = ("--set", "models.start=[]", "--redis-url", pair.gate.url)
        pair.here = await asyncio.to_thread(start_server, *arguments)
        for name, server in (("ada", pair.here), ("bob", pair.here), ("cyd", there)):
            wire = await connect(to=server)
            await sign_in(wire, name)
            await join(wire, "r")
            setattr(pair, name, wire)
        yield pair


@pytest.fixture
async def pair(
    redis: RedisProcess, start_server: StartServer, connect: Connect
) -> AsyncIterator[Pair]:
    """Three who share a room."""
    async with _pair(redis, start_server, connect) as pair:
        yield pair


@pytest.mark.parametrize("step", ["led/add", "streams/create"])
async def test_what_can_t_be_begun_is_not_asked(step: str, pair: Pair) -> None:
    """Redis goes away before the answer is in the log: the asker is refused, the room has nothing
    of it, and the same request sent again is begun."""
    pair.gate.shut_at(step)
    await pair.ask()
    refused = await pair.ada.until("stream_error", requestId="q")
    assert refused["code"] == "store_unavailable"
    pair.gate.open()
    assert await pair.log() == []
    # Their gateway needs a moment to find out that Redis is back.
    await eventually_so(lambda: says(pair.bob, "and on"))
    await pair.ask()
    start = await pair.cyd.until("stream_start")
    assert start["seq"] == 2
    for wire in (pair.ada, pair.bob, pair.cyd):
        end = await wire.end_of(start["streamId"])
        assert (end["type"], end["seq"]) == ("stream_complete", 3)


@pytest.mark.parametrize("stands", [False, True])
async def test_an_ask_that_may_stand_is_answered(pair: Pair, *, stands: bool) -> None:
    """Redis goes away in the step that asks the room: the asker is told nothing before it is known
    whether it was done; when Redis is back everyone sees the same question and its answer."""
    await pair.begin()
    (pair.gate.shut_after if stands else pair.gate.shut_at)("rooms/ask")
    await pair.ask()
    await pair.gate.shut.wait()
    for wire in (pair.ada, pair.bob):
        refused = await wire.ask("room_message", roomId="r", text="is anybody there?")
        assert refused["code"] == "store_unavailable"
    assert not any(frame.get("requestId") == "q" for frame in pair.ada.frames)
    assert len(await pair.log()) == 2 + stands
    pair.gate.open()
    start = await pair.ada.until("stream_start", requestId="q")
    for wire in (pair.ada, pair.bob, pair.cyd):
        end = await wire.end_of(start["streamId"])
        assert [shown["seq"] for shown in wire.of_type("stream_start")] == [1, start["seq"]]
        assert (end["type"], end["seq"]) == ("stream_complete", start["seq"] + 1)
        assert wire.copy(start["streamId"]).text == counted(5)
    asked = [entry for entry in await pair.log() if entry.get("streamId") == start["streamId"]]
    assert [entry["role"] for entry in asked] == ["user", "assistant"]


async def test_an_ask_in_doubt_is_refused_where_its_room_is_lost(
    pair: Pair, redis: RedisProcess
) -> None:
    """Redis has forgotten the room meanwhile: the new one has no such question, and takes it."""
    await pair.begin()
    pair.gate.shut_after("rooms/ask")
    await pair.ask()
    await pair.gate.shut.wait()
    refused = await pair.bob.ask("room_message", roomId="r", text="is anybody there?")
    assert refused["code"] == "store_unavailable"
    redis.ask("FLUSHALL")
    pair.gate.open()
    refused = await pair.ada.until("stream_error", requestId="q")
    assert refused["code"] == "store_unavailable"
    wires = (pair.ada, pair.bob, pair.cyd)
    await eventually(lambda: all(len(wire.of_type("room_joined")) == 2 for wire in wires))
    await pair.ask()
    start = await pair.ada.until("stream_start", requestId="q")
    for wire in (pair.ada, pair.bob, pair.cyd):
        end = await wire.end_of(start["streamId"])
        assert (end["type"], end["seq"]) == ("stream_complete", start["seq"] + 1)


async def test_what_is_stopped_while_it_may_stand_ends_for_all(pair: Pair) -> None:
    """Its asker stops it before anyone knows whether the room has it: all see it stopped."""
    pair.gate.shut_at("rooms/ask")
    await pair.ask()
    await pair.gate.shut.wait()
    await pair.ada.send(type="stop_stream", requestId="q")
    pair.gate.go_on()
    for wire in (pair.ada, pair.bob, pair.cyd):
        end = await wire.until("stream_stopped")
        assert (end["reason"], end["offset"], end["seq"]) == ("client", 0, 2)
    assert [entry["role"] for entry in await pair.log()] == ["user", "assistant"]


async def test_what_is_stopped_and_was_not_asked_is_nobody_else_s(pair: Pair) -> None:
    """The step was lost with its connection, and its asker does not want it any more: the room is
    not asked, and only its asker is told an end."""
    pair.gate.shut_at("rooms/ask")
    await pair.ask()
    await pair.gate.shut.wait()
    refused = await pair.bob.ask("room_message", roomId="r", text="is anybody there?")
    assert refused["code"] == "store_unavailable"
    await pair.ada.send(type="stop_stream", requestId="q")
    pair.gate.open()
    end = await pair.ada.until("stream_stopped", requestId="q")
    assert (end["reason"], end.get("seq")) == ("client", None)
    assert await pair.log() == []
    assert pair.bob.of_type("stream_start") == []


async def test_what_may_be_in_line_ends_with_the_same_text_for_all(pair: Pair) -> None:
    """Redis takes the step that puts it in line, and can't say so: what a worker has made of it
    until its gateway can end it is what the room's log has, too."""
    await pair.begin()
    pair.gate.shut_after("queue/submit")
    await pair.ask(maxTokens=10_000)
    await pair.gate.shut.wait()
    refused = await pair.bob.ask("room_message", roomId="r", text="is anybody there?")
    assert refused["code"] == "store_unavailable"
    pair.gate.open()
    start = pair.cyd.of_type("stream_start")[-1]
    ends = [await wire.end_of(start["streamId"]) for wire in (pair.ada, pair.bob, pair.cyd)]
    _, _, question, answer = await pair.log()
    assert question["streamId"] == answer["streamId"] == start["streamId"]
    for end in ends:
        assert (end["code"], end["seq"]) == ("store_unavailable", answer["seq"])
        assert len(answer["text"].encode()) == end["offset"] > 0
        assert pair.cyd.copy(start["streamId"]).text == answer["text"]


@pytest.mark.parametrize("step", ["rooms/ask", "queue/submit"])
async def test_an_asker_s_gateway_dies(step: str, pair: Pair, redis: RedisProcess) -> None:
    """Before it has asked the room, or before its answer is in line: the room has no question, or
    has it with an end that all are shown."""
    pair.gate.shut_at(step)
    await pair.ask()
    await pair.gate.shut.wait()
    pair.here.kill()
    node = redis.ask("HGET", f"wsserver:{{c:{pair.ada.connected['clientId']}}}", "node")
    redis.ask("ZADD", "wsserver:{nodes}:leases", "1", node.split("\r\n")[1])
    if step == "rooms/ask":
        led = f"wsserver:{{n:{node.split()[1]}}}:led"
        await eventually(lambda: redis.ask("EXISTS", led) == ":0\r\n", seconds=20)
        assert await pair.log() == []
        return
    start = await pair.cyd.until("stream_start")
    end = await pair.cyd.end_of(start["streamId"])
    assert (end["type"], end["code"], end["seq"]) == ("stream_error", "internal_error", 2)
    assert [entry["role"] for entry in await pair.log()] == ["user", "assistant"]


async def says(wire: Wire, text: str) -> bool:
    """Whether the room takes what is said."""
    reply = await wire.ask_until("room_message", roomId="r", text=text)
    return bool(reply["type"] == "room_message")


async def test_a_question_in_line_ends_once_its_gateway_was_believed_dead(
    pair: Pair, redis: RedisProcess, connect: Connect
) -> None:
    """It waits for another answer of the room, and others end it: its gateway, which lives, leads
    it no more, and takes the next one."""
    first = await pair.cyd.stream(roomId="r", options={"maxTokens": 100_000})
    await pair.ada.until("stream_start", streamId=first["streamId"])
    await pair.ask()
    waiting = await pair.ada.until("stream_start", requestId="q")
    node = redis.ask("HGET", f"wsserver:{{c:{pair.ada.connected['clientId']}}}", "node").split()[1]
    led = f"wsserver:{{n:{node}}}:led"
    assert redis.ask("SISMEMBER", led, waiting["streamId"]) == ":1\r\n"
    pair.gate.shut_now()
    redis.ask("ZADD", "wsserver:{nodes}:leases", "1", node)
    end = await pair.cyd.until("stream_error", streamId=waiting["streamId"], seconds=30)
    assert end["code"] == "internal_error"
    pair.gate.open()
    end = await pair.ada.until("stream_error", requestId="q")
    assert end["code"] == "internal_error"
    await eventually_so(lambda: says(pair.ada, "still here"))
    await pair.cyd.send(type="stop_stream", streamId=first["streamId"])
    again = await pair.ada.stream(roomId="r", options={"maxTokens": 5})
    assert (await pair.ada.end_of(again["streamId"]))["type"] == "stream_complete"
    await eventually(lambda: redis.ask("EXISTS", led) == ":0\r\n")


async def test_a_question_whose_answer_redis_has_lost_holds_nobody_up(
    pair: Pair, redis: RedisProcess
) -> None:
    """Its answer's part of Redis was emptied, and its room's was not: it ends, for who comes later,
    too, and what is asked then is answered."""
    first = await pair.cyd.stream(roomId="r", options={"maxTokens": 100_000})
    await pair.ada.until("stream_start", streamId=first["streamId"])
    await pair.ask()
    waiting = await pair.ada.until("stream_start", requestId="q")
    redis.ask("DEL", *(f"wsserver:{{g:{waiting['streamId']}}}:{letter}" for letter in "mtpv"))
    end = await pair.ada.until("stream_error", requestId="q", seconds=30)
    assert end["code"] == "store_unavailable"
    await pair.cyd.send(type="stop_stream", streamId=first["streamId"])
    third = await pair.bob.stream(roomId="r", options={"maxTokens": 5})
    assert (await pair.bob.end_of(third["streamId"]))["type"] == "stream_complete"
