"""A killed engine: answers go on from the text they had, and no slot is lost."""

from __future__ import annotations

import signal

import psutil
import pytest

from tests.conftest import Connect, StartServer
from tests.integration.test_generating import counted
from tests.support.server import ServerProcess
from tests.support.waiting import eventually
from tests.support.wire import Frame, Wire


def only_child(server: ServerProcess) -> psutil.Process:
    """The engine's process of a server with one model."""
    (child,) = server.children()
    return child


async def kill_engine(server: ServerProcess, deaths: int) -> None:
    """Kill the engine as soon as it has loaded, after so many deaths before."""
    restarts = f'wsserver_engine_restarts_total{{model="synthetic"}} {deaths}.0'.encode()
    loaded = b'wsserver_slots{model="synthetic",state="free"} 0.0'

    def is_loaded() -> bool:
        metrics = server.get("/metrics")[2]
        return (not deaths or restarts in metrics) and loaded not in metrics

    await eventually(is_loaded)
    only_child(server).kill()


async def models_of(wire: Wire) -> Frame:
    """The only model."""
    (model,) = (await wire.ask("models"))["models"]
    return dict(model)


async def test_answers_go_on_after_a_kill(start_server: StartServer, connect: Connect) -> None:
    """SIGKILL in mid-answer: stream, generate and batch end with every byte once, slots free."""
    server = start_server("--model", "synthetic:?tps=100&ttft_ms=0&slots=4")
    wire = await connect(to=server)
    start = await wire.stream(options={"maxTokens": 120, "tokenInterval": 0})
    await wire.send(type="generate", prompt="x", requestId="g", options={"maxTokens": 110})
    await wire.send(type="batch", prompts=["a", "b"], requestId="b", options={"maxTokens": 110})
    queued = await wire.stream(options={"maxTokens": 5})
    for _ in range(20):
        await wire.first_token(start["streamId"])
    child = only_child(server)
    child.kill()
    end = await wire.end_of(start["streamId"])
    assert (end["type"], end["totalTokens"]) == ("stream_complete", 120)
    assert wire.copy(start["streamId"]).text == counted(120)
    assert (await wire.end_of(queued["streamId"]))["type"] == "stream_complete"
    await eventually(lambda: bool(wire.of_type("batch_complete")))
    (generated,) = wire.of_type("generation_complete")
    assert generated["result"]["text"] == counted(110)
    assert [item["result"]["text"] for item in wire.of_type("batch_item")] == [counted(110)] * 2
    assert wire.of_type("stream_rewind") == []
    model = await models_of(wire)
    assert (model["status"], model["activeStreams"], model["slots"]) == ("ready", 0, 4)
    assert only_child(server).pid != child.pid
    assert (await wire.ask("metrics"))["data"]["system"]["activeStreams"] == 0


async def test_a_stop_while_the_engine_is_gone(start_server: StartServer, connect: Connect) -> None:
    """What is stopped between two lives of the engine ends at once, and never runs again."""
    server = start_server("--model", "synthetic:?tps=100&ttft_ms=0&load_ms=1500")
    wire = await connect(to=server)
    start = await wire.stream(options={"maxTokens": 100_000})
    await wire.first_token(start["streamId"])
    only_child(server).kill()
    await eventually(lambda: b"wsserver_engine_restarts_total" in server.get("/metrics")[2])
    waiting = await wire.stream(options={"maxTokens": 1})
    await wire.send(type="stop_stream", streamId=start["streamId"])
    end = await wire.end_of(start["streamId"])
    assert (end["type"], end["offset"]) == (
        "stream_stopped",
        len(wire.copy(start["streamId"]).text),
    )
    assert wire.copy(waiting["streamId"]).ended is None
    assert (await wire.end_of(waiting["streamId"]))["type"] == "stream_complete"


@pytest.mark.timeout(120)
async def test_an_engine_that_keeps_dying_fails(
    start_server: StartServer, connect: Connect
) -> None:
    """After so many deaths in a row the model is failed with the reason; the server serves on."""
    server = start_server("--model", "synthetic:?tps=100&ttft_ms=0")
    wire = await connect(to=server)
    start = await wire.stream(options={"maxTokens": 100_000})
    await wire.first_token(start["streamId"])
    for deaths in range(6):
        await kill_engine(server, deaths)
    end = await wire.end_of(start["streamId"], seconds=30)
    assert (end["type"], end["retryable"]) == ("stream_error", True)
    assert end["code"] in ("generation_failed", "model_not_ready")
    assert end["offset"] == len(wire.copy(start["streamId"]).text)
    await eventually(lambda: server.get("/readyz")[0] == 503)
    model = await models_of(wire)
    assert model["status"] == "failed"
    assert "died" in model["description"]
    assert "died" in model["reason"]
    lines = server.get("/readyz")[2].decode().splitlines()
    assert lines == [
        "no model that answers: synthetic failed",
        f"failed: synthetic: {model['reason']}",
    ]
    error = await wire.ask("generate", prompt="x")
    assert (error["type"], error["code"]) == ("generation_error", "model_not_ready")
    assert "SIGKILL" in error["error"] or "killed" in error["error"]
    loaded = await wire.ask_until("load_model", source=model["id"])
    assert loaded["type"] == "model_loaded"
    reply = await wire.ask_until("generate", prompt="x", options={"maxTokens": 1})
    assert reply["type"] == "generation_complete"


async def test_one_answer_that_kills_is_given_up(
    start_server: StartServer, connect: Connect
) -> None:
    """An answer whose engine died three times ends as failed, with the text it had."""
    server = start_server("--model", "synthetic:?tps=100&ttft_ms=0")
    wire = await connect(to=server)
    start = await wire.stream(options={"maxTokens": 100_000, "tokenInterval": 0})
    for deaths in range(3):
        await kill_engine(server, deaths)
    end = await wire.end_of(start["streamId"])
    assert (end["type"], end["code"], end["retryable"]) == (
        "stream_error",
        "generation_failed",
        True,
    )
    text = wire.copy(start["streamId"]).text
    assert text == counted(len(text.split()))
    reply = await wire.ask_until("generate", prompt="x", options={"maxTokens": 1})
    assert reply["type"] == "generation_complete"


async def test_a_stopped_engine_is_told_from_a_dead_one(
    start_server: StartServer, connect: Connect
) -> None:
    """A child that is held for a moment goes on: nothing is lost and nothing restarts."""
    server = start_server("--model", "synthetic:?tps=200&ttft_ms=0")
    wire = await connect(to=server)
    start = await wire.stream(options={"maxTokens": 100})
    await wire.first_token(start["streamId"])
    child = only_child(server)
    child.suspend()
    assert (await wire.ask("ping"))["type"] == "pong"
    child.resume()
    await wire.end_of(start["streamId"])
    assert wire.copy(start["streamId"]).text == counted(100)
    assert only_child(server).pid == child.pid


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_to_the_whole_group_drain(
    start_server: StartServer, connect: Connect, number: int
) -> None:
    """Ctrl-C reaches the engine too: it stays, and the answer ends before the server does."""
    server = start_server("--set", "server.drain_seconds=30")
    wire = await connect(to=server)
    start = await wire.stream(options={"maxTokens": 150})
    await wire.first_token(start["streamId"])
    only_child(server).send_signal(number)
    server.signal(number)
    assert await wire.closed() == 1001
    (end,) = wire.of_type("stream_complete")
    assert end["totalTokens"] == 150
    assert server.wait() == 0
