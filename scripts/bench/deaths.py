"""How long an answer stands still when something of a fleet dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from scripts.bench.fleet import Fleet, Member, running_fleet
from scripts.bench.recovery import ask, read_until, send

RATE = 100
SOURCE = f"synthetic:?tps={RATE}&ttft_ms=0&slots=4"
PIECES_BEFORE, GATEWAY_TOKENS = 10, RATE * 3
"""Pieces that come before a death, and tokens of an answer whose gateway dies."""

LOST_TOKENS = RATE * 30
"""Of an answer that outlasts a lease."""

GATEWAY_ROUNDS, WORKER_ROUNDS, LOST_ROUNDS, HANDOVER_ROUNDS, REDIS_ROUNDS = 5, 5, 3, 3, 3
DOWN_SECONDS = 2.0

Blow = Callable[[Fleet], Awaitable[float]]
"""What is done to a fleet in the middle of an answer; how long it was so, in seconds."""


@dataclass
class Reader:
    """A client that follows one answer wherever it has to go.

    Attributes:
        text: What it has.
        times: When its pieces came.
        moved: Seconds from each lost connection to the next text elsewhere.
    """

    urls: list[str]
    tokens: int
    text: str = ""
    times: list[float] = field(default_factory=list)
    moved: list[float] = field(default_factory=list)
    stream_id: str = ""
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> bool:
        """Ask and follow to the end. Whether the text is what an answer without deaths has."""
        token = ""
        lost_at = 0.0
        for url in [*self.urls, self.urls[-1]]:
            with suppress(ConnectionClosed):
                async with connect(url, compression=None, max_queue=None) as socket:
                    if self.stream_id:
                        streams = {self.stream_id: len(self.text)}
                        await send(socket, type="resume", resumeToken=token, streams=streams)
                        token = (await read_until(socket, "resumed"))["resumeToken"]
                    else:
                        token = (await read_until(socket, "connected"))["resumeToken"]
                        await ask(socket, maxTokens=self.tokens, tokenInterval=0)
                        self.stream_id = (await read_until(socket, "stream_start"))["streamId"]
                    while True:
                        frame = orjson.loads(await socket.recv(decode=False))
                        if self._take(frame) and lost_at:
                            self.moved.append(self.times[-1] - lost_at)
                            lost_at = 0.0
                        if frame["type"] in ("stream_complete", "stream_error", "stream_stopped"):
                            return self.text == "".join(f"{n} " for n in range(1, self.tokens + 1))
            lost_at = time.perf_counter()
        raise RuntimeError("the reader lost its connection too often")

    def longest_pause(self) -> float:
        """Between two pieces, in seconds."""
        return max(b - a for a, b in zip(self.times, self.times[1:], strict=False))

    def _take(self, frame: dict[str, Any]) -> bool:
        """Whether the frame brought text. It is ASCII: bytes are characters."""
        match frame["type"]:
            case "stream_token":
                self.text = self.text[: frame["offset"] - len(frame["token"])] + frame["token"]
            case "stream_snapshot":
                self.text = self.text[: frame["fromOffset"]] + frame["text"]
                if not frame["text"]:
                    return False
            case "stream_rewind":
                self.text = self.text[: frame["offset"]]
                return False
            case _:
                return False
        self.times.append(time.perf_counter())
        if len(self.times) >= PIECES_BEFORE:
            self.reached.set()
        return True


def deaths() -> dict[str, Any]:
    """The pause that each kind of death makes in an answer, and whether its text is whole.

    Two gateways, two workers, one Redis with `appendfsync everysec`; answers of 100 tokens a
    second. A gateway killed: from the lost connection to text at the other gateway, the client
    coming back at once. All others: the longest pause between two pieces at one client. A killed
    worker's death is told by its supervisor's next child; answers of a host that is gone wait for
    its leases of 15 s; a worker that is told to end hands over after its drain of 1 s. Redis is
    away for 2 s, which are part of the pause where text stands still.
    """
    return asyncio.run(_deaths())


async def _deaths() -> dict[str, Any]:
    figures: dict[str, Any] = {"gateway_killed": await _gateways_killed()}
    figures["worker_killed"] = await _struck(_kill_worker, WORKER_ROUNDS, RATE * 6)
    figures["worker_host_lost"] = await _struck(_lose_worker, LOST_ROUNDS, LOST_TOKENS)
    figures["worker_told_to_end"] = await _struck(_end_worker, HANDOVER_ROUNDS, RATE * 6)
    figures["redis_killed_and_restarted"] = await _struck(_kill_redis, REDIS_ROUNDS, RATE * 8)
    figures["redis_frozen"] = await _struck(_freeze_redis, REDIS_ROUNDS, RATE * 8)
    return figures


async def _gateways_killed() -> dict[str, Any]:
    """A client's gateway gets a kill -9; it goes on at the other one, which stays."""
    moved, pauses, whole = [], [], 0
    with running_fleet() as fleet:
        stays = await asyncio.to_thread(fleet.gateway)
        await asyncio.to_thread(fleet.worker, SOURCE)
        for _ in range(GATEWAY_ROUNDS):
            dies = await asyncio.to_thread(fleet.gateway)
            await asyncio.to_thread(fleet.ready)
            reader = Reader([dies.url, stays.url], GATEWAY_TOKENS)
            reading = asyncio.create_task(reader.read())
            await reader.reached.wait()
            dies.kill()
            fleet.gateways.remove(dies)
            whole += await reading
            moved += reader.moved
            pauses.append(reader.longest_pause())
    return {
        "times": GATEWAY_ROUNDS,
        "answers_whole": whole,
        "lost_connection_to_text_elsewhere": _told(moved),
        "longest_pause": _told(pauses),
    }


