"""A worker: engines, and what keeps their answers in what a fleet shares.

It has no port and no clients. A process may be a gateway as well; then the two share one way to
Redis (`Commons`), and a viewer there sees a worker's text before Redis does.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import suppress

import uvloop

from wsserver.app.application import open_sessions
from wsserver.app.backend import Task, load_models
from wsserver.app.commons import Commons, open_commons
from wsserver.config import Config
from wsserver.config.handover import Lifeline
from wsserver.core.models import ModelRegistry
from wsserver.core.models.serving import WorkerModels
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.waiting import SharedWaiting
from wsserver.core.shared.work import WorkerAnswers
from wsserver.core.stopping import Stopping
from wsserver.core.streams import StreamRecord
from wsserver.core.telemetry import NullTelemetry, Telemetry
from wsserver.engines.host import create_host
from wsserver.engines.memory import estimate_memory
from wsserver.model_setup import model_bounds, source_policy
from wsserver.observe.logging import log_to
from wsserver.stores.redis.calls import RedisCalls
from wsserver.stores.redis.fleet import RedisAnnouncing, read_workers
from wsserver.stores.redis.stream_log import RedisStreamLog

log = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0
"""For what is still to be written at the end."""

RETRY_EVERY = 1.0
"""Seconds between tries to reach Redis at the start."""


class Worker:
    """The engines of this process, their models, and the answers that they make.

    Attributes:
        handle: Serves the fleet's calls.
        picture: What is to be told of the models now.
        stop: Ends an answer that runs here; False if none does.
        tasks: Run for the life of the process; each only ever ends by a fault.
    """

    def __init__(self, config: Config, commons: Commons, telemetry: Telemetry) -> None:
        link, node, queue = commons.link, commons.nodes.node_id, commons.queue
        self._start = config.models.start
        self._queue = queue
        self._log = RedisStreamLog(
            link, retention=config.streams.retention_seconds, near=commons.streams
        )
        self._waiting = SharedWaiting(
            node,
            queue=queue,
            streams=commons.streams,
            store=commons.store,
            endings=commons.endings,
            workers=lambda: read_workers(link),
        )
        self._registry = ModelRegistry(
            sources=source_policy(config),
            factory=create_host,
            queue=queue,
            log=self._log,
            waiting=self._waiting,
            telemetry=telemetry,
            bounds=model_bounds(config.models),
            estimate=estimate_memory,
        )
        self._answers = WorkerAnswers(
            log=self._log,
            streams=commons.streams,
            store=commons.store,
            endings=commons.endings,
            stop=self._registry.stop,
            settled=queue.settled,
            put_back=queue.put_back,
        )
        self._waiting.registry = self._registry
        self._registry.keeper = self._answers
        self._log.on_finished = queue.settled
        self._log.on_cancelled = self._answers.cancelled
        self._log.on_fenced = self._fenced
        self._log.on_lost = self._lost
        voice = RedisAnnouncing(link, node)
        self._models = WorkerModels(node, self._registry, voice, self._waiting.count)
        self.handle, self.picture = self._models.handle, self._models.picture
        self.stop = self._answers.stop
        self.tasks: tuple[Task, ...] = (self._models.run, self._waiting.reap)

    def start(self) -> None:
        """Begin to load what the configuration wants to be there."""
        load_models(self._registry, self._start)

    async def drained(self) -> None:
        """Claim nothing more, and wait until the running answers have ended."""
        await self._registry.drained()

    async def close(self) -> None:
        """Give what still runs to other workers, write what is to be written, end the engines."""
        await self._waiting.close()
        await self._models.close()
        self._registry.hand_over()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._answers.closed()
                await self._log.close()
        except TimeoutError:
            log.warning("not everything was written: other workers take it up by its leases")
        await self._registry.close()

    def _fenced(self, stream_id: str) -> None:
        """Another worker has taken an answer over, perhaps after its engine here was done with it.

        Held on to, its job would be given back to the queue as soon as the other one has settled
        it, and stay there for ever.
        """
        self._answers.fenced(stream_id)
        self._queue.abandon("", "", stream_id)

    def _lost(self, record: StreamRecord) -> None:
        """Redis was away for too long for an answer."""
        if record.is_ended:  # nobody here will write its end: let its lease run out
            self._queue.abandon(record.model_id, "", record.stream_id)
        else:
            self._answers.lost(record)


def serve_worker(config: Config, lifeline: Lifeline) -> int:
    """Be a worker until SIGINT or SIGTERM. Returns the exit code.

    Args:
        config: The configuration.
        lifeline: What its supervisor tells.

    Raises:
        OSError: If it can't make its files where the configuration says.
        CannotStart: If the store of sessions can't be used, or an address of Redis is none.
    """
    with log_to(config.log), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(WorkerProcess(config, lifeline).run())


class WorkerProcess:
    """A process that is a worker and nothing else."""

    def __init__(self, config: Config, lifeline: Lifeline) -> None:
        self._config = config
        self._lifeline = lifeline
        self._stopping = Stopping()

    async def run(self) -> int:
        """Work until told to stop, then drain."""
        self._stopping.listen()
        store = await open_sessions(self._config)
        telemetry = NullTelemetry()
        commons = open_commons(self._config, telemetry, store, self._lifeline)
        worker = Worker(self._config, commons, telemetry)
        calls = RedisCalls(commons.link, commons.nodes.node_id, worker.handle)
        try:
            if await self._reach(commons, calls):
                await self._work(commons, worker)
        finally:
            await calls.close()
            await commons.close()
            await store.close()
        return 0

    async def _reach(self, commons: Commons, calls: RedisCalls) -> bool:
        """Listen to the fleet as soon as Redis is there. False if told to stop before."""
        while not self._stopping.begun.is_set():
            try:
                await commons.link.ping()  # whose failure says what is wrong
                await calls.start()
                return True
            except StoreUnavailable as error:
                log.warning("this worker waits for the Redis of redis.url: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_EVERY):
                    await self._stopping.begun.wait()
        return False

    async def _work(self, commons: Commons, worker: Worker) -> None:
        tasks = (commons.mourner.run, *worker.tasks, commons.nodes.keep, commons.queue.keep)
        background = [asyncio.create_task(task()) for task in tasks]
        worker.start()
        _print_line(f"Worker     {commons.nodes.node_id}")
        stopping = asyncio.create_task(self._stopping.begun.wait())
        await asyncio.wait({stopping, *background}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for task in background:
            if task.done():
                task.result()  # only ever ends by a fault: let it out
        await self._drain(worker)
        for task in background:
            task.cancel()
        await asyncio.wait(background)
        await worker.close()

    async def _drain(self, worker: Worker) -> None:
        seconds = self._config.server.drain_seconds
        log.info("draining for at most %g s", seconds)
        drained = asyncio.create_task(worker.drained())
        hurry = asyncio.create_task(self._stopping.hurried.wait())
        ends = {drained, hurry}
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in ends:
            task.cancel()
        await asyncio.wait(ends)


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
