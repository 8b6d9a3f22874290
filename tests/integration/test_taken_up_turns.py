"""Requests whose gateway dies, stands still or loses Redis in the midst of beginning them.

Each is sent again, under its requestId, to another gateway. What a history then has of it is one
turn, and its answer is generated once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.conftest import Connect, StartServer
from tests.integration.test_generating import counted
from tests.support.redis import RedisProcess, redis_is_installed
from tests.support.redis_gate import RedisGate, redis_gate
from tests.support.server import ServerProcess
from tests.support.waiting import eventually
from tests.support.wire import Frame, Wire

pytestmark = pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)

MODEL = ("--model", "m=synthetic:?tps=200&ttft_ms=0&slots=8")

StartGated = Callable[[], Awaitable[tuple[ServerProcess, RedisGate]]]


@pytest.fixture
def there(redis: RedisProcess, start_server: StartServer) -> ServerProcess:
    """The gateway that stays, with the only worker."""
    return start_server(*MODEL, "--redis-url", redis.url)


@pytest.fixture
async def start_gated(redis: RedisProcess, start_server: StartServer) -> AsyncIterator[StartGated]:
    """Starts a gateway without a worker behind a gate to Redis."""
    async with AsyncExitStack() as stack:

        async def start() -> tuple[ServerProcess, RedisGate]:
            gate = await stack.enter_async_context(redis_gate(redis))
            arguments = ("--set", "models.start=[]", "--redis-url", gate.url)
            return await asyncio.to_thread(start_server, *arguments), gate

        yield start


async def ada_on(connect: Connect, server: ServerProcess) -> Wire:
    wire = await connect(to=server)
    await wire.ask("authenticate", userId="ada")
    return wire


async def bury_alive(redis: RedisProcess, wire: Wire) -> None:
    """Have a connection's gateway be believed dead: its leases run out now."""
    client = f"wsserver:{{c:{wire.connected['clientId']}}}"
    await eventually(lambda: redis.ask("HGET", client, "node").startswith("$28"))
    node = redis.ask("HGET", client, "node").split("\r\n")[1]
    redis.ask("ZADD", "wsserver:{nodes}:leases", "1", node)
    for key in redis.ask("KEYS", "wsserver:{t:*:leases").split("\r\n")[2::2]:
        redis.ask("DEL", key)


async def said(wire: Wire) -> list[tuple[str, str]]:
    history = await wire.ask("get_history", sessionId="s")
    return [(m["role"], m["content"]) for m in history["messages"]]


async def begun(wire: Wire) -> Frame:
    """A session with one turn, whose answer ended by its length."""
    await wire.ask("open_session", sessionId="s")
    start = await wire.stream("first", sessionId="s", options={"maxTokens": 5})
    await wire.end_of(start["streamId"])
    return start


FIRST = [("user", "first"), ("assistant", counted(5))]
SECOND = [("user", "second"), ("assistant", counted(5))]
WISHES: dict[str, tuple[dict[str, Any], list[tuple[str, str]], int]] = {
    "a new turn": ({"prompt": "second"}, [*FIRST, *SECOND], 4),
    "an edit": ({"prompt": "second", "parentId": "s"}, SECOND, 4),
    "another try": ({"regenerate": "messageId"}, FIRST, 3),
}
"""What is asked, the active branch after it, and all messages of the session then."""


@pytest.mark.parametrize("what", WISHES)
async def test_a_turn_whose_gateway_died_before_its_answer_was_known(
    what: str, redis: RedisProcess, there: ServerProcess, start_gated: StartGated, connect: Connect
) -> None:
    """Its messages were stored, its answer was in no log: the repeat answers these messages."""
    here, gate = await start_gated()
    one, two = [await ada_on(connect, server) for server in (here, there)]
    start = await begun(one)
    wish, expected, count = WISHES[what]
    wish = {name: start.get(value, value) for name, value in wish.items()}
    body: Frame = {"sessionId": "s", "requestId": "again", "options": {"maxTokens": 5}, **wish}
    gate.shut_at("streams/create")
    await one.send(type="stream", **body)
    await gate.shut.wait()
    here.kill()
    await bury_alive(redis, one)
    again = await two.ask("stream", **body)
    assert again["type"] == "stream_start"
    assert (await two.end_of(again["streamId"]))["saved"] is True
    assert await said(two) == expected
    assert (await two.ask("list_sessions"))["sessions"][0]["messageCount"] == count


