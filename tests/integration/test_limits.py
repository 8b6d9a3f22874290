"""Limits: requests, tokens, streams, frames, bytes; each with its own words and its own end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed

from tests.conftest import Connect, StartServer
from tests.support.server import ServerProcess
from tests.support.wire import Frame, Wire

ONE = {"maxTokens": 1}


async def test_requests_a_minute(start_server: StartServer, connect: Connect) -> None:
    """A rested caller uses all at once; then `rate_limited` says when; control is free."""
    limited = start_server("--set", "limits.requests_per_minute=4")
    wire = await connect(to=limited)
    assert wire.connected["limits"]["requestsPerMinute"] == 4
    running = await wire.stream(options={"maxTokens": 100_000})
    await wire.ask_until("batch", prompts=["a", "b"], options=ONE)
    assert (await wire.ask("get_status"))["limits"]["requestsRemaining"] == 1
    await wire.ask("generate", prompt="x", options=ONE)
    refused: list[Frame] = [
        await wire.ask("generate", prompt="x"),
        await wire.ask("batch", prompts=["x"]),
        await wire.ask("load_model", source="synthetic:"),
    ]
    assert [error["type"] for error in refused] == [
        "generation_error",
        "batch_error",
        "model_load_error",
    ]
    for error in refused:
        assert (error["code"], error["retryable"]) == ("rate_limited", True)
        assert 0 < error["retryAfter"] <= 15_000
    for kind in ("ping", "get_status", "models", "list_rooms", "metrics"):
        assert (await wire.ask(kind))["type"] != "error"
    await wire.send(type="stop_stream", streamId=running["streamId"])
    assert (await wire.end_of(running["streamId"]))["type"] == "stream_stopped"


async def test_reconnecting_does_not_reset_a_limit(
    start_server: StartServer, connect: Connect
) -> None:
    """Callers without a proof count by address, whatever name they take."""
    limited = start_server("--set", "limits.requests_per_minute=2")
    first = await connect(to=limited)
    for _ in range(2):
        await first.ask("generate", prompt="x", options=ONE)
    second = await connect(to=limited)
    await second.ask("authenticate", userId="somebody else")
    assert (await second.ask("generate", prompt="x"))["code"] == "rate_limited"


async def test_more_than_a_minute_s_allowance_at_once(
    start_server: StartServer, connect: Connect
) -> None:
    """A batch that no waiting could let through says so."""
    limited = start_server("--set", "limits.requests_per_minute=2")
    wire = await connect(to=limited)
    error = await wire.ask("batch", prompts=["x"] * 3)
    assert (error["type"], error["code"]) == ("batch_error", "rate_limited")
    assert error["retryable"] is False
    assert (await wire.ask("generate", prompt="x", options=ONE))["type"] == "generation_complete"


async def test_what_is_refused_is_not_charged(start_server: StartServer, connect: Connect) -> None:
    """Only accepted requests count."""
    limited = start_server("--set", "limits.requests_per_minute=1")
    wire = await connect(to=limited)
    for fields in ({"prompt": ""}, {"prompt": "x", "model": "none"}, {"prompt": "x", "raw": 1}):
        assert (await wire.ask("generate", **fields))["code"] != "rate_limited"
    assert (await wire.ask("generate", prompt="x", options=ONE))["type"] == "generation_complete"


async def test_tokens_a_minute(start_server: StartServer, connect: Connect) -> None:
    """Prompt and answer are charged as they were used; the next request waits for the excess."""
    limited = start_server("--set", "limits.tokens_per_minute=30")
    wire = await connect(to=limited)
    await wire.ask("generate", prompt="one two", options={"maxTokens": 8})
    status = (await wire.ask("get_status"))["limits"]
    assert (status["tokensLimit"], status["tokensRemaining"]) == (30, 20)
    await wire.ask("generate", prompt="one two", options={"maxTokens": 40})
    error = await wire.ask("generate", prompt="x")
    assert error["code"] == "rate_limited"
    assert error["retryAfter"] > 20_000


async def test_streams_at_once(start_server: StartServer, connect: Connect) -> None:
    """Beyond the places of an identity: `too_many_streams`, until one ends."""
    limited = start_server("--set", "limits.max_concurrent_streams=2")
    wire = await connect(to=limited)
    starts = [await wire.stream(options={"maxTokens": 100_000}) for _ in range(2)]
    for kind, error_type in (("stream", "stream_error"), ("generate", "generation_error")):
        error = await wire.ask(kind, prompt="x")
        assert (error["type"], error["code"]) == (error_type, "too_many_streams")
        assert error["retryable"] is True
    await wire.send(type="stop_stream", streamId=starts[0]["streamId"])
    await wire.end_of(starts[0]["streamId"])
    await wire.stream(options=ONE)


async def test_a_full_queue(start_server: StartServer, connect: Connect) -> None:
    """Past the bound of a model's queue: `overloaded`, at once."""
    small = start_server(
        "--model", "synthetic:?tps=10&slots=1", "--set", "limits.queue_per_model=2"
    )
    wire = await connect(to=small)
    running = await wire.stream(options={"maxTokens": 100_000})
    await wire.first_token(running["streamId"])
    for _ in range(2):
        await wire.stream()
    error = await wire.ask("stream", prompt="one too many")
    assert (error["type"], error["code"]) == ("stream_error", "overloaded")
    assert error["retryAfter"] > 0
    assert (await wire.ask("get_status"))["limits"]["streamsRemaining"] == 61
    await wire.ask("interrupt")


