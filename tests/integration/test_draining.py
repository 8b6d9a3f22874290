"""SIGTERM: no new work, running answers may end, the rest is stopped, everyone is told."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.conftest import Connect, StartServer
from tests.integration.test_rooms import join
from tests.support.server import ServerProcess, differs_over_redis
from tests.support.wire import open_wire

LONG = {"maxTokens": 100_000}


def drain_of(server: ServerProcess) -> dict[str, Any]:
    """The log line that begins the drain."""
    (line,) = [line for line in server.log_lines() if "draining" in str(line.get("message"))]
    return line


async def test_a_drain_with_nothing_to_do_is_short(
    start_server: StartServer, connect: Connect
) -> None:
    """Idle connections are told and closed with 1001; the process ends with 0."""
    server = start_server("--set", "server.drain_seconds=60")
    wire = await connect(to=server)
    server.signal(signal.SIGTERM)
    notice = await wire.until("server_draining")
    assert set(notice) == {"type", "reconnectAfter", "spread", "deadline"}
    assert (notice["deadline"], notice["spread"] > 0) == (60_000, True)
    assert await wire.closed() == 1001
    assert server.wait() == 0


async def test_running_answers_may_end(start_server: StartServer, connect: Connect) -> None:
    """What runs ends by itself within the time; new work is `draining`, control goes on."""
    server = start_server("--set", "server.drain_seconds=60")
    wire = await connect(to=server)
    start = await wire.stream(options={"maxTokens": 200})
    await wire.send(type="generate", prompt="x", requestId="g", options={"maxTokens": 150})
    await wire.send(type="batch", prompts=["a", "b"], requestId="b", options={"maxTokens": 150})
    await wire.first_token(start["streamId"])
    server.signal(signal.SIGTERM)
    await wire.until("server_draining")
    for kind, fields, error_type in (
        ("stream", {"prompt": "x"}, "stream_error"),
        ("generate", {"prompt": "x"}, "generation_error"),
        ("batch", {"prompts": ["x"]}, "batch_error"),
        ("load_model", {"source": "synthetic:"}, "model_load_error"),
    ):
        error = await wire.ask(kind, **fields)
        assert (error["type"], error["code"]) == (error_type, "draining")
        assert error["retryable"] is True
    assert (await wire.ask("ping"))["type"] == "pong"
    assert server.get("/readyz")[0] == 503
    assert server.get("/healthz")[0] == 200
    with pytest.raises(InvalidStatus) as refused:
        await open_wire(server.ws_url)
    assert refused.value.response.status_code == 503
    assert int(refused.value.response.headers["Retry-After"]) >= 1
    assert await wire.closed() == 1001
    assert wire.copy(start["streamId"]).ended is not None
    assert wire.of_type("stream_complete")[0]["totalTokens"] == 200
    assert wire.of_type("generation_complete")[0]["result"]["tokens"] == 150
    assert wire.of_type("batch_complete")[0]["summary"]["successful"] == 2
    assert server.wait() == 0


@differs_over_redis("what a drain does not see ended is not stopped: other processes go on with it")
async def test_what_runs_too_long_is_stopped(start_server: StartServer, connect: Connect) -> None:
    """After the drain time streams end as `shutdown`, each request in its one event."""
    server = start_server(
        "--model",
        "synthetic:?tps=100&slots=3",
        "--set",
        "server.drain_seconds=0.2",
        "--set",
        "limits.max_concurrent_streams=8",
    )
    wire = await connect(to=server)
    running = await wire.stream(options=LONG)
    await wire.send(type="generate", prompt="x", requestId="g", options=LONG)
    await wire.send(type="batch", prompts=["x"] * 20, requestId="b", options=LONG)
    await wire.until("batch_start")
    await wire.first_token(running["streamId"])
    server.signal(signal.SIGTERM)
    assert await wire.closed() == 1001
    (stopped,) = wire.of_type("stream_stopped")
    assert (stopped["reason"], stopped["stoppedBy"]) == ("shutdown", "server")
    assert stopped["offset"] == len(wire.copy(running["streamId"]).text)
    (generated,) = wire.of_type("generation_complete")
    assert generated["result"]["finishReason"] == "stopped"
    (batch,) = wire.of_type("batch_complete")
    assert batch["summary"]["cancelled"] == 20
    assert server.wait() == 0


@differs_over_redis("what a drain does not see ended is not stopped: other processes go on with it")
async def test_all_of_a_room_are_told_the_end(start_server: StartServer, connect: Connect) -> None:
    """Of more than are written to in one turn each gets all text and the end before its close."""
    server = start_server("--model", "synthetic:?tps=100", "--set", "server.drain_seconds=0.2")
    members = [await connect(to=server) for _ in range(140)]
    await asyncio.gather(*(join(wire, "hall") for wire in members))
    start = await members[0].stream(roomId="hall", options=LONG)
    for wire in members:
        await wire.first_token(start["streamId"])
    server.signal(signal.SIGTERM)
    for wire in members:
        assert await wire.closed() == 1001
        (stopped,) = wire.of_type("stream_stopped")
        assert stopped["offset"] == len(wire.copy(start["streamId"]).text)
    assert server.wait() == 0


@differs_over_redis("what a drain does not see ended is not stopped: other processes go on with it")
async def test_queued_work_ends_with_the_rest(start_server: StartServer, connect: Connect) -> None:
    """What waits for a slot when the time is over is never begun, and has its end."""
    server = start_server(
        "--model", "synthetic:?tps=100&slots=1", "--set", "server.drain_seconds=0.1"
    )
    wire = await connect(to=server)
    starts = [await wire.stream(options=LONG) for _ in range(3)]
    server.signal(signal.SIGTERM)
    assert await wire.closed() == 1001
    ends = {frame["streamId"]: frame for frame in wire.of_type("stream_stopped")}
    assert set(ends) == {start["streamId"] for start in starts}
    assert {end["reason"] for end in ends.values()} == {"shutdown"}
    assert server.wait() == 0


@differs_over_redis("what a drain does not see ended is not stopped: other processes go on with it")
async def test_a_second_signal_does_not_wait(start_server: StartServer, connect: Connect) -> None:
    """Who sends SIGINT twice wants the end now: running answers are stopped at once."""
    server = start_server("--set", "server.drain_seconds=3600")
    wire = await connect(to=server)
    start = await wire.stream(options=LONG)
    await wire.first_token(start["streamId"])
    server.signal(signal.SIGINT)
    await wire.until("server_draining")
    server.signal(signal.SIGINT)
    assert await wire.closed() == 1001
    assert wire.of_type("stream_stopped")[0]["reason"] == "shutdown"
    assert server.wait() == 0


async def test_a_drain_while_a_model_loads(start_server: StartServer) -> None:
    """A load that never ends does not keep the server."""
    server = start_server("--model", "synthetic:?load_ms=600000", ready=False)
    assert server.stop() == 0


async def test_a_stalled_peer_does_not_keep_the_server(
    start_server: StartServer, connect: Connect
) -> None:
    """A client that reads nothing is cut at the end of the drain."""
    server = start_server("--model", "synthetic:?tps=0", "--set", "server.drain_seconds=0.1")
    wire = await connect(to=server)
    wire.pause_reading()
    for _ in range(4):
        await wire.send(type="stream", prompt="x", options={"maxTokens": 1_000_000})
    reader = await connect(to=server)
    await reader.ask("ping")
    server.signal(signal.SIGTERM)
    assert server.wait(25) == 0
    wire.resume_reading()


async def test_the_log_tells_of_the_drain(start_server: StartServer) -> None:
    """The log is made of JSON lines, and says that the server drains."""
    server = start_server()
    assert server.stop() == 0
    line = drain_of(server)
    assert line["level"] == "info"
    assert json.dumps(line)