async def test_a_generate_whose_gateway_died(
    redis: RedisProcess, there: ServerProcess, start_gated: StartGated, connect: Connect
) -> None:
    """The same for an answer that comes whole."""
    here, gate = await start_gated()
    one, two = [await ada_on(connect, server) for server in (here, there)]
    await one.ask("open_session", sessionId="s")
    gate.shut_at("streams/create")
    body: Frame = {
        "prompt": "first",
        "sessionId": "s",
        "requestId": "g",
        "options": {"maxTokens": 5},
    }
    await one.send(type="generate", **body)
    await gate.shut.wait()
    here.kill()
    await bury_alive(redis, one)
    assert (await two.ask("generate", **body))["type"] == "generation_complete"
    assert await said(two) == FIRST


async def test_a_continuation_whose_gateway_died(
    redis: RedisProcess, there: ServerProcess, start_gated: StartGated, connect: Connect
) -> None:
    """The answer that was to go on was marked as running by the gateway that died: the repeat goes
    on with it all the same, from its text."""
    here, gate = await start_gated()
    one, two = [await ada_on(connect, server) for server in (here, there)]
    start = await begun(one)
    gate.shut_at("streams/create")
    body: Frame = {"sessionId": "s", "requestId": "on", "options": {"maxTokens": 4}}
    await one.send(type="continue", **body)
    await gate.shut.wait()
    here.kill()
    await bury_alive(redis, one)
    again = await two.ask("continue", **body)
    assert (again["type"], again["messageId"]) == ("stream_start", start["messageId"])
    await two.end_of(again["streamId"])
    assert await said(two) == [("user", "first"), ("assistant", counted(9))]


async def test_a_turn_that_was_refused_is_asked_again(
    there: ServerProcess, start_gated: StartGated, connect: Connect
) -> None:
    """Redis goes away when its messages are stored: it is refused, and when it is sent again, on
    any gateway, its question still stands in the history once."""
    here, gate = await start_gated()
    one, two = [await ada_on(connect, server) for server in (here, there)]
    await one.ask("open_session", sessionId="s")
    gate.shut_at("streams/create")
    body: Frame = {
        "prompt": "first",
        "sessionId": "s",
        "requestId": "r",
        "options": {"maxTokens": 5},
    }
    refused = await one.ask("stream", **body)
    assert (refused["type"], refused["code"]) == ("stream_error", "store_unavailable")
    gate.open()
    await eventually(lambda: here.get("/readyz")[0] == 200)
    again = await one.ask("stream", **body)
    assert again["type"] == "stream_start", again
    await one.end_of(again["streamId"])
    shown = await two.ask("stream", **body)
    assert shown["streamId"] == again["streamId"]
    assert await said(two) == FIRST


async def test_a_gateway_that_was_only_slow(
    redis: RedisProcess, there: ServerProcess, start_gated: StartGated, connect: Connect
) -> None:
    """It was believed dead, and its request was begun elsewhere. When it comes to begin its answer
    it shows that one instead, and leaves nothing in the session's line."""
    here, gate = await start_gated()
    one, two = [await ada_on(connect, server) for server in (here, there)]
    start = await begun(two)
    gate.shut_at("streams/create")
    body: Frame = {"prompt": "second", "requestId": "slow", "options": {"maxTokens": 5}}
    await one.send(type="stream", sessionId="s", **body)
    await gate.shut.wait()
    [request] = [
        key
        for key in redis.ask("KEYS", "wsserver:{i:*").split("\r\n")[2::2]
        if " nod_" in redis.ask("HGET", key, "outcome")
    ]
    barred = redis.ask("HGET", request, "outcome").split("\r\n")[1].split()[0]
    redis.ask("SET", f"wsserver:{{g:{barred}}}:x", "1")
    redis.ask("HSET", request, "outcome", start["streamId"])
    gate.go_on()
    shown = await one.until("stream_start", requestId="slow")
    assert shown["streamId"] == start["streamId"]
    assert (await one.end_of(start["streamId"]))["type"] == "stream_complete"
    third = await two.stream("third", sessionId="s", options={"maxTokens": 5})
    assert (await two.end_of(third["streamId"], 5))["type"] == "stream_complete"
    assert (await one.ask("metrics"))["data"]["system"]["activeStreams"] == 0