async def flood(wire: Wire, count: int) -> None:
    """Send pings in one write of the socket, so that the server reads them together."""
    frames = b""
    for number in range(count):
        payload = b'{"type":"ping","requestId":"f%d"}' % number
        wire.rules.sent_ids.add(f"f{number}")
        # RFC 6455 §5.2: FIN and text, masked, with a mask of zeros.
        frames += struct.pack("!BBI", 0x81, 0x80 | len(payload), 0) + payload
    wire.socket.transport.write(frames)


async def test_a_flood_of_frames_is_refused_not_cut(
    server: ServerProcess, connect: Connect
) -> None:
    """Past the burst each frame gets `rate_limited` under its id; the connection lives."""
    wire = await connect()
    await flood(wire, 600)
    while len(wire.of_type("pong", "error")) < 600:
        frame = await wire.receive()
        assert frame["type"] in ("pong", "error")
    errors = wire.of_type("error")
    assert {error["code"] for error in errors} == {"rate_limited"}
    assert all(error["retryAfter"] > 0 for error in errors)
    assert 300 <= len(errors) <= 400
    assert wire.close_code is None


async def test_a_stop_is_read_in_a_flood(connect: Connect) -> None:
    """Who sends too much can still stop what runs."""
    wire = await connect()
    start = await wire.stream(options={"maxTokens": 100_000})
    await flood(wire, 400)
    await wire.send(type="stop_stream", streamId=start["streamId"])
    assert (await wire.end_of(start["streamId"]))["type"] == "stream_stopped"


async def test_ten_times_the_frames_are_abuse(connect: Connect) -> None:
    """Far over the limit the connection is closed with 4506."""
    wire = await connect()
    await flood(wire, 4000)
    assert await wire.closed() == 4506


@pytest.mark.parametrize(
    "data",
    [
        "",
        "x",
        "[]",
        "5",
        "null",
        '"text"',
        "{",
        '{"type": "ping"',
        "\x00",
        "[" * 2000,
        '{"type": NaN}',
        b"",
        b"\x80",
        b"\xc1",
        b"\x93\x01\x02",
        b"\x81\xc4\x01a\x01",
        b"\x81\x01\x02",
        b"\xff\xfe",
        b"\x82\xa4type\xa4ping\xa1x\xd6\xff\x00\x00\x00\x00",
        b'{"type":"ping","requestId":"\xff"}',
        b'{"type":"ping","requestId":"\\ud800"}',
    ],
)
async def test_what_is_no_message_is_answered(wire: Wire, data: str | bytes) -> None:
    """Undecodable frames and frames that are no map: `invalid_message`, no more."""
    await wire.send_raw(data)
    error = await wire.until("error")
    assert error["code"] == "invalid_message"
    assert "requestId" not in error
    assert (await wire.ask("ping"))["type"] == "pong"


