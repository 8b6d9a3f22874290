"""Peers that are gone, silent or slow: noticed, cut, and no burden to anyone else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from tests.conftest import Connect, StartServer
from tests.integration.test_generating import counted
from tests.support.server import ServerProcess
from tests.support.waiting import eventually
from tests.support.wire import Frame, Wire

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@contextlib.asynccontextmanager
async def silent_socket(server: ServerProcess) -> AsyncIterator[socket.socket]:
    """A WebSocket whose owner neither reads nor answers pings after the handshake."""
    address = urlsplit(server.url)
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(sock, (address.hostname, address.port))
        await loop.sock_sendall(sock, HANDSHAKE)
        assert b" 101 " in await loop.sock_recv(sock, 4096)
        yield sock


async def send_message(sock: socket.socket, **fields: object) -> None:
    """Send a message in one masked text frame."""
    payload = json.dumps(fields).encode()
    assert len(payload) < 126
    head = bytes((0x81, 0x80 | len(payload), 0, 0, 0, 0))
    await asyncio.get_running_loop().sock_sendall(sock, head + payload)


async def rest_of(sock: socket.socket) -> bytes:
    """All that comes until the peer hangs up; also what a reset ends."""
    loop = asyncio.get_running_loop()
    data = b""
    with contextlib.suppress(ConnectionError):
        while chunk := await loop.sock_recv(sock, 65536):
            data += chunk
    return data


def closed_with(server: ServerProcess, code: int) -> bool:
    """Whether the server counts a connection closed with this code."""
    line = f'wsserver_closes_total{{code="{code}"}} 1.0'
    return line.encode() in server.get("/metrics")[2]


async def test_a_peer_without_pongs_is_closed(start_server: StartServer, connect: Connect) -> None:
    """No sign within interval and timeout: close 4002, legible to a silent reader; others stay."""
    server = start_server(
        "--set", "server.ping_interval_seconds=1", "--set", "server.ping_timeout_seconds=1"
    )
    wire = await connect(to=server)
    assert wire.connected["heartbeatInterval"] == 1000
    async with silent_socket(server) as sock:
        await eventually(lambda: closed_with(server, 4002), seconds=15)
        async with asyncio.timeout(10):
            data = await rest_of(sock)
    assert b"\x89\x00" in data
    assert (4002).to_bytes(2, "big") in data
    assert (await wire.ask("ping"))["type"] == "pong"


async def test_a_peer_that_stopped_reading_is_cut(
    start_server: StartServer, connect: Connect
) -> None:
    """A blocked send ends with 4001; meanwhile nobody waits and memory stays flat."""
    server = start_server(
        *("--model", "flat=synthetic:?tps=0&ttft_ms=0"),
        *("--set", "server.send_timeout_seconds=2", "--set", "server.ping_interval_seconds=60"),
    )
    wire = await connect(to=server)
    await wire.ask("generate", prompt="warm up", options={"maxTokens": 50_000})
    before = server.rss()
    async with silent_socket(server) as sock:
        for _ in range(3):
            await send_message(
                sock, type="stream", prompt="x", options={"maxTokens": 200_000, "tokenInterval": 0}
            )
        while not closed_with(server, 4001):
            start = await wire.stream(options={"maxTokens": 50})
            assert (await wire.end_of(start["streamId"]))["totalTokens"] == 50
            # The answers themselves are kept (some 3 MB each, and as much in token marks), the
            # frames that nobody reads are not.
            assert server.rss() - before < 64 * 1024 * 1024
            await asyncio.sleep(0.05)  # between two looks, so that the server gets on
        async with asyncio.timeout(15):
            await rest_of(sock)


async def test_a_slow_reader_gets_it_all_in_longer_pieces(connect: Connect) -> None:
    """Who stops reading for a moment loses nothing: the pieces are longer, the bytes the same."""
    wire = await connect()
    start = await wire.stream(
        model="flat", options={"maxTokens": 40_000, "tokenInterval": 0, "progressEvery": 0}
    )
    await wire.first_token(start["streamId"])
    wire.pause_reading()
    other = await connect()
    for _ in range(5):
        await other.ask("generate", prompt="x", options={"maxTokens": 20})
    wire.resume_reading()
    end = await wire.end_of(start["streamId"], seconds=30)
    assert wire.copy(start["streamId"]).text == counted(40_000)
    assert end["totalTokens"] == 40_000


@pytest.mark.parametrize("how", ["cancel", "detach", None])
async def test_what_becomes_of_work_when_its_asker_is_cut(
    start_server: StartServer, connect: Connect, how: str | None
) -> None:
    """`cancel` stops at once, `detach` runs to its end, else the window decides."""
    server = start_server("--set", "resume.window_seconds=0.5")
    wire, watcher = await connect(to=server), await connect(to=server)
    for device in (wire, watcher):
        await device.ask("authenticate", userId="cut")
    options = {"maxTokens": 300, "tokenInterval": 0} | (
        {} if how is None else {"onDisconnect": how}
    )
    start = await wire.stream(options=options)
    await wire.send(type="generate", prompt="x", requestId="g", options=options)
    await wire.send(type="batch", prompts=["a", "b"], requestId="b", options=options)
    await wire.until("batch_start")
    await wire.cut()
    await eventually(
        lambda: b'wsserver_streams_active{model="synthetic"} 0.0' in server.get("/metrics")[2]
    )
    await watcher.ask("watch_stream", streamId=start["streamId"])
    end = await watcher.end_of(start["streamId"])
    batch: Frame = {"prompts": ["a", "b"], "requestId": "b", "options": options}
    await watcher.send(type="generate", prompt="x", requestId="g", options=options)
    await watcher.send(type="batch", **batch)
    both = [await watcher.until("generation_complete", "batch_complete") for _ in range(2)]
    (generated,) = [end for end in both if end["type"] == "generation_complete"]
    (summary,) = [end["summary"] for end in both if end["type"] == "batch_complete"]
    if how == "detach":
        assert (end["type"], end["totalTokens"]) == ("stream_complete", 300)
        assert generated["result"]["tokens"] == 300
        assert summary["successful"] == 2
    else:
        assert (end["type"], end["reason"]) == ("stream_stopped", "disconnect")
        assert end["totalTokens"] < 300
        assert generated["result"]["finishReason"] == "stopped"
        assert summary["cancelled"] == 2


async def test_work_goes_on_while_someone_watches(
    start_server: StartServer, connect: Connect
) -> None:
    """A watcher keeps an answer alive beyond its asker's window; when it goes, so does the work."""
    server = start_server("--set", "resume.window_seconds=0")
    for leave in ("unwatch", "cut"):
        asker, watcher, other = [await connect(to=server) for _ in range(3)]
        for device in (asker, watcher, other):
            await device.ask("authenticate", userId=f"watched-{leave}")
        start = await asker.stream(options={"maxTokens": 100_000, "onDisconnect": "cancel"})
        await watcher.ask("watch_stream", streamId=start["streamId"])
        await asker.cut()
        for _ in range(5):
            await watcher.first_token(start["streamId"])
        if leave == "unwatch":
            await watcher.ask("unwatch_stream", streamId=start["streamId"])
        else:
            await watcher.cut()
        await eventually(
            lambda: b'wsserver_streams_active{model="synthetic"} 0.0' in server.get("/metrics")[2]
        )
        await other.ask("watch_stream", streamId=start["streamId"])
        end = await other.end_of(start["streamId"])
        assert (end["type"], end["reason"]) == ("stream_stopped", "disconnect")


async def test_a_batch_goes_on_while_someone_follows(
    start_server: StartServer, connect: Connect
) -> None:
    """A batch repeated on another connection of its owner outlives its asker."""
    server = start_server("--set", "resume.window_seconds=0")
    one, two = await connect(to=server), await connect(to=server)
    for device in (one, two):
        await device.ask("authenticate", userId="batch-owner")
    body: Frame = {"prompts": ["a", "b"], "requestId": "b", "options": {"maxTokens": 100}}
    await one.ask("batch", **body)
    await two.send(type="batch", **body)
    await two.until("batch_start")
    await one.cut()
    summary = (await two.until("batch_complete"))["summary"]
    assert summary["successful"] == 2


async def test_a_client_that_closes_in_order_is_answered(wire: Wire) -> None:
    """A closing handshake is completed with the client's own code."""
    await wire.socket.close(1000)
    assert await wire.closed() == 1000
