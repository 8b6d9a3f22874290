"""What an answer costs that goes from a worker to a gateway by way of Redis."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import Any

import orjson
from websockets.asyncio.client import connect

from scripts.bench.fleet import Counts, Fleet, cpu_seconds, running_fleet
from scripts.bench.harness import Running, quantiles, wsserver
from scripts.bench.recovery import ask, introduced, read_until, send

TOKENS, RATE, MANY = 1000, 60, 50
FIRST_TOKENS = 200
SOURCE = f"synthetic:?tps={RATE}&ttft_ms=0&slots=64"
IDLE_SECONDS = 5.0
SEEN_SECONDS = 6.0
"""After which each step that comes by itself has come once: its first call carries its text."""

LIMIT = ("--set", "limits.max_concurrent_streams=20000")


def redis() -> dict[str, Any]:
    """A 1,000-token answer at 60 tokens a second: calls and bytes of Redis, processor, delay.

    One answer alone and 50 at once, over one gateway and one worker, each a process of its own;
    and the same over one embedded server. What the fleet does without answers is taken off. Then
    50 answers are watched at a second gateway besides: what one more gateway costs. The
    steps are counted in a run of their own, because counting them is dear.
    """
    with wsserver("--model", f"m={SOURCE}", *LIMIT) as server:
        embedded = asyncio.run(_embedded(server))
    with running_fleet() as fleet:
        fleet.gateway()
        fleet.worker(SOURCE)
        fleet.ready()
        figures = asyncio.run(_over_redis(fleet))
        fleet.gateway()
        fleet.ready()
        figures["watched_at_a_second_gateway"] = asyncio.run(_watched(fleet))
    for name in ("alone", "many"):
        here, there = figures[name], embedded[name]
        added = here["gateway_and_worker_cpu_us_per_token"] - there["cpu_us_per_token"]
        here["cpu_us_per_token_added"] = round(added, 1)
        per_flush = added * TOKENS / here["script_calls_per_answer"]
        here["cpu_us_per_flush_added"] = round(per_flush, 1)
    return {
        "answer": {"tokens": TOKENS, "tokens_per_second": RATE},
        "embedded": embedded,
        "over_redis": figures,
    }


async def _embedded(server: Running) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    idle = await _idle_cpu([server])
    for name, answers in (("alone", 1), ("many", MANY)):
        before, began = server.cpu_seconds(), time.perf_counter()
        lags, _ = await _answers([server.url], answers)
        spent = server.cpu_seconds() - before - idle * (time.perf_counter() - began)
        figures[name] = {
            "answers": answers,
            "cpu_us_per_token": _per_token(spent, answers),
            "due_to_received": quantiles(lags),
        }
    figures["first_token"] = quantiles(await _first_tokens(server.url))
    return figures


async def _over_redis(fleet: Fleet) -> dict[str, Any]:
    gateways, workers = fleet.gateways, fleet.workers
    urls = [gateway.url for gateway in gateways]
    await _answers(urls, 1, tokens=30)
    await asyncio.sleep(SEEN_SECONDS)
    idle = await _idle(fleet)
    figures: dict[str, Any] = {"idle_per_second": _rates(idle)}
    for name, answers in (("alone", 1), ("many", MANY)):
        before, spent = fleet.counts(), [cpu_seconds(gateways), cpu_seconds(workers)]
        lags, ids = await _answers(urls, answers)
        after = fleet.counts()
        spent = [cpu_seconds(gateways) - spent[0], cpu_seconds(workers) - spent[1]]
        seconds = after.at - before.at
        cost = _cost(before, after, idle, answers)
        spent = [max(0.0, s - i * seconds) for s, i in zip(spent, idle["cpu"], strict=True)]
        kept = [fleet.kept_bytes(stream_id) for stream_id in ids]
        figures[name] = {
            "answers": answers,
            **cost,
            "redis_bytes_kept_per_answer": round(statistics.mean(kept)),
            "gateway_cpu_us_per_token": _per_token(spent[0], answers),
            "worker_cpu_us_per_token": _per_token(spent[1], answers),
            "gateway_and_worker_cpu_us_per_token": _per_token(sum(spent), answers),
            "due_to_received": quantiles(lags),
        }
    figures["first_token"] = quantiles(await _first_tokens(urls[0]))
    with fleet.steps() as steps:
        await _answers(urls, 1)
    figures["steps_of_one_answer"] = dict(steps.most_common())
    return figures


async def _watched(fleet: Fleet) -> dict[str, Any]:
    """Each answer is read at both gateways: asked for at one, attached to at the other."""
    await asyncio.sleep(SEEN_SECONDS)
    idle = await _idle(fleet)
    before = fleet.counts()
    urls = [gateway.url for gateway in fleet.gateways]
    await _answers(urls[:1], MANY, watched_at=urls[1])
    return {"answers": MANY, **_cost(before, fleet.counts(), idle, MANY)}


async def _answers(
    urls: Sequence[str], answers: int, *, tokens: int = TOKENS, watched_at: str | None = None
) -> tuple[list[float], list[str]]:
    """Have answers made at once and read to their ends; the delays of their pieces, their ids."""
    lags: list[float] = []
    readers = [
        _answer(urls[number % len(urls)], tokens, lags, watched_at) for number in range(answers)
    ]
    return lags, await asyncio.gather(*readers)


async def _answer(url: str, tokens: int, lags: list[float], watched_at: str | None) -> str:
    """One answer, looked at piece by piece; it must come whole."""
    async with connect(url, compression=None, max_queue=None) as socket:
        await introduced(socket)
        await ask(socket, maxTokens=tokens, tokenInterval=0)
        stream_id: str = (await read_until(socket, "stream_start"))["streamId"]
        watching = _watch(watched_at, stream_id) if watched_at else asyncio.sleep(0)
        other = asyncio.create_task(watching)
        first, count = 0.0, 0
        while True:
            frame = orjson.loads(await socket.recv(decode=False))
            now = time.perf_counter()
            if frame["type"] == "stream_token":
                first = first or now
                due = first + (frame["position"] - 1) / RATE
                lags.append((now - due) * 1000)
                count += frame["count"]
            elif frame["type"] == "stream_complete":
                break
        if count != tokens:
            raise RuntimeError(f"{count} of {tokens} tokens came")
        await other
        return stream_id


async def _watch(url: str, stream_id: str) -> None:
    async with connect(url, compression=None, max_queue=None) as socket:
        await introduced(socket)
        await send(socket, type="watch_stream", requestId="1", streamId=stream_id)
        await read_until(socket, "stream_complete")


async def _first_tokens(url: str) -> list[float]:
    """From the request's last byte to the first token's first, one at a time."""
    times = []
    async with connect(url, compression=None) as socket:
        await read_until(socket, "connected")
        for _ in range(FIRST_TOKENS):
            began = time.perf_counter()
            await ask(socket, maxTokens=1)
            await read_until(socket, "stream_token")
            times.append((time.perf_counter() - began) * 1000)
            await read_until(socket, "stream_complete")
            await asyncio.sleep(0.05)  # the frame limit is 50 a second
    return times


async def _idle(fleet: Fleet) -> dict[str, Any]:
    """What the fleet does when there is nothing to do, a second."""
    before = fleet.counts()
    cpu = [cpu_seconds(fleet.gateways), cpu_seconds(fleet.workers)]
    await asyncio.sleep(IDLE_SECONDS)
    after = fleet.counts()
    seconds = after.at - before.at
    cpu = [cpu_seconds(fleet.gateways) - cpu[0], cpu_seconds(fleet.workers) - cpu[1]]
    return {
        "calls": (after.calls - before.calls) / seconds,
        "scripts": (after.scripts - before.scripts) / seconds,
        "bytes_in": (after.bytes_in - before.bytes_in) / seconds,
        "bytes_out": (after.bytes_out - before.bytes_out) / seconds,
        "redis_cpu": (after.cpu - before.cpu) / seconds,
        "cpu": [each / seconds for each in cpu],
    }


async def _idle_cpu(members: Sequence[Running]) -> float:
    before = cpu_seconds(members)
    await asyncio.sleep(IDLE_SECONDS)
    return (cpu_seconds(members) - before) / IDLE_SECONDS


def _rates(idle: dict[str, Any]) -> dict[str, float]:
    return {
        "script_calls": round(idle["scripts"], 1),
        "commands": round(idle["calls"], 1),
        "bytes_in": round(idle["bytes_in"]),
        "bytes_out": round(idle["bytes_out"]),
    }


def _cost(before: Counts, after: Counts, idle: dict[str, Any], answers: int) -> dict[str, Any]:
    seconds = after.at - before.at

    def each(name: str, spent: float) -> float:
        idled: float = idle[name]
        return (spent - idled * seconds) / answers

    redis_cpu = each("redis_cpu", after.cpu - before.cpu)
    return {
        "script_calls_per_answer": round(each("scripts", after.scripts - before.scripts)),
        "redis_bytes_in_per_answer": round(each("bytes_in", after.bytes_in - before.bytes_in)),
        "redis_bytes_out_per_answer": round(each("bytes_out", after.bytes_out - before.bytes_out)),
        "redis_cpu_us_per_token": round(redis_cpu * 1e6 / TOKENS, 1),
    }


def _per_token(seconds: float, answers: int) -> float:
    return round(seconds * 1e6 / (answers * TOKENS), 1)
