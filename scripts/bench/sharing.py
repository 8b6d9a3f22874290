"""Several callers, few slots: how evenly they are served, and what a dead engine costs."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect

from scripts.bench.harness import Running, quantiles, wsserver
from scripts.bench.recovery import read_until, send

LIMITS = ("--set", "limits.max_concurrent_streams=5000", "--set", "limits.frames_burst=5000")
SECONDS = 20.0

LOADS = {  # requests kept in flight, tokens of each answer, words of each prompt
    "many_short": (40, 20, 5),
    "many_long": (40, 400, 5),
    "long_prompts": (40, 50, 500),
    "steady": (8, 100, 20),
}


def fairness() -> dict[str, Any]:
    """Jain's index over the weighted tokens of four very different callers on four slots.

    All have work waiting all the time. 1.0 is perfectly even; the baseline is what first come,
    first served would give them, from the same loads: in proportion to what they ask for.
    """
    source = "synthetic:?slots=4&tps=400&ttft_ms=0&prefill_tps=20000"
    with wsserver("--model", source, *LIMITS) as server:
        used = asyncio.run(_mixed(server))
    asked = {name: n * (2 * tokens + words) for name, (n, tokens, words) in LOADS.items()}
    return {
        "loads": {
            name: dict(zip(("in_flight", "answer", "prompt"), load, strict=True))
            for name, load in LOADS.items()
        },
        "seconds": SECONDS,
        "weighted_tokens": used,
        "jain_index": _jain(list(used.values())),
        "jain_index_first_come_first_served": _jain([float(v) for v in asked.values()]),
    }


async def _mixed(server: Running) -> dict[str, float]:
    used: Counter[str] = Counter()
    ending = time.perf_counter() + SECONDS

    async def caller(name: str, in_flight: int, tokens: int, words: int) -> None:
        async with connect(server.url, compression=None, max_queue=None) as socket:
            await send(socket, type="authenticate", userId=name)
            options = {"maxTokens": tokens, "progressEvery": 0, "tokenInterval": 1000}
            ask = {"type": "stream", "prompt": "word " * words, "options": options}
            for _ in range(in_flight):
                await send(socket, **ask)
            while (left := ending - time.perf_counter()) > 0:
                try:
                    async with asyncio.timeout(left):
                        frame = orjson.loads(await socket.recv(decode=False))
                except TimeoutError:
                    break
                if frame["type"] == "stream_token":
                    used[name] += 2 * frame["count"]
                elif frame["type"] == "stream_complete":
                    used[name] += frame["usage"]["promptTokens"]
                    await send(socket, **ask)

    await asyncio.gather(*(caller(name, *load) for name, load in LOADS.items()))
    return {name: float(used[name]) for name in LOADS}


def _jain(shares: list[float]) -> float:
    """(Σx)² / (n·Σx²): Jain, Chiu, Hawe, DEC-TR-301, 1984."""
    return round(sum(shares) ** 2 / (len(shares) * sum(x * x for x in shares)), 4)


def failover() -> dict[str, Any]:
    """The longest pause between two tokens of an answer whose engine got a kill -9 midway.

    With one replica a new child must start and load; with two the other one takes over. The
    engine is `synthetic:`, whose load is only the start of a Python process.
    """
    return {
        "one_replica": asyncio.run(_killed(1, 20)),
        "two_replicas": asyncio.run(_killed(2, 20)),
    }


async def _killed(replicas: int, times: int) -> dict[str, Any]:
    pauses, whole = [], 0
    with wsserver("--model", "synthetic:", *LIMITS) as server:
        own = {child.pid for child in server.process.children()}
        async with connect(server.url, compression=None) as socket:
            load = {"source": "synthetic:?tps=500&ttft_ms=0&slots=4", "id": "m"}
            await send(socket, type="load_model", **load, options={"replicas": replicas})
            await read_until(socket, "model_loaded")
            options = {"maxTokens": 500, "progressEvery": 0, "tokenInterval": 0}
            for number in range(times):
                ask = {"type": "stream", "requestId": f"r{number}", "prompt": "x", "model": "m"}
                await send(socket, **ask, options=options)
                text, last, pause, before = "", 0.0, 0.0, _spent(server)
                while True:
                    frame = orjson.loads(await socket.recv(decode=False))
                    if frame["type"] == "stream_token":
                        now = time.perf_counter()
                        if frame["position"] > 100:
                            pause = max(pause, now - last)
                        text, last = text + frame["token"], now
                        if frame["position"] == 100:
                            os.kill(_busiest(server, own, before), signal.SIGKILL)
                    elif frame["type"] in ("stream_complete", "stream_error"):
                        break
                pauses.append(pause * 1000)
                await _all_back(socket, replicas)
                whole += text == "".join(f"{n} " for n in range(1, 501))
    return {"kills": times, "answers_whole": whole, "longest_pause": quantiles(pauses)}


async def _all_back(socket: ClientConnection, replicas: int) -> None:
    """Wait until every replica answers again, and have each end an answer.

    Each kill is to meet a whole pool in which no replica counts as one that only dies.
    """
    while True:
        await send(socket, type="models")
        (model,) = [
            m for m in (await read_until(socket, "models_list"))["models"] if m["id"] == "m"
        ]
        if model["replicas"] == replicas:
            break
        await asyncio.sleep(0.05)
    for _ in range(4 * replicas):
        await send(socket, type="generate", prompt="x", model="m", options={"maxTokens": 100})
    for _ in range(4 * replicas):
        await read_until(socket, "generation_complete")


def _spent(server: Running) -> dict[int, float]:
    """Processor seconds of each child so far."""
    return {child.pid: sum(child.cpu_times()[:2]) for child in server.process.children()}


def _busiest(server: Running, besides: set[int], before: dict[int, float]) -> int:
    """The engine that has worked most since ``before``: the one with the answer."""
    since = {pid: spent - before.get(pid, 0.0) for pid, spent in _spent(server).items()}
    return max(since.keys() - besides, key=lambda pid: since[pid])
