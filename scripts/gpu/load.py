"""So many streams at once on a server, counted and timed in a process of their own.

``python -m scripts.gpu.load URL STREAMS TOKENS INTERVAL`` prints JSON. INTERVAL is the wire's
``tokenInterval`` in milliseconds: -1 leaves it to the server, 0 asks for a frame a token.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import orjson
import uvloop
from websockets.asyncio.client import connect

from scripts.bench.harness import quantiles
from scripts.bench.recovery import read_until, send


def prompts(streams: int, salt: str) -> list[str]:
    """About a hundred tokens each, different from the first: none is found in a cache of others."""
    words = "the server reads this prompt and then it writes an answer of full length " * 6
    return [f"{salt} {number}: {words}" for number in range(streams)]


async def measure(url: str, streams: int, tokens: int, interval: int, salt: str) -> dict[str, Any]:
    """Run the streams on one connection, all asked for at once."""
    options: dict[str, Any] = {"maxTokens": tokens, "temperature": 0, "cache": False}
    options |= {"progressEvery": 0} | ({"tokenInterval": interval} if interval >= 0 else {})
    firsts: list[float] = []
    gaps: list[float] = []
    last: dict[str, float] = {}
    async with connect(url, compression=None, max_queue=None) as socket:
        await read_until(socket, "connected")
        began = time.perf_counter()
        for number, prompt in enumerate(prompts(streams, salt)):
            ask = {"type": "stream", "requestId": str(number), "prompt": prompt, "raw": True}
            await send(socket, **ask, options=options)
        total = 0
        running = streams
        while running:
            frame = orjson.loads(await socket.recv(decode=False))
            now = time.perf_counter()
            if frame["type"] == "stream_token":
                name = frame["requestId"]
                if name in last:
                    gaps.append((now - last[name]) * 1000)
                else:
                    firsts.append((now - began) * 1000)
                last[name] = now
            elif frame["type"] == "stream_complete":
                total += frame["usage"]["completionTokens"]
                running -= 1
            elif frame["type"] in ("error", "stream_error"):
                raise RuntimeError(frame)
        elapsed = time.perf_counter() - began
    return {
        "tokens": total,
        "tokens_per_second": round(total / elapsed, 1),
        "first_token": quantiles(firsts),
        "between_frames": quantiles(gaps or [0.0]),
    }


if __name__ == "__main__":
    url, streams, tokens, interval, salt = sys.argv[1:]
    print(json.dumps(uvloop.run(measure(url, int(streams), int(tokens), int(interval), salt))))
