"""Many at once: a room of 1,000 members, and 10,000 connections that only wait."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect

from scripts.bench.fleet import Fleet, cpu_seconds, running_fleet
from scripts.bench.harness import Running, bare_loop, count, quantiles, wsserver
from scripts.bench.recovery import ask, introduced, read_until, send

MEMBERS, PROBES, TOKENS_PER_SECOND, SECONDS = 1000, 10, 50, 10.0
IDLE = 10_000
SOURCE = f"synthetic:?tps={TOKENS_PER_SECOND}&ttft_ms=0&slots=8"
MARK = '"stream_token"'
JOIN: dict[str, Any] = {"type": "join_room", "roomId": "hall"}


@dataclass
class Probe:
    """A member that is looked at frame by frame."""

    lags: list[float] = field(default_factory=list)
    pieces: dict[int, bytes] = field(default_factory=dict)  # by where they end
    tokens: int = 0
    is_whole: bool = False


def room() -> dict[str, Any]:
    """1,000 members of one room see one answer of 50 tokens a second: one process, two gateways.

    The baseline is `broadcast` of the websockets package: one frame to as many connections, 40
    times a second, and nothing else. Readers take the same cores. What joining costs is what it
    costs beyond a connection. A piece that was encoded more than once shows in its time stamp:
    the different frames of one piece are counted over the probes of each process.
    """
    with bare_loop("broadcast") as bare:
        baseline = count(bare, connections=MEMBERS, seconds=SECONDS, mark=MARK, frame=None)
    with wsserver("--model", f"m={SOURCE}", *_LIMITS) as server:
        handshake = asyncio.run(_handshakes([server]))
        alone = asyncio.run(_room([server], handshake))
    with running_fleet() as fleet:
        gateways = [fleet.gateway(), fleet.gateway()]
        fleet.worker(SOURCE)
        fleet.ready()
        handshake = asyncio.run(_handshakes(gateways))
        shared = asyncio.run(_room(gateways, handshake))
    bare_us = 1e6 / baseline["frames_per_cpu_second"]
    for figures in (alone, shared):
        figures["against_bare_broadcast"] = round(figures["cpu_us_per_frame"] / bare_us, 2)
    return {
        "members": MEMBERS,
        "bare_broadcast_cpu_us_per_frame": round(bare_us, 2),
        "one_process": alone,
        "two_gateways": shared,
    }


_LIMITS = ("--set", "server.max_connections=20000")


async def _handshakes(servers: Sequence[Running]) -> float:
    """Processor seconds of as many connections that join nothing."""
    before = cpu_seconds(servers)
    crowd = await _crowd(servers, 0.5, None)
    spent = cpu_seconds(servers) - before
    for process in crowd:
        await process.communicate()
    await asyncio.sleep(1)
    return spent


async def _room(servers: Sequence[Running], handshake: float) -> dict[str, Any]:
    probes = [Probe() for _ in range(PROBES * len(servers))]
    sockets = [await _member(servers[number % len(servers)].url) for number in range(len(probes))]
    seen: Counter[str] = Counter()
    watching = asyncio.create_task(_count_frames(sockets[0], seen))
    before, began = cpu_seconds(servers), time.perf_counter()
    crowd = await _crowd(servers, SECONDS, JOIN)
    joining = time.perf_counter() - began
    spent = cpu_seconds(servers) - before - handshake
    await asyncio.sleep(0.5)  # the last digest of who came
    watching.cancel()
    told = {kind: seen[kind] for kind in ("room_user_joined", "room_presence")}
    before, began = cpu_seconds(servers), time.perf_counter()
    await ask(sockets[0], room_id="hall", maxTokens=int(TOKENS_PER_SECOND * (SECONDS - 2)))
    await asyncio.gather(*map(_read, sockets, probes))
    cpu, seconds = cpu_seconds(servers) - before, time.perf_counter() - began
    frames = 0
    for process in crowd:
        output, _ = await process.communicate()
        frames += orjson.loads(output.splitlines()[-1])["marks"]
    frames += sum(len(probe.pieces) for probe in probes)
    for socket in sockets:
        await socket.close()
    tokens_a_frame = mean(probe.tokens / len(probe.pieces) for probe in probes)
    return {
        "join_cpu_us_per_member": round((max(0.0, spent) / MEMBERS) * 1e6),
        "joins_per_second": round(MEMBERS / (joining - 0.5)),
        "frames_to_one_member_about_arrivals": told,
        "frames_delivered": frames,
        "tokens_delivered_per_second": round(frames * tokens_a_frame / seconds),
        "tokens_per_frame": round(tokens_a_frame, 2),
        "cpu_us_per_frame": round(cpu * 1e6 / frames, 2),
        "cpu_share": round(cpu / seconds, 3),
        "encodings_per_frame_and_process": _encodings(probes, len(servers)),
        "probes_whole": sum(probe.is_whole for probe in probes),
        "probes": len(probes),
        "due_to_received": quantiles([lag for probe in probes for lag in probe.lags]),
    }


def _encodings(probes: Sequence[Probe], servers: int) -> float:
    """Different frames of one piece that the members of one process got, on average."""
    variants = []
    for number in range(servers):
        here = probes[number::servers][1:] if number == 0 else probes[number::servers]
        ends = set.intersection(*(set(probe.pieces) for probe in here))
        variants += [len({probe.pieces[end] for probe in here}) for end in ends]
    return round(mean(variants), 3)


async def _crowd(
    servers: Sequence[Running], seconds: float, frame: dict[str, Any] | None
) -> list[asyncio.subprocess.Process]:
    """Counting clients with all members, told to the last handshake."""
    crowd = []
    for server in servers:
        size = MEMBERS // len(servers)
        command = [sys.executable, "-m", "scripts.bench.counting_client", server.url, str(size)]
        command += [str(seconds), MARK, *([orjson.dumps(frame).decode()] if frame else [])]
        crowd.append(await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE))
    for process in crowd:
        assert process.stdout is not None
        await process.stdout.readline()  # open
        await process.stdout.readline()  # go
    return crowd


async def _member(url: str) -> ClientConnection:
    socket = await connect(url, compression=None, max_queue=None)
    await read_until(socket, "connected")
    await send(socket, **JOIN)
    await read_until(socket, "room_joined")
    return socket


async def _count_frames(socket: ClientConnection, seen: Counter[str]) -> None:
    while True:
        seen[orjson.loads(await socket.recv(decode=False))["type"]] += 1


async def _read(socket: ClientConnection, probe: Probe) -> None:
    """An answer from the next piece to its end."""
    began = 0.0
    while True:
        data = await socket.recv(decode=False)
        now = time.perf_counter()
        frame = orjson.loads(data)
        if frame["type"] == "stream_token":
            age = (frame["position"] - frame["count"]) / TOKENS_PER_SECOND
            began = began or now - age
            due = began + age
            probe.lags.append(max(0.0, (now - due) * 1000))
            probe.pieces[frame["offset"]] = data
            probe.tokens += frame["count"]
        elif frame["type"] == "stream_complete":
            probe.is_whole = probe.tokens == frame["usage"]["completionTokens"]
            return


def fleet_idle() -> dict[str, Any]:
    """10,000 idle connections over two gateways: memory of each, and whether a stream still flows.

    Before and while they are there: 50 first tokens, and an answer asked for at one gateway and
    watched at the other. What Redis keeps and does for connections that only wait is told, too.
    """
    with _many_files() as limit, running_fleet() as fleet:
        connections = min(IDLE, limit - 500)
        fleet.gateway()
        fleet.gateway()
        fleet.worker(SOURCE)
        fleet.ready()
        return asyncio.run(_fleet_idle(fleet, connections))


@contextlib.contextmanager
def _many_files() -> Iterator[int]:
    """As many open files as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _fleet_idle(fleet: Fleet, connections: int) -> dict[str, Any]:
    urls = [gateway.url for gateway in fleet.gateways]
    unloaded = await _flows(urls)
    before = [gateway.resident_bytes() for gateway in fleet.gateways]
    kept = fleet.redis.info("memory")["used_memory"]
    began = time.perf_counter()
    sockets: list[ClientConnection] = []
    for start in range(0, connections, 100):
        opening = [
            connect(urls[number % 2], compression=None, ping_interval=None, max_queue=1)
            for number in range(start, min(start + 100, connections))
        ]
        sockets += await asyncio.gather(*opening)
    for socket in sockets:
        await socket.recv()  # connected
    opened = time.perf_counter() - began
    grown = [
        gateway.resident_bytes() - size
        for gateway, size in zip(fleet.gateways, before, strict=True)
    ]
    kept = fleet.redis.info("memory")["used_memory"] - kept
    counts, cpu = fleet.counts(), cpu_seconds(fleet.gateways)
    await asyncio.sleep(10)
    after = fleet.counts()
    waiting = (cpu_seconds(fleet.gateways) - cpu) / (after.at - counts.at)
    loaded = await _flows(urls)
    for socket in sockets:
        socket.transport.abort()
    return {
        "connections": connections,
        "connections_per_second": round(connections / opened),
        "kib_per_connection": [round(size * 2 / connections / 1024, 1) for size in grown],
        "redis_bytes_per_connection": round(kept / connections),
        "idle_redis_commands_per_second": round((after.calls - counts.calls) / 10, 1),
        "idle_cpu_share_of_both_gateways": round(waiting, 3),
        "without_them": unloaded,
        "with_them": loaded,
    }


async def _flows(urls: Sequence[str]) -> dict[str, Any]:
    """First tokens at one gateway, and an answer watched at the other."""
    firsts = []
    probe = Probe()
    async with connect(urls[0], compression=None) as asker:
        await introduced(asker)
        for _ in range(50):
            began = time.perf_counter()
            await ask(asker, maxTokens=1)
            await read_until(asker, "stream_token")
            firsts.append((time.perf_counter() - began) * 1000)
            await read_until(asker, "stream_complete")
            await asyncio.sleep(0.05)
        await ask(asker, maxTokens=5 * TOKENS_PER_SECOND)
        stream_id = (await read_until(asker, "stream_start"))["streamId"]
        async with connect(urls[1], compression=None, max_queue=None) as watcher:
            await introduced(watcher)
            await send(watcher, type="watch_stream", streamId=stream_id)
            snapshot = await read_until(watcher, "stream_snapshot")
            probe.tokens = snapshot["position"]
            await _read(watcher, probe)
    return {
        "first_token": quantiles(firsts),
        "watched_elsewhere_whole": probe.is_whole,
        "watched_elsewhere_due_to_received": quantiles(probe.lags),
    }
