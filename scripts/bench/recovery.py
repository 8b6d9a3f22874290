"""What a dropped client and a stalled reader cost."""

from __future__ import annotations

import asyncio
import socket as sockets
import time
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect

from scripts.bench.harness import Running, quantiles, wsserver
from wsserver.core.ids import new_id

LIMIT = ("--set", "limits.max_concurrent_streams=20000")


async def read_until(socket: ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        frame: dict[str, Any] = orjson.loads(await socket.recv(decode=False))
        if frame["type"] == kind:
            return frame
        if frame["type"] in ("error", "stream_error"):
            raise RuntimeError(frame)


async def send(socket: ClientConnection, **fields: Any) -> None:
    await socket.send(orjson.dumps(fields), text=True)


async def introduced(socket: ClientConnection) -> None:
    """Be the same user on every connection, so that one may watch what another asked for."""
    await read_until(socket, "connected")
    await send(socket, type="authenticate", userId="bench")
    await read_until(socket, "authenticated")


async def ask(socket: ClientConnection, *, room_id: str | None = None, **options: Any) -> None:
    """Ask for an answer under a request id of its own: one used again is the same request."""
    fields = {"type": "stream", "requestId": new_id("req"), "prompt": "x"}
    if room_id is not None:
        fields["roomId"] = room_id
    await send(socket, **fields, options={"progressEvery": 0, **options})


def resume() -> dict[str, Any]:
    """From a cut to the resumed text: handshake, `resume`, `resumed`, the snapshot of the rest.

    One answer of 200 tokens a second is followed over 200 cuts without a close frame. Bytes that
    are sent again though the client had them are counted; the baseline is the time of a handshake
    and a `ping` alone.
    """
    with wsserver("--model", "synthetic:?tps=200&ttft_ms=0", *LIMIT) as server:
        return asyncio.run(_resume(server, 200))


async def _resume(server: Running, cuts: int) -> dict[str, Any]:
    latencies, baseline = [], []
    resent = gap = 0
    socket = await connect(server.url, compression=None)
    token = (await read_until(socket, "connected"))["resumeToken"]
    options = {"maxTokens": 1_000_000, "progressEvery": 0}
    await send(socket, type="stream", requestId="1", prompt="x", options=options)
    stream_id = (await read_until(socket, "stream_start"))["streamId"]
    have = 0
    for _ in range(cuts):
        for _ in range(3):
            have = (await read_until(socket, "stream_token"))["offset"]
        socket.transport.abort()
        began = time.perf_counter()
        socket = await connect(server.url, compression=None)
        await send(socket, type="resume", resumeToken=token, streams={stream_id: have})
        resumed = await read_until(socket, "resumed")
        snapshot = await read_until(socket, "stream_snapshot")
        latencies.append((time.perf_counter() - began) * 1000)
        token = resumed["resumeToken"]
        resent += max(0, have - snapshot["fromOffset"])
        gap += max(0, snapshot["fromOffset"] - have)
        have = snapshot["offset"]
        began = time.perf_counter()
        other = await connect(server.url, compression=None)
        await send(other, type="ping")
        await read_until(other, "pong")
        baseline.append((time.perf_counter() - began) * 1000)
        other.transport.abort()
    await send(socket, type="stop_stream", streamId=stream_id)
    await read_until(socket, "stream_stopped")
    return {
        "cuts": cuts,
        "cut_to_text": quantiles(latencies),
        "handshake_and_ping_baseline": quantiles(baseline),
        "bytes_sent_again": resent,
        "bytes_missing": gap,
    }


def stalled() -> dict[str, Any]:
    """Memory of the gateway per reader that stops reading a running answer.

    200 connections ask for a long answer at full speed and read nothing; their kernel buffers are
    made small. The growth holds one answer's text a connection, which any reader costs; it is
    measured with readers that read, and taken off.
    """
    with wsserver("--model", "synthetic:?tps=2000&ttft_ms=0", *LIMIT) as server:
        reading = asyncio.run(_grow(server, 200, is_reading=True))
    with wsserver("--model", "synthetic:?tps=2000&ttft_ms=0", *LIMIT) as server:
        stalled_bytes = asyncio.run(_grow(server, 200, is_reading=False))
    return {
        "connections": 200,
        "answer_bytes_each": "about 160 KiB at the end of the measurement",
        "kib_per_reader_that_reads": round(reading / 200 / 1024, 1),
        "kib_per_stalled_reader": round(stalled_bytes / 200 / 1024, 1),
        "kib_for_being_stalled": round((stalled_bytes - reading) / 200 / 1024, 1),
    }


async def _grow(server: Running, connections: int, *, is_reading: bool) -> int:
    before = server.resident_bytes()
    opened, readers = [], []
    options = {"maxTokens": 30_000, "progressEvery": 0, "onDisconnect": "cancel"}
    for _ in range(connections):
        raw = sockets.create_connection(
            ("127.0.0.1", int(server.url.rsplit(":", 1)[1].strip("/ws")))
        )
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        socket = await connect(server.url, sock=raw, compression=None, max_queue=1)
        await send(socket, type="stream", requestId="1", prompt="x", options=options)
        opened.append(socket)
        if is_reading:
            readers.append(asyncio.create_task(_drain(socket)))
    await asyncio.sleep(12)  # below the 15 s after which a reader that takes nothing is closed
    grown = server.resident_bytes() - before
    for task in readers:
        task.cancel()
    for socket in opened:
        socket.transport.abort()
    return grown


async def _drain(socket: ClientConnection) -> None:
    while True:
        await socket.recv(decode=False)
