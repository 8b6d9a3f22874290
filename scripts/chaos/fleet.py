"""The fleet under test: gateways, workers and processes that are both, each over a link of its own.

Every member is a real process, started as a supervisor starts it: its configuration through a pipe.
Gateways keep their port over all their lives, so that clients come back to where they were.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scripts.bench.harness import ROOT
from scripts.chaos import descriptors
from scripts.chaos.links import Links
from scripts.chaos.member import WORD
from scripts.chaos.network import Network, Place
from scripts.chaos.store import Store, free_port
from wsserver.config import (
    Config,
    Data,
    Limits,
    Log,
    ModelEntry,
    Models,
    Redis,
    Resume,
    Rooms,
    Server,
)
from wsserver.config.handover import pack

SOURCE = "synthetic:?tps={tps}&ttft_ms=0&slots={slots}"

READY_SECONDS, END_SECONDS, ASK_SECONDS = 60.0, 30.0, 5.0


class Member:
    """One place in the fleet, and the process that has it now.

    Attributes:
        role: ``gateway``, ``worker`` or ``both``.
        host, port: Where clients find it; no port for a worker.
        is_meant_to_live: False while a fault has it killed.
        lives: Processes so far.
    """

    def __init__(
        self, name: str, role: str, folder: Path, config: Config, place: Place, store: Store
    ) -> None:
        self.name = name
        self.role = role
        self.port = config.server.port if role != "worker" else None
        self.host = place.host
        self._stores = dict.fromkeys([urlsplit(config.redis.url).port, *store.ports], "redis")
        self.is_meant_to_live = False
        self.lives = 0
        self.is_ready = asyncio.Event()
        self._folder = folder
        self._config = config
        self._prefix = place.prefix
        self._process: asyncio.subprocess.Process | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._told: asyncio.Future[dict[str, int]] = asyncio.Future()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def log_path(self) -> Path:
        return self._folder / f"{self.name}.log"

    async def start(self) -> None:
        """Begin a life. `is_ready` tells when it serves."""
        self.lives += 1
        self.is_ready.clear()
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*self._prefix, sys.executable, "-m", "scripts.chaos.member"),
                "worker" if self.role == "worker" else "gateway",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env={k: v for k, v in os.environ.items() if not k.startswith("WSSERVER_")},
            )
        assert self._process.stdin is not None
        self._process.stdin.write(pack(self._config))
        self._hearing = asyncio.create_task(self._hear(self._process))
        self.is_meant_to_live = True

    def signal(self, number: int) -> None:
        """Send a signal, to whatever is left of it."""
        if self.is_running:
            with suppress(ProcessLookupError):  # it has ended, and nobody has told us yet
                os.kill(self.pid, number)

    async def end(self, number: int) -> int:
        """End this life by a signal. Returns the exit code; -9 if it did not end by itself."""
        self.is_meant_to_live = False
        if self._process is None:
            return 0
        self.signal(number)
        self.signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(END_SECONDS):
                code = await self._process.wait()
        except TimeoutError:
            self._process.kill()
            code = await self._process.wait()
        if self._hearing is not None:
            await self._hearing
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code

    async def tasks(self) -> dict[str, int]:
        """Tasks of its event loop: how many of each chain of awaits. Empty if it does not say."""
        self._told = asyncio.get_running_loop().create_future()
        self.signal(signal.SIGUSR1)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await self._told
        except TimeoutError:
            return {}

    def descriptors(self) -> Counter[str]:
        """Open files and sockets, by what they are."""
        return descriptors.of(self.pid, {self.port: "clients", **self._stores})

    def errors(self) -> Iterator[dict[str, Any]]:
        """What a healthy process never logs."""
        for line in self.log_path.read_text().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                entry = {"level": "error", "event": line}
            if entry.get("level") in ("error", "critical") or "exception" in entry:
                yield entry

    async def _hear(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            if line.startswith((b"WebSocket", b"Worker")):
                self.is_ready.set()
            elif line.startswith(WORD.encode()) and not self._told.done():
                self._told.set_result(json.loads(line[len(WORD) :]))


class Fleet:
    """All members, their Redis, and the links between."""

    def __init__(self, folder: Path, network: Network, links: Links | None, store: Store) -> None:
        self.network = network
        self.links = links
        self.store = store
        self.members: list[Member] = []
        self._folder = folder

    async def add(self, role: str, *, tps: int, slots: int, window: float) -> Member:
        """A place in the fleet, nobody in it yet."""
        number = sum(member.role == role for member in self.members) + 1
        name = f"{role}{number}"
        folder = self._folder / name
        folder.mkdir()
        place = self.network.place(name)
        url = self.store.url
        if self.links is not None:
            url = await self.links.open(name, place.redis_host)
        has_engine = role != "gateway"
        entry = ModelEntry(id="m", source=SOURCE.format(tps=tps, slots=slots))
        config = Config(
            # Two processes: what the supervisor tells a gateway that has no engines.
            server=Server(
                host=place.host,
                port=free_port(),
                processes=2 if role == "gateway" else 1,
                drain_seconds=2.0,
            ),
            redis=Redis(url=url),
            data=Data(dir=str(folder)),
            log=Log(format="json"),
            resume=Resume(window_seconds=window),
            limits=Limits(max_concurrent_streams=1000),
            rooms=Rooms(keep_seconds=600.0),
            models=Models(start=("m",) if has_engine else (), model=(entry,)),
        )
        member = Member(name, role, folder, config, place, self.store)
        self.members.append(member)
        return member

    def of(self, *roles: str) -> list[Member]:
        return [member for member in self.members if member.role in roles]

    @property
    def addresses(self) -> list[str]:
        """Where clients may go, whoever lives there now."""
        return [f"ws://{m.host}:{m.port}/ws" for m in self.members if m.port is not None]

    async def start(self) -> None:
        """Start all, and wait until they serve."""
        await asyncio.gather(*(member.start() for member in self.members))
        await self.ready()

    async def ready(self) -> None:
        """Wait until everyone that is meant to live serves."""
        async with asyncio.timeout(READY_SECONDS):
            for member in self.members:
                await member.is_ready.wait()

    async def close(self) -> dict[str, int]:
        """End all in order. Exit codes by name."""
        codes = {}
        for member in [*self.of("gateway", "both"), *self.of("worker")]:
            codes[member.name] = await member.end(signal.SIGTERM)
        return codes

    def kill(self) -> None:
        """End whatever is left, at once."""
        for member in self.members:
            member.signal(signal.SIGKILL)
