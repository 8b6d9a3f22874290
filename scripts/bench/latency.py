"""First tokens, stops, and paced delivery: what a person feels."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect

from scripts.bench.harness import Running, quantiles, wsserver


async def _until(socket: ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        frame: dict[str, Any] = orjson.loads(await socket.recv(decode=False))
        if frame["type"] == kind:
            return frame
        if frame["type"].endswith("_error") or frame["type"] == "error":
            raise RuntimeError(frame)


def first_token() -> dict[str, Any]:
    """From the request's last byte to the first token's first, unloaded.

    The engine is `synthetic:` with no delay of its own, so that all of it is ours: gateway,
    runner, both ways over the engine link, and the loopback round trip. The baseline is the
    server's own `ping`, which crosses the same sockets and does nothing.
    """
    with wsserver("--model", "synthetic:?tps=0&ttft_ms=0") as server:
        return asyncio.run(_first_tokens(server, 1000))


async def _first_tokens(server: Running, times: int) -> dict[str, Any]:
    pings, tokens = [], []
    async with connect(server.url, compression=None) as socket:
        await _until(socket, "connected")
        for number in range(times):
            start = time.perf_counter()
            await socket.send(orjson.dumps({"type": "ping"}), text=True)
            await _until(socket, "pong")
            pings.append((time.perf_counter() - start) * 1000)
            ask = {"type": "stream", "requestId": str(number), "prompt": "x"}
            start = time.perf_counter()
            await socket.send(orjson.dumps({**ask, "options": {"maxTokens": 1}}), text=True)
            await _until(socket, "stream_token")
            tokens.append((time.perf_counter() - start) * 1000)
            await _until(socket, "stream_complete")
            await asyncio.sleep(0.05)  # the frame limit is 50 a second
    return {
        "requests": times,
        "first_token": quantiles(tokens),
        "ping_baseline": quantiles(pings),
        "beyond_the_baseline_p50_ms": round(
            statistics.median(tokens) - statistics.median(pings), 3
        ),
    }


def stop() -> dict[str, Any]:
    """From `stop_stream` to the waiting request's first token, with one slot.

    On `synthetic:` at 50 tokens a second (a step every 20 ms) and in a long prefill.
    """
    figures = {}
    for name, source in (
        ("decoding", "synthetic:?slots=1&tps=50&ttft_ms=0"),
        ("prefilling", "synthetic:?slots=1&tps=50&ttft_ms=0&prefill_tps=100"),
    ):
        with wsserver("--model", source) as server:
            figures[name] = asyncio.run(_stops(server, name == "prefilling", 100))
    return figures


async def _stops(server: Running, prefilling: bool, times: int) -> dict[str, Any]:
    waits = []
    long_prompt = "word " * (100_000 if prefilling else 1)
    async with connect(server.url, compression=None) as socket:
        await _until(socket, "connected")
        for number in range(times):
            ask = {"type": "stream", "options": {"maxTokens": 30_000}}
            first = {**ask, "requestId": f"a{number}", "prompt": long_prompt}
            await socket.send(orjson.dumps(first), text=True)
            start = await _until(socket, "stream_start")
            if not prefilling:
                await _until(socket, "stream_token")
            second = {**ask, "requestId": f"b{number}", "prompt": "x"}
            second["options"] = {"maxTokens": 1}
            await socket.send(orjson.dumps(second), text=True)
            await _until(socket, "stream_start")  # it has the place in line
            began = time.perf_counter()
            stop_it = {"type": "stop_stream", "streamId": start["streamId"]}
            await socket.send(orjson.dumps(stop_it), text=True)
            while True:
                token = await _until(socket, "stream_token")
                if token["requestId"] == f"b{number}":
                    break
            waits.append((time.perf_counter() - began) * 1000)
            await _until(socket, "stream_complete")
            await asyncio.sleep(0.1)
    return {"stops": times, "stop_to_next_first_token": quantiles(waits)}


def paced() -> dict[str, Any]:
    """1,000 streams of 50 tokens a second on one gateway process: is all delivered, and when?

    980 of them are read by the counting client in its own process, 20 are looked at here: how long
    after a token was due did the piece that holds it come. Of that the interval (25 ms) is wanted.
    """
    limit = "limits.max_concurrent_streams=2000"
    with wsserver("--model", "synthetic:?tps=50&ttft_ms=0", "--set", limit) as server:
        return asyncio.run(_paced(server, 980, 20, 15.0))


async def _paced(server: Running, crowd: int, probes: int, seconds: float) -> dict[str, Any]:
    tokens = int(seconds * 50)
    options = {"maxTokens": tokens, "progressEvery": 0}
    ask = {"type": "stream", "requestId": "1", "prompt": "x", "options": options}
    counting = [sys.executable, "-m", "scripts.bench.counting_client", server.url, str(crowd)]
    counting += [str(seconds + 5), '"stream_complete"', orjson.dumps(ask).decode()]
    others = await asyncio.create_subprocess_exec(*counting, stdout=asyncio.subprocess.PIPE)
    assert others.stdout is not None
    await others.stdout.readline()  # all are open
    before, began = server.cpu_seconds(), time.perf_counter()
    lags: list[float] = []
    whole = sum(await asyncio.gather(*(_probe(server, ask, tokens, lags) for _ in range(probes))))
    share = (server.cpu_seconds() - before) / (time.perf_counter() - began)
    output, _ = await others.communicate()
    whole += orjson.loads(output.splitlines()[-1])["marks"]
    return {
        "streams": crowd + probes,
        "tokens_per_second_each": 50,
        "token_interval_ms": 25,
        "answers_whole": whole,
        "gateway_cpu_share": round(share, 3),
        "due_to_received": quantiles(lags),
    }


async def _probe(server: Running, ask: dict[str, Any], tokens: int, lags: list[float]) -> int:
    """One stream looked at piece by piece. 1 if it came whole."""
    async with connect(server.url, compression=None, max_queue=None) as socket:
        await socket.send(orjson.dumps(ask), text=True)
        first = 0.0
        count = 0
        while True:
            frame = orjson.loads(await socket.recv(decode=False))
            now = time.perf_counter()
            if frame["type"] == "stream_token":
                first = first or now
                due = first + (frame["position"] - frame["count"]) / 50
                lags.append(max(0.0, (now - due) * 1000))
                count += frame["count"]
            elif frame["type"] == "stream_complete":
                return int(count == tokens)