async def test_twenty_unreadable_frames_close(connect: Connect) -> None:
    """Nineteen are forgiven, the twentieth closes with 1008."""
    wire = await connect()
    for _ in range(19):
        await wire.send_raw("no message")
        assert (await wire.until("error"))["code"] == "invalid_message"
    assert (await wire.ask("ping"))["type"] == "pong"
    await wire.send_raw("no message")
    assert await wire.closed() == 1008
    assert len(wire.of_type("error")) == 20


async def test_half_an_emoji_ends_its_request(wire: Wire) -> None:
    """A text that was cut within a surrogate pair: the request's own error names the field."""
    wire.rules.sent_ids.add("half")
    await wire.send_raw('{"type":"stream","requestId":"half","prompt":"cut \\ud83d"}')
    error = await wire.until("stream_error")
    assert (error["requestId"], error["code"]) == ("half", "invalid_message")
    assert [detail["field"] for detail in error["details"]] == ["prompt"]
    assert (await wire.ask("ping"))["type"] == "pong"


async def test_bad_messages_never_close(wire: Wire) -> None:
    """Thirty readable messages that are wrong: thirty errors, and the connection lives."""
    for _ in range(30):
        assert (await wire.ask("stream", prompt=5))["code"] == "invalid_parameters"
    assert (await wire.ask("ping"))["type"] == "pong"


async def test_a_frame_over_the_limit_closes(connect: Connect, wire: Wire) -> None:
    """A message of the whole size comes in, a larger one closes with 1009."""
    bound = wire.connected["limits"]["maxMessageBytes"]
    message = {"type": "count_tokens", "requestId": "big", "text": ""}
    message["text"] = "x" * (bound - len(wire.encode(message)))
    assert len(wire.encode(message)) == bound
    await wire.send(**message)
    assert (await wire.until("token_count"))["tokens"] == 1
    with contextlib.suppress(ConnectionClosed):
        await wire.send_raw("x" * (bound + 1))
    assert await wire.closed() == 1009
    other = await connect()
    assert (await other.ask("ping"))["type"] == "pong"


async def test_a_smaller_message_limit(start_server: StartServer, connect: Connect) -> None:
    """The limit is the configuration's, and told."""
    small = start_server("--set", "limits.max_message_bytes=2048")
    wire = await connect(to=small)
    assert wire.connected["limits"]["maxMessageBytes"] == 2048
    with contextlib.suppress(ConnectionClosed):
        await wire.send(type="ping", padding="x" * 4096)
    assert await wire.closed() == 1009


async def test_broken_frames_close_and_harm_nobody(server: ServerProcess, wire: Wire) -> None:
    """Bytes that are no WebSocket frame end their connection only."""
    address = urlsplit(server.url)
    for junk in (
        b"\x00" * 64,
        b"\xff" * 64,
        b"\x81\x05hello",
        b"\x88\x80",
        b"\x81\x7f" + b"\xff" * 8,
    ):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(junk)
        if writer.can_write_eof():
            writer.write_eof()
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    assert (await wire.ask("ping"))["type"] == "pong"


async def test_sockets_that_say_nothing_harm_nobody(server: ServerProcess, wire: Wire) -> None:
    """Connections without a handshake do not keep others out."""
    address = urlsplit(server.url)
    assert address.hostname is not None
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(socket.create_connection((address.hostname, address.port)))
        assert (await wire.ask("ping"))["type"] == "pong"
        assert server.get("/healthz")[0] == 200
