"""What the server adds to an engine: the same answers through it and without it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
from websockets.asyncio.client import connect

from scripts.bench.harness import wsserver
from scripts.bench.recovery import read_until, send
from wsserver.config.models import demo_model
from wsserver.core.engine import EngineJob, Finished, ModelSpec, Output, Sampling
from wsserver.engines.host import create_host

STREAMS, TOKENS, ROUNDS = 8, 400, 3
SETTINGS = {"slots": STREAMS, "ctx": 1024}
PROMPT = "Count to one hundred"
NO_END = {"2": -100.0}  # the model's end mark: every answer is as long as it may be


def through() -> dict[str, Any]:
    """Tokens a second of 8 streams of the demo model: through the server, and the engine alone.

    Alone is the same child process driven by its host, with nothing in front. In turn, three
    rounds; the ratio of the medians.
    """
    alone, served = [], []
    for _ in range(ROUNDS):
        alone.append(asyncio.run(_alone()))
        settings = [f"--set=models.engines.llamacpp.{k}={v}" for k, v in SETTINGS.items()]
        with wsserver("--model", f"demo={demo_model().source}", *settings) as server:
            served.append(asyncio.run(_served(server.url)))
    alone.sort()
    served.sort()
    return {
        "streams": STREAMS,
        "tokens_each": TOKENS,
        "engine_alone_tokens_per_second": round(alone[1]),
        "through_the_server_tokens_per_second": round(served[1]),
        "ratio": round(served[1] / alone[1], 3),
    }


async def _alone() -> float:
    ended = asyncio.Event()
    state = {"tokens": 0, "running": STREAMS}

    def take(outputs: Any) -> None:
        output: Output
        for output in outputs:
            if isinstance(output, Finished):
                state["running"] -= 1
                if not state["running"]:
                    ended.set()
            else:
                state["tokens"] += getattr(output, "tokens", 0)

    spec = ModelSpec(
        id="demo", engine="llamacpp", source="demo", path=demo_model().source, settings=SETTINGS
    )
    host = create_host(spec, take, lambda died: ended.set())
    await host.load(lambda progress: None)
    began = time.perf_counter()
    for number in range(STREAMS):
        host.start(
            EngineJob(
                job_id=str(number),
                raw=PROMPT,
                max_tokens=TOKENS,
                sampling=Sampling(logit_bias=NO_END),
            )
        )
    await ended.wait()
    elapsed = time.perf_counter() - began
    await host.close()
    return state["tokens"] / elapsed


async def _served(url: str) -> float:
    async with connect(url, compression=None, max_queue=None) as socket:
        await read_until(socket, "connected")
        began = time.perf_counter()
        options = {"maxTokens": TOKENS, "progressEvery": 0, "logitBias": NO_END}
        for number in range(STREAMS):
            ask = {"type": "stream", "requestId": str(number), "prompt": PROMPT, "raw": True}
            await send(socket, **ask, options=options)
        tokens = running = 0
        running = STREAMS
        while running:
            frame = orjson.loads(await socket.recv(decode=False))
            if frame["type"] == "stream_complete":
                tokens += frame["usage"]["completionTokens"]
                running -= 1
        return tokens / (time.perf_counter() - began)
