"""A server with a model on the GPU, as its clients meet it: stops, a killed engine, an unload.

Knows nothing of GPUs: each check takes the address of a server, so that their own tests run against
the synthetic engine. A check returns its figures, and raises `CheckFailed` with a sentence.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect

from scripts.bench.harness import Running, quantiles
from scripts.bench.recovery import read_until, send
from wsserver.config.show import toml_value

ENDLESS = 1_000_000
FREED_SECONDS = 20.0
"""For the driver to take back the memory of a process that has ended."""
SLACK_MIB = 64


class CheckFailed(Exception):
    """What was promised does not hold; ``str(error)`` says what was seen."""


def write_config(path: Path, source: str, engine: str | None, settings: dict[str, Any]) -> None:
    """A server's settings with one model, "m", and no narrow limits."""
    entry = {"id": "m", "source": source, **({"engine": engine} if engine else {})}
    limits = {"max_concurrent_streams": 5000, "frames_per_second": 5000, "frames_burst": 5000}
    lines = ["[[models.model]]", *(f"{k} = {toml_value(v)}" for k, v in entry.items())]
    lines += ["[models.model.settings]", *(f"{k} = {toml_value(v)}" for k, v in settings.items())]
    lines += ["[limits]", *(f"{k} = {toml_value(v)}" for k, v in limits.items())]
    path.write_text("\n".join(lines) + "\n")


async def ask(socket: ClientConnection, name: str, prompt: str, limit: int) -> None:
    """Begin a greedy answer that is not served from the cache."""
    options = {"maxTokens": limit, "temperature": 0, "cache": False, "progressEvery": 0}
    await send(socket, type="stream", requestId=name, prompt=prompt, raw=True, options=options)


async def until(socket: ClientConnection, kind: str, name: str) -> dict[str, Any]:
    """The next message of a type for a request; others are passed over."""
    while True:
        frame = await read_until(socket, kind)
        if frame.get("requestId") == name:
            return frame


@asynccontextmanager
async def crowded(url: str, others: int) -> AsyncIterator[None]:
    """So many answers that run meanwhile, on a connection of their own."""
    async with connect(url, compression=None, max_queue=None) as socket:
        await read_until(socket, "connected")
        for number in range(others):
            await ask(socket, f"o{number}", f"{number}: go on", ENDLESS)
        for number in range(others):
            await until(socket, "stream_start", f"o{number}")
        await _all_write(socket, others)
        reading = asyncio.create_task(_drain(socket))
        try:
            yield
        finally:
            reading.cancel()
            await send(socket, type="interrupt")


async def _all_write(socket: ClientConnection, others: int) -> None:
    writing: set[str] = set()
    while len(writing) < others:
        writing.add((await read_until(socket, "stream_token"))["requestId"])


async def _drain(socket: ClientConnection) -> None:
    async for _ in socket:
        pass


async def stop_waiting(url: str, slots: int, times: int) -> dict[str, Any]:
    """Stops of requests that wait for a slot: answered at once, without a token.

    Raises:
        CheckFailed: If one had begun.
    """
    waits = []
    async with crowded(url, slots), connect(url, compression=None) as socket:
        for number in range(times):
            await ask(socket, f"w{number}", "wait", 100)
            start = await until(socket, "stream_start", f"w{number}")
            began = time.perf_counter()
            await send(socket, type="stop_stream", streamId=start["streamId"])
            stopped = await until(socket, "stream_stopped", f"w{number}")
            waits.append((time.perf_counter() - began) * 1000)
            if stopped["totalTokens"]:
                raise CheckFailed("a request that waited had tokens when it was stopped")
    return {"stops": times, "stop_to_stopped": quantiles(waits)}


