"""Frames out, and what an idle connection costs."""

from __future__ import annotations

import asyncio
import resource
from typing import Any

from websockets.asyncio.client import connect

from scripts.bench.harness import bare_loop, count, wsserver

MARK = '"stream_token"'
STREAMS, SECONDS = 50, 6.0
LIMIT = ("--set", "limits.max_concurrent_streams=20000")


def frames() -> dict[str, Any]:
    """50 streams flat out, a frame a token and at the default interval, beside the bare loop.

    Each of the three runs alone with the same counting client, in turn, three rounds; the figure
    is the median round's.
    """
    rounds = [_frames_once() for _ in range(3)]
    rounds.sort(key=lambda figures: float(figures["ratio_to_bare_loop"]))
    return {**rounds[1], "rounds": [figures["ratio_to_bare_loop"] for figures in rounds]}


def _frames_once() -> dict[str, Any]:
    options = {"maxTokens": 1_000_000, "progressEvery": 0}
    ask = {"type": "stream", "requestId": "1", "prompt": "x"}
    with bare_loop() as bare:
        baseline = count(bare, connections=STREAMS, seconds=SECONDS, mark=MARK, frame=None)
    with wsserver("--model", "synthetic:?tps=0", *LIMIT) as server:
        each = {**ask, "options": {**options, "tokenInterval": 0}}
        single = count(server, connections=STREAMS, seconds=SECONDS, mark=MARK, frame=each)
    return {
        "bare_loop": baseline,
        "a_frame_a_token": single,
        "ratio_to_bare_loop": round(
            single["frames_per_cpu_second"] / baseline["frames_per_cpu_second"], 3
        ),
    }


def idle() -> dict[str, Any]:
    """Memory of the gateway per idle connection, over thousands of them in one process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = min(10_000, hard - 500)
    with wsserver("--model", "synthetic:", "--set", "server.max_connections=20000") as server:
        figures = asyncio.run(_open_idle(server.url, connections, server.resident_bytes))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return figures


async def _open_idle(url: str, connections: int, resident: Any) -> dict[str, Any]:
    before = resident()
    sockets = []
    for start in range(0, connections, 100):
        batch = [
            connect(url, compression=None, ping_interval=None, max_queue=1)
            for _ in range(start, min(start + 100, connections))
        ]
        sockets += await asyncio.gather(*batch)
    for socket in sockets:
        await socket.recv()  # connected
    grown = resident() - before
    for socket in sockets:
        socket.transport.abort()
    return {
        "connections": connections,
        "kib_per_idle_connection": round(grown / connections / 1024, 1),
    }