async def _struck(blow: Blow, times: int, tokens: int) -> dict[str, Any]:
    """The same blow again and again, each to a fleet of its own."""
    pauses, downs, whole = [], [], 0
    for _ in range(times):
        with running_fleet() as fleet:
            gateway = await asyncio.to_thread(fleet.gateway)
            for _ in range(2):
                await asyncio.to_thread(fleet.worker, SOURCE)
            await asyncio.to_thread(fleet.ready)
            reader = Reader([gateway.url], tokens)
            reading = asyncio.create_task(reader.read())
            await reader.reached.wait()
            downs.append(await blow(fleet))
            whole += await reading
            pauses.append(reader.longest_pause())
    figures = {"times": times, "answers_whole": whole, "longest_pause": _told(pauses)}
    if any(downs):
        figures["of_which_away_seconds"] = round(max(downs), 2)
    return figures


async def _kill_worker(fleet: Fleet) -> float:
    (await _at_work(fleet)).kill()
    return 0.0


async def _lose_worker(fleet: Fleet) -> float:
    (await _at_work(fleet)).lose()
    return 0.0


async def _end_worker(fleet: Fleet) -> float:
    (await _at_work(fleet)).end()
    return 0.0


async def _kill_redis(fleet: Fleet) -> float:
    began = time.perf_counter()
    await asyncio.to_thread(fleet.redis_process.kill)
    await asyncio.sleep(DOWN_SECONDS)
    await asyncio.to_thread(fleet.redis_process.start)
    return time.perf_counter() - began


async def _freeze_redis(fleet: Fleet) -> float:
    fleet.redis_process.freeze()
    await asyncio.sleep(DOWN_SECONDS)
    fleet.redis_process.thaw()
    return DOWN_SECONDS


async def _at_work(fleet: Fleet) -> Member:
    """The worker whose engine makes the answer: the one that spends more time."""
    before = [worker.cpu_seconds() for worker in fleet.workers]
    await asyncio.sleep(0.5)
    spent = [w.cpu_seconds() - b for w, b in zip(fleet.workers, before, strict=True)]
    return fleet.workers[spent.index(max(spent))]


def _told(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "median_s": round(ordered[len(ordered) // 2], 3),
        "max_s": round(ordered[-1], 3),
        "min_s": round(ordered[0], 3),
    }