async def stop_working(url: str, slots: int, prompt: str, times: int) -> dict[str, Any]:
    """From a stop to the next request's first token, with all other slots busy.

    With a long ``prompt`` the stop meets the prompt being read, with "" the answer being written.

    Raises:
        CheckFailed: If a long prompt was read before it could be stopped.
    """
    waits = []
    async with crowded(url, slots - 1), connect(url, compression=None) as socket:
        for number in range(times):
            # Each prompt is new from its first token, else it is not read but found in the cache.
            await ask(socket, f"a{number}", f"{number} {prompt}", ENDLESS)
            start = await until(socket, "stream_start", f"a{number}")
            if not prompt:
                await until(socket, "stream_token", f"a{number}")
            await ask(socket, f"b{number}", f"after {number}", 1)
            await until(socket, "stream_start", f"b{number}")
            began = time.perf_counter()
            await send(socket, type="stop_stream", streamId=start["streamId"])
            stopped, first = await _stopped_and_first(socket, f"a{number}", f"b{number}")
            waits.append((first - began) * 1000)
            if prompt and stopped["totalTokens"]:
                raise CheckFailed("the prompt was read before the stop came: it is too short here")
    return {"stops": times, "stop_to_next_first_token": quantiles(waits)}


async def _stopped_and_first(
    socket: ClientConnection, stopping: str, waiting: str
) -> tuple[dict[str, Any], float]:
    """The stopped one's end, and when the waiting one had its token; both in any order."""
    stopped, first, ended = None, 0.0, False
    while stopped is None or not ended:
        frame = orjson.loads(await socket.recv(decode=False))
        kind, name = frame["type"], frame.get("requestId")
        if kind == "stream_stopped" and name == stopping:
            stopped = frame
        elif kind == "stream_token" and name == waiting:
            first = time.perf_counter()
        elif kind == "stream_complete" and name == waiting:
            ended = True
        elif kind in ("error", "stream_error"):
            raise CheckFailed(str(frame))
    return stopped, first


async def failover(server: Running, tokens: int) -> dict[str, Any]:
    """An engine that gets a kill -9 midway through an answer: the answer comes to its end.

    Raises:
        CheckFailed: If text is missing, doubled, or the answer is short.
    """
    async with connect(server.url, compression=None, max_queue=None) as socket:
        await read_until(socket, "connected")
        await ask(socket, "f", "tell me all", tokens)
        have, longest, last, killed = 0, 0.0, time.perf_counter(), False
        while True:
            frame = orjson.loads(await socket.recv(decode=False))
            if frame["type"] == "stream_token":
                now = time.perf_counter()
                longest = max(longest, now - last) if killed else 0.0
                last = now
                if frame["offset"] - len(frame["token"].encode()) != have:
                    raise CheckFailed(f"a piece begins elsewhere than at {have}: {frame}")
                have = frame["offset"]
                if not killed and frame["position"] >= tokens // 4:
                    killed = True
                    for child in server.process.children():
                        os.kill(child.pid, signal.SIGKILL)
            elif frame["type"] == "stream_complete":
                break
            elif frame["type"] in ("error", "stream_error", "stream_rewind"):
                raise CheckFailed(str(frame))
    if frame["totalTokens"] != tokens or frame["offset"] != have:
        raise CheckFailed(f"the answer has {frame['totalTokens']} of {tokens} tokens: {frame}")
    return {"tokens": tokens, "longest_pause_ms": round(longest * 1000, 1)}


async def unload(url: str, used_mib: Callable[[], int], before_mib: int) -> dict[str, Any]:
    """The GPU's memory, loaded and after `unload_model`, against what was used before the server.

    Raises:
        CheckFailed: If it does not all come back.
    """
    loaded = used_mib()
    async with connect(url, compression=None) as socket:
        await send(socket, type="unload_model", id="m", force=True)
        await read_until(socket, "model_unloaded")
    ending = time.perf_counter() + FREED_SECONDS
    while (after := used_mib()) > before_mib + SLACK_MIB:
        if time.perf_counter() > ending:
            raise CheckFailed(f"{after - before_mib} MiB stay in use after the unload")
        await asyncio.sleep(0.2)
    return {"before_mib": before_mib, "loaded_mib": loaded, "after_mib": after}
