"""A Redis that stands still, dies, or comes back empty, under a server that answers over it."""

from __future__ import annotations

import pytest

from tests.conftest import Connect, StartServer
from tests.integration.test_generating import counted
from tests.integration.test_rooms import join
from tests.support.redis import RedisProcess
from tests.support.server import ServerProcess
from tests.support.waiting import eventually

SOURCE = "synthetic:?tps=50&ttft_ms=0&slots=1"


@pytest.fixture
def fleet(redis: RedisProcess, start_server: StartServer) -> ServerProcess:
    """A gateway with a worker over it; one slot, 50 tokens a second."""
    return start_server(
        *("--model", SOURCE, "--set", f"redis.url={redis.url}", "--set", "server.drain_seconds=10")
    )


async def test_a_redis_that_stands_still(
    redis: RedisProcess, fleet: ServerProcess, connect: Connect
) -> None:
    """What runs goes on from memory, new work is refused at once, and all heals."""
    wire, other = await connect(to=fleet), await connect(to=fleet)
    start = await wire.stream(options={"maxTokens": 500})
    await wire.first_token(start["streamId"])
    redis.freeze()
    refused = await other.ask("stream", prompt="x")
    assert (refused["type"], refused["code"]) == ("stream_error", "store_unavailable")
    assert refused["retryable"] is True
    assert refused["retryAfter"] > 0
    refused = await other.ask("batch", prompts=["x", "y"])
    assert (refused["type"], refused["code"]) == ("batch_error", "store_unavailable")
    assert (await other.ask("watch_stream", streamId="str_none"))["code"] == "store_unavailable"
    assert (await other.ask("get_status"))["code"] == "store_unavailable"
    assert (await other.ask("ping"))["type"] == "pong"
    assert fleet.get("/readyz")[0] == 503
    assert b"wsserver_store_up 0.0" in metrics(fleet)
    assert fleet.get("/healthz")[0] == 200
    have = len(wire.copy(start["streamId"]).text)
    await eventually(lambda: len(wire.copy(start["streamId"]).text) > have + 100)
    redis.thaw()
    await eventually(lambda: fleet.get("/readyz")[0] == 200)
    assert b"wsserver_store_up 1.0" in metrics(fleet)
    assert (await wire.end_of(start["streamId"], 20))["type"] == "stream_complete"
    assert wire.copy(start["streamId"]).text == counted(500)
    assert (await other.ask_until("generate", prompt="x", options={"maxTokens": 2}))["type"] == (
        "generation_complete"
    )


async def test_a_stop_needs_no_redis(
    redis: RedisProcess, fleet: ServerProcess, connect: Connect
) -> None:
    """The engine stops at once; the end is told when Redis has it."""
    wire = await connect(to=fleet)
    start = await wire.stream(options={"maxTokens": 100_000})
    await wire.first_token(start["streamId"])
    redis.freeze()
    await wire.send(type="stop_stream", streamId=start["streamId"])
    await eventually(
        lambda: b'wsserver_slots{model="synthetic",state="busy"} 0.0' in metrics(fleet)
    )
    redis.thaw()
    end = await wire.end_of(start["streamId"])
    have = len(wire.copy(start["streamId"]).text)
    assert (end["type"], end["offset"]) == ("stream_stopped", have)


async def test_a_redis_that_comes_back_empty(
    redis: RedisProcess, fleet: ServerProcess, connect: Connect
) -> None:
    """The running answer is given back to it whole, what waited has its end, places are known."""
    wire, other = await connect(to=fleet), await connect(to=fleet)
    start = await wire.stream(options={"maxTokens": 400})
    await wire.first_token(start["streamId"])
    waiting = await wire.stream(options={"maxTokens": 1})
    stopped = await wire.stream(options={"maxTokens": 1})
    redis.kill()
    redis.forget()
    redis.start()
    await wire.send(type="stop_stream", streamId=stopped["streamId"])
    assert (await wire.end_of(stopped["streamId"], 20))["type"] == "stream_stopped"
    lost = await wire.end_of(waiting["streamId"], 20)
    assert (lost["type"], lost["code"]) == ("stream_error", "store_unavailable")
    assert lost["retryable"] is True
    assert (await wire.end_of(start["streamId"], 20))["type"] == "stream_complete"
    assert wire.copy(start["streamId"]).text == counted(400)
    snapshot = await other.ask("authenticate", userId="late")
    assert snapshot["type"] == "authenticated"
    await wire.cut()
    back = await connect(to=fleet)
    resumed = await back.ask("resume", resumeToken=wire.connected["resumeToken"])
    assert resumed["type"] == "resumed"
    assert resumed["clientId"] == wire.connected["clientId"]


async def test_what_was_said_and_lost_can_be_said_again(
    redis: RedisProcess, fleet: ServerProcess, connect: Connect
) -> None:
    """Under the same id: a gateway that remembers it does not take it for said any more."""
    wire = await connect(to=fleet)
    await join(wire, "r")
    said = await wire.ask("room_message", requestId="same", roomId="r", text="once")
    assert said["seq"] == 1
    redis.kill()
    redis.forget()
    redis.start()
    anew = await wire.until("room_joined", recovered=False)
    assert anew["messages"] == []
    for _ in range(2):
        again = await wire.ask_until("room_message", requestId="same", roomId="r", text="once")
        assert (again["seq"], again["messageId"] != said["messageId"]) == (1, True)
    page = await wire.ask("room_history", roomId="r")
    assert [entry["text"] for entry in page["messages"]] == ["once"]


def metrics(server: ServerProcess) -> bytes:
    return server.get("/metrics")[2]
