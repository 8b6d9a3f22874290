"""Real worker processes, and what asks them for answers as a gateway does.

A worker is started as a supervisor starts it: its configuration through a pipe; or as a person
does, with a supervisor of its own. It knows no test.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from tests.support.waiting import eventually
from wsserver.config import Config, Data, Log, ModelEntry, Models, Redis, Server
from wsserver.config.handover import pack as handed
from wsserver.core.ask import Answer, Ask, make_job
from wsserver.core.engine import ChatMessage
from wsserver.core.identity import Identity
from wsserver.core.ids import new_id
from wsserver.core.models.fleet import FleetModels
from wsserver.core.shared.meta import pack
from wsserver.core.streams import StreamRecord
from wsserver.stores.redis import RedisJobQueue, RedisLink
from wsserver.stores.redis.calls import RedisCalls
from wsserver.stores.redis.fleet import RedisFleet
from wsserver.stores.redis.streams import RedisStreams
from wsserver_protocol.options import GenerationOptions


class WorkerProcess:
    """One running worker; ``node`` is its name in the fleet, once `wait` has returned."""

    def __init__(
        self, folder: Path, redis_url: str, source: str | None, *, has_supervisor: bool = False
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        entries = () if source is None else (ModelEntry(id="m", source=source),)
        config = Config(
            server=Server(drain_seconds=1.0),
            redis=Redis(url=redis_url),
            data=Data(dir=str(folder)),
            log=Log(format="json"),
            models=Models(start=tuple(entry.id for entry in entries), model=entries),
        )
        self._log = (folder / "log").open("wb")
        role = "worker supervisor" if has_supervisor else "worker"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wsserver.cli.member", role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=folder,
            env={k: v for k, v in os.environ.items() if not k.startswith("WSSERVER_")},
        )
        assert self.process.stdin is not None
        self.process.stdin.write(handed(config))
        self.process.stdin.flush()
        self.node = ""

    async def wait(self) -> None:
        """Wait until it is joined."""
        output = self.process.stdout
        assert output is not None
        line = (await asyncio.to_thread(output.readline)).split()
        assert line[:1] == [b"Worker"], self.log()
        self.node = line[1].decode()

    def signal(self, number: int) -> None:
        """Send a signal to the worker alone, or to its supervisor."""
        self.process.send_signal(number)

    def children(self) -> list[psutil.Process]:
        """What it has started itself; the worker, of a supervisor."""
        return psutil.Process(self.process.pid).children()

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        return await asyncio.to_thread(self.process.wait, 20)

    def log(self) -> str:
        """All that it wrote to standard error."""
        return (self.folder / "log").read_text()

    def close(self) -> None:
        """End it however it is, and let go of the files."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self._log.close()


class Asker:
    """A gateway's way to the workers, without clients."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self.node = new_id("nod")
        self.streams = RedisStreams(link, self.node, retention=60.0)
        self.queue = RedisJobQueue(link, self.node, max_depth=100)
        self.calls = RedisCalls(link, self.node)
        self.fleet = RedisFleet(link, self.calls)

    async def start(self) -> None:
        await self.calls.start()
        await self.fleet.start()
        self.models = FleetModels(self.fleet)

    async def ask(self, max_tokens: int) -> StreamRecord:
        """Put a question in line. Its record is a mirror of the answer."""
        loop = asyncio.get_running_loop()
        messages = (ChatMessage(role="user", content="count"),)
        owner = Identity.named("ada", None, "ada")
        ask = Ask(
            owner=owner,
            client_id="cli_ada",
            options=GenerationOptions(max_tokens=max_tokens),
            messages=messages,
        )
        record = StreamRecord(new_id("str"), "m", loop.time())
        meta = pack(Answer(record, ask), None, with_input=False)
        await self.streams.create(record, meta)
        job = replace(make_job(record, ask, messages, None, ""), meta=meta)
        await self.queue.submit(job, slots=0)
        return record

    async def ready(self, slots: int) -> None:
        """Wait until the model has so many slots."""
        await eventually(
            lambda: any(m.is_ready and m.slots == slots for m in self.models.all()), 30
        )

    async def idle(self) -> None:
        """Wait until all workers have told that they make nothing."""
        await eventually(lambda: not self._busy(), 10)

    async def busy(self) -> str:
        """The worker that makes an answer, once one does."""
        await eventually(lambda: bool(self._busy()), 10)
        return self._busy()[0]

    async def close(self) -> None:
        await self.models.close()
        await self.fleet.close()
        await self.calls.close()
        await self.queue.close()
        await self.streams.close()

    def _busy(self) -> list[str]:
        return [w.node for w in self.fleet.workers if any(m.busy for m in w.models)]


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[Asker]:
    link = RedisLink.open(url)
    asker = Asker(link)
    await asker.start()
    try:
        yield asker
    finally:
        await asker.close()
        await link.close()


@asynccontextmanager
async def running_workers(
    folder: Path, url: str, count: int, source: str | None, *, has_supervisor: bool = False
) -> AsyncIterator[dict[str, WorkerProcess]]:
    """Workers by their names in the fleet. What still runs in the end is killed."""
    workers = [
        WorkerProcess(folder / f"worker{n}", url, source, has_supervisor=has_supervisor)
        for n in range(count)
    ]
    try:
        for worker in workers:
            await worker.wait()
        yield {worker.node: worker for worker in workers}
    finally:
        for worker in workers:
            worker.close()