async def test_a_turn_that_was_told_of_is_not_refused_any_more(
    there: ServerProcess, start_gated: StartGated, connect: Connect
) -> None:
    """Redis goes away while it waits for the turn before it: it ends with an error, and whoever
    sends it again is told that end. It is not run once more."""
    here, gate = await start_gated()
    one, two = [await ada_on(connect, server) for server in (here, there)]
    await two.ask("open_session", sessionId="s")
    first = await two.stream("first", sessionId="s", options={"maxTokens": 100_000})
    body: Frame = {"prompt": "second", "sessionId": "s", "requestId": "told"}
    start = await one.ask("stream", **body)
    assert start["type"] == "stream_start"
    gate.shut_at("turns/ahead")
    await gate.shut.wait()
    await eventually(lambda: b"wsserver_store_up 0.0" in here.get("/metrics")[2])
    gate.open()
    end = await one.end_of(start["streamId"])
    assert (end["type"], end["code"]) == ("stream_error", "store_unavailable")
    again = await two.ask("stream", **body)
    assert again["streamId"] == start["streamId"]
    assert (await two.end_of(start["streamId"]))["code"] == "store_unavailable"
    await two.send(type="stop_stream", streamId=first["streamId"])
    await two.end_of(first["streamId"])
    assert [said[1] for said in await said(two) if said[0] == "user"] == ["first", "second"]


@pytest.mark.parametrize("step", ["repeats/claim", "turns/arrive", "sessions/append"])
async def test_a_stopped_turn_that_was_not_kept_says_so(
    step: str, there: ServerProcess, start_gated: StartGated, connect: Connect
) -> None:
    """Redis goes away before its messages are stored, and then it is stopped."""
    here, gate = await start_gated()
    one = await ada_on(connect, here)
    await one.ask("open_session", sessionId="s")
    gate.shut_at(step)
    await one.send(type="stream", prompt="first", sessionId="s", requestId="r")
    await gate.shut.wait()
    await one.send(type="stop_stream", requestId="r")
    end = await one.until("stream_stopped", requestId="r")
    assert end["saved"] is False
    gate.open()
    await eventually(lambda: here.get("/readyz")[0] == 200)
    assert await said(one) == []


async def test_what_can_not_be_told_is_not_called_running(
    there: ServerProcess, start_gated: StartGated, connect: Connect
) -> None:
    """`continue` on a gateway whose Redis is away: it can't know whether the answer has ended, and
    says so instead of refusing for good."""
    here, gate = await start_gated()
    one, two = [await ada_on(connect, server) for server in (here, there)]
    start = await one.stream(options={"maxTokens": 100_000})
    await one.first_token(start["streamId"])
    gate.shut_now()
    await two.send(type="stop_stream", streamId=start["streamId"])
    refused = await one.ask_until("continue", streamId=start["streamId"])
    assert (refused["type"], refused["code"]) == ("stream_error", "store_unavailable")
    assert refused["retryAfter"] > 0
    gate.open()
    await one.end_of(start["streamId"], 20)
    further = await one.ask("continue", streamId=start["streamId"], options={"maxTokens": 5})
    assert further["type"] == "stream_start"
    await one.end_of(further["streamId"])


async def test_what_may_run_is_not_refused(
    there: ServerProcess, start_gated: StartGated, connect: Connect
) -> None:
    """Redis goes away when the answer is put in line: nobody here knows whether it will be made.
    So its start is told, and it ends as the log says, for its repeats, too."""
    here, gate = await start_gated()
    one, two = [await ada_on(connect, server) for server in (here, there)]
    gate.shut_at("queue/submit")
    body: Frame = {"prompt": "x", "requestId": "r", "options": {"maxTokens": 5}}
    start = await one.ask("stream", **body)
    assert start["type"] == "stream_start"
    gate.open()
    end = await one.end_of(start["streamId"])
    assert (end["type"], end["code"]) == ("stream_error", "store_unavailable")
    again = await two.ask("stream", **body)
    assert again["streamId"] == start["streamId"]
    assert (await two.end_of(start["streamId"]))["code"] == "store_unavailable"
