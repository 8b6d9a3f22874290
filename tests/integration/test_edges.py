"""What lies between the other files: frames in fragments, names taken late, privacy, crowds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator

import psutil
import pytest
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import ConnectionClosed

from tests.conftest import Connect, StartServer
from tests.integration.test_generating import counted
from tests.support.server import ServerProcess
from tests.support.wire import Wire, open_wire

LONG = {"maxTokens": 100_000}
MARKER = "s3cr3t-w0rds-0f-a-user"


async def test_a_message_in_fragments(wire: Wire) -> None:
    """A message may come in several frames of the WebSocket."""
    message = json.dumps({"type": "ping", "requestId": "parts"})
    wire.rules.sent_ids.add("parts")
    await wire.socket.send([message[:5], message[5:9], message[9:]])
    assert (await wire.receive())["requestId"] == "parts"


async def test_fragments_add_up_to_the_limit(connect: Connect, wire: Wire) -> None:
    """Fragments whose sum is too large close with 1009, like one frame."""
    bound = wire.connected["limits"]["maxMessageBytes"]

    async def parts() -> AsyncIterator[str]:
        for _ in range(12):
            yield "x" * (bound // 10)

    with contextlib.suppress(ConnectionClosed):
        await wire.socket.send(parts())
    assert await wire.closed() == 1009
    assert (await (await connect()).ask("ping"))["type"] == "pong"


async def test_compression_is_not_negotiated(server: ServerProcess) -> None:
    """A client that offers compression is served without it."""

    async with websocket(server.ws_url, proxy=None) as socket:
        assert socket.protocol.extensions == []
        assert json.loads(await socket.recv())["type"] == "connected"


async def test_a_client_s_own_ping_is_answered(wire: Wire) -> None:
    """A WebSocket ping gets its pong."""
    async with asyncio.timeout(5):
        await (await wire.socket.ping(b"still there?"))


async def test_text_that_is_no_utf_8(wire: Wire) -> None:
    """A text frame of broken UTF-8 is an unreadable message, not the end of the connection."""
    payload = b'{"type":"ping","requestId":"\xff\xfe"}'
    frame = struct.pack("!BBI", 0x81, 0x80 | len(payload), 0) + payload
    wire.socket.transport.write(frame)
    error = await wire.until("error")
    assert error["code"] == "invalid_message"
    assert (await wire.ask("ping"))["type"] == "pong"


async def test_what_was_asked_before_a_name_was_taken(wire: Wire) -> None:
    """Who takes a userId while something runs can still watch and stop it."""
    start = await wire.stream(requestId="early", options=LONG)
    await wire.first_token(start["streamId"])
    assert (await wire.ask("authenticate", userId="latecomer"))["type"] == "authenticated"
    status = await wire.ask("get_status")
    assert [stream["streamId"] for stream in status["streams"]] == [start["streamId"]]
    snapshot = await wire.ask("watch_stream", streamId=start["streamId"])
    assert snapshot["type"] == "stream_snapshot"
    await wire.send(type="stop_stream", streamId=start["streamId"])
    assert (await wire.end_of(start["streamId"]))["type"] == "stream_stopped"


async def test_a_name_is_not_changed_inside_a_room(wire: Wire) -> None:
    """Rooms know their members by user, so that another userId must wait until they are left."""
    await wire.ask("join_room", roomId="named")
    error = await wire.ask("authenticate", userId="somebody else")
    assert (error["type"], error["code"]) == ("error", "invalid_parameters")
    assert [detail["field"] for detail in error["details"]] == ["userId"]
    await wire.ask("leave_room")
    assert (await wire.ask("authenticate", userId="somebody else"))["type"] == "authenticated"


async def test_resuming_with_one_s_own_token(wire: Wire) -> None:
    """A client that resumes itself stays who it is and gets a new token."""
    start = await wire.stream(options={"maxTokens": 60})
    resumed = await wire.ask(
        "resume", resumeToken=wire.connected["resumeToken"], streams={start["streamId"]: 0}
    )
    assert resumed["type"] == "resumed"
    assert resumed["clientId"] == wire.connected["clientId"]
    assert (await wire.end_of(start["streamId"]))["type"] == "stream_complete"
    assert wire.copy(start["streamId"]).text == counted(60)


async def test_a_queued_request_keeps_its_place_over_a_cut(
    start_server: StartServer, connect: Connect
) -> None:
    """A client that drops and resumes is not put behind those who came later."""
    server = start_server("--model", "synthetic:?tps=50&ttft_ms=0&slots=1")
    holder, one, later = [await connect(to=server) for _ in range(3)]
    running = await holder.stream(options=LONG)
    await holder.first_token(running["streamId"])
    queued = await one.stream(options={"maxTokens": 1}, requestId="kept")
    behind = await later.stream(options={"maxTokens": 1})
    assert (queued["queuePosition"], behind["queuePosition"]) == (1, 2)
    await one.cut()
    two = await connect(to=server)
    two.rules.sent_ids.add("kept")
    resumed = await two.ask(
        "resume", resumeToken=one.connected["resumeToken"], streams={queued["streamId"]: 0}
    )
    assert resumed["streams"][0]["state"] == "queued"
    snapshot = await two.until("stream_snapshot")
    assert (snapshot["state"], snapshot["queuePosition"]) == ("queued", 1)
    assert later.of_type("queue_position") == []
    await holder.send(type="stop_stream", streamId=running["streamId"])
    assert (await two.end_of(queued["streamId"]))["type"] == "stream_complete"


async def test_a_generate_survives_a_cut(connect: Connect) -> None:
    """After `resume` the answer of a running `generate` comes under its requestId."""
    one = await connect()
    await one.send(type="generate", prompt="x", requestId="whole", options={"maxTokens": 60})
    await one.settle()
    await one.cut()
    two = await connect()
    two.rules.sent_ids.add("whole")
    await two.ask("resume", resumeToken=one.connected["resumeToken"])
    reply = await two.until("generation_complete")
    assert (reply["requestId"], reply["result"]["tokens"]) == ("whole", 60)


async def test_unknown_types_are_no_label(server: ServerProcess, wire: Wire) -> None:
    """What a client makes up does not become a metric."""
    await wire.ask("made-up-by-a-client")
    metrics = server.get("/metrics")[2]
    assert b"made-up-by-a-client" not in metrics
    assert b'wsserver_requests_total{outcome="unknown_type",type="unknown"}' in metrics


async def test_nobody_s_words_are_logged(start_server: StartServer, connect: Connect) -> None:
    """At the most talkative level the log holds no prompt, message, name or token."""
    server = start_server("--set", "log.level=debug")
    wire = await connect(to=server)
    await wire.ask("authenticate", userId="u", name=MARKER, token=MARKER)
    start = await wire.stream(MARKER, options={"maxTokens": 2}, system=MARKER)
    await wire.end_of(start["streamId"])
    await wire.ask("generate", prompt=MARKER, options={"maxTokens": 1, "stop": [MARKER]})
    await wire.ask("generate", prompt=MARKER, options={"maxTokens": MARKER})
    await wire.ask_until("batch", prompts=[MARKER], options={"maxTokens": 1})
    await wire.ask("join_room", roomId="r", state={"x": MARKER})
    await wire.ask("room_message", roomId="r", text=MARKER, data=MARKER)
    await wire.ask("count_tokens", text=MARKER)
    await wire.ask("resume", resumeToken=MARKER)
    await wire.send_raw(MARKER)
    await wire.settle()
    await wire.close()
    assert server.stop() == 0
    assert server.log_text()
    assert MARKER not in server.log_text()


async def test_a_killed_server_leaves_no_engine(start_server: StartServer) -> None:
    """When the server is killed its engines end by themselves."""
    server = start_server()
    children = server.children()
    assert children
    server.kill()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


async def test_a_crowd_connects_at_once(server: ServerProcess) -> None:
    """Two hundred connections opened together are all greeted and answered."""
    wires = await asyncio.gather(*(open_wire(server.ws_url) for _ in range(200)))
    assert len({wire.connected["clientId"] for wire in wires}) == 200
    replies = await asyncio.gather(*(wire.ask("ping") for wire in wires))
    assert {reply["type"] for reply in replies} == {"pong"}
    await asyncio.gather(*(wire.close() for wire in wires))


async def test_many_streams_on_many_connections(connect: Connect) -> None:
    """Forty streams on eight connections: each gets its own, whole and in order."""
    wires = [await connect(binary=bool(number % 2)) for number in range(8)]
    starts = [
        (wire, await wire.stream(options={"maxTokens": 30 + number}))
        for wire in wires
        for number in range(5)
    ]
    for wire, start in starts:
        await wire.end_of(start["streamId"])
    for index, (wire, start) in enumerate(starts):
        assert wire.copy(start["streamId"]).text == counted(30 + index % 5)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
async def test_a_client_cannot_choose_its_address(
    start_server: StartServer, connect: Connect, header: str
) -> None:
    """Without a trusted proxy no header buys a fresh allowance."""
    server = start_server("--set", "limits.requests_per_minute=1")
    first = await connect(to=server, headers={header: "203.0.113.1"})
    assert (await first.ask("generate", prompt="x", options={"maxTokens": 1}))["type"] == (
        "generation_complete"
    )
    second = await connect(to=server, headers={header: "203.0.113.2"})
    assert (await second.ask("generate", prompt="x"))["code"] == "rate_limited"


async def test_a_trusted_proxy_names_the_client(
    start_server: StartServer, connect: Connect
) -> None:
    """Behind a trusted proxy callers count by the address that it saw, not by what they claim."""
    server = start_server(
        "--set", "limits.requests_per_minute=1", "--set", 'server.trusted_proxies=["127.0.0.1"]'
    )
    options = {"maxTokens": 1}
    for address, kind in (
        ("203.0.113.1", "generation_complete"),
        ("203.0.113.2", "generation_complete"),
        ("198.51.100.7, 203.0.113.2", "generation_error"),
        ("203.0.113.3, 127.0.0.1", "generation_complete"),
        ("203.0.113.3", "generation_error"),
    ):
        wire = await connect(to=server, headers={"X-Forwarded-For": address})
        assert (await wire.ask("generate", prompt="x", options=options))["type"] == kind, address


async def test_a_whole_answer_fits_into_a_frame(wire: Wire) -> None:
    """A `generate` that could fill megabytes ends with `length` where one frame is full."""
    reply = await wire.ask(
        "generate", prompt="x", model="flat", options={"maxTokens": 1_000_000}, seconds=50
    )
    assert reply["result"]["finishReason"] == "length"
    assert reply["result"]["tokens"] == 100_000
    assert max(wire.sizes) <= 1024 * 1024
