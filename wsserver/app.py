"""The composition root: a configuration becomes a running server.

Everything is made here and handed down; nothing below looks up anything. Read `serve` from top to
bottom for the life of the process: build, listen, load, wait for a signal, drain, close.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import uvloop

from wsserver.config import Config
from wsserver.core.answers import Answers
from wsserver.core.batches import Batches
from wsserver.core.clients import Client, Clients
from wsserver.core.departures import Departures
from wsserver.core.idempotency import Idempotency
from wsserver.core.identity import Identity
from wsserver.core.limits import LimitPolicy, MemoryLimits
from wsserver.core.models import ModelRegistry, ModelSource, SourcePolicy
from wsserver.core.room_context import RoomContexts
from wsserver.core.rooms import Rooms
from wsserver.core.sessions.services import SessionServices
from wsserver.core.sessions.store import SessionError
from wsserver.core.streams import Ending
from wsserver.core.telemetry import ModelSnapshot, Snapshot
from wsserver.engines.catalog import ENTRIES, engine_for
from wsserver.engines.host import create_host
from wsserver.gateway.dispatch import Dispatcher
from wsserver.gateway.handlers import HANDLERS
from wsserver.gateway.http import HttpPages
from wsserver.gateway.listener import Heartbeat, Listener
from wsserver.gateway.services import EdgePolicy, Services
from wsserver.observe.logging import log_to
from wsserver.observe.metrics import Metrics
from wsserver.observe.runtime import watch_collector, watch_loop
from wsserver.stores.memory.job_queue import MemoryJobQueue
from wsserver.stores.memory.response_cache import MemoryResponseCache
from wsserver.stores.memory.stream_log import MemoryStreamLog
from wsserver.stores.sessions import open_session_store
from wsserver.stores.sqlite.database import NewerSchema
from wsserver_protocol import events
from wsserver_protocol.errors import CloseCode
from wsserver_protocol.lifecycle import StopReason

log = logging.getLogger(__name__)

CLOSE_DEADLINE = 5.0
"""Seconds for closing handshakes at the end."""

RECONNECT_AFTER_MS, RECONNECT_SPREAD_MS = 500, 5000
"""What clients are told when the server drains: come back after, spread over."""


class CannotStart(Exception):
    """The server can't start; ``str(error)`` says why, for people."""


def serve(config: Config) -> int:
    """Run the server until SIGINT or SIGTERM. Returns the exit code.

    Raises:
        OSError: If it can't listen where the configuration says, or make its files there.
        CannotStart: If the store of sessions can't be used.
    """
    with log_to(config.log), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Application(config).run())


class Application:
    """One gateway process with its embedded stores and engines."""

    def __init__(self, config: Config, *, announce: Callable[[str], None] | None = None) -> None:
        self.config = config
        self._announce = announce or _print_line
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Serve until told to stop, then drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)
        try:
            self._store = await open_session_store(self.config)
        except (SessionError, NewerSchema) as error:
            raise CannotStart(f"the store of sessions can't be used: {error}") from error
        try:
            return await self._serve()
        finally:
            await self._store.close()

    async def _serve(self) -> int:
        self._build()
        addresses = await self.listener.start(self.config.server.host, self.config.server.port)
        with ExitStack() as watching:
            watching.enter_context(watch_collector(self.metrics.gc_paused))
            _tame_collector()
            server = self.config.server
            heartbeat = Heartbeat(
                self.listener,
                interval=server.ping_interval_seconds,
                timeout=server.ping_timeout_seconds,
            )
            background = [
                asyncio.create_task(heartbeat.run()),
                asyncio.create_task(watch_loop(self.metrics.loop_lagged)),
                asyncio.create_task(self.services.sessions.upkeep.run()),
            ]
            self._load_models()
            self._say_where(addresses)
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({stopping, *background}, return_when=asyncio.FIRST_COMPLETED)
            for task in background:
                if task.done():
                    task.result()  # only ever ends by a fault: let it out
            await self._drain()
            for task in background:
                task.cancel()
            await asyncio.wait(background)
        return 0

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            # A second Ctrl-C: whoever sends it does not want to wait for the drain.
            self.services.drain.deadline = asyncio.get_running_loop().time()
            self._hurry.set()
        self._stopping.set()

    def _build(self) -> None:
        config = self.config
        loop = asyncio.get_running_loop()
        self._hurry = asyncio.Event()
        self.metrics = Metrics(version("wsserver"))
        limit_policy = _limit_policy(config)
        limits = MemoryLimits(limit_policy)
        stream_log = MemoryStreamLog(config.streams.retention_seconds)
        queue = MemoryJobQueue(config.limits.queue_per_model)
        models = ModelRegistry(
            sources=_source_policy(config),
            factory=create_host,
            queue=queue,
            log=stream_log,
            telemetry=self.metrics,
            most=config.models.max_loaded,
        )
        answers = Answers(
            log=stream_log,
            queue=queue,
            limits=limits,
            models=models,
            telemetry=self.metrics,
            retention=config.streams.retention_seconds,
            max_wait=config.limits.queue_seconds,
            cache=MemoryResponseCache(
                entries=config.cache.entries, size=config.cache.bytes, ttl=config.cache.ttl_seconds
            ),
        )
        batches = Batches(answers, limits)
        rooms = Rooms(log_bound=config.rooms.history_entries, stop=answers.stop)
        departures = Departures(answers, batches, rooms)
        sessions = SessionServices(self._store, answers, models)

        def gone(client: Client) -> None:
            departures.gone(client)
            if client.session_ids:  # some of them may be of the time before it took a name
                sessions.upkeep.forget(Identity.anonymous(client.client_id, "").key)

        self.services = Services(
            answers=answers,
            batches=batches,
            departures=departures,
            models=models,
            rooms=rooms,
            room_contexts=RoomContexts(answers, models),
            clients=Clients(config.resume.window_seconds, gone),
            limits=limits,
            limit_policy=limit_policy,
            idempotency=Idempotency(config.idempotency.retention_seconds),
            sessions=sessions,
            log=stream_log,
            telemetry=self.metrics,
            policy=_edge_policy(config),
            started_at=loop.time(),
        )
        self.metrics.watch(self._snapshot)
        pages = HttpPages(self.services, self.metrics.render)
        self.listener = Listener(self.services, Dispatcher(HANDLERS), pages)

    def _load_models(self) -> None:
        """Make the configured models known, and start loading those that are to be there."""
        models = self.services.models
        sources = models.sources.configured
        start = self.config.models.start
        for name in [*start, *(name for name in sources if name not in start)]:
            is_default = bool(start) and name == start[0]
            model = models.add(sources[name], is_default=is_default, model_id=name)
            if name in start:
                models.load(model)

    def _say_where(self, addresses: list[tuple[str, int]]) -> None:
        for host, port in addresses:
            shown = f"[{host}]" if ":" in host else host
            self._announce(f"Chat page  http://{shown}:{port}/")
            self._announce(f"WebSocket  ws://{shown}:{port}/ws")

    async def _drain(self) -> None:
        """Take no new work, let what runs end, stop the rest, close."""
        services, loop = self.services, asyncio.get_running_loop()
        seconds = self.config.server.drain_seconds
        services.drain.deadline = loop.time() + seconds
        log.info("draining for at most %g s", seconds)
        notice = events.ServerDraining(
            reconnect_after=RECONNECT_AFTER_MS,
            spread=RECONNECT_SPREAD_MS,
            deadline=round(seconds * 1000),
        )
        for client in services.clients:
            if client.connection is not None:
                client.connection.send(notice)
        await self._wait_for_answers(seconds)
        # Batches first: what they hold back would begin with each place that the stops free.
        services.batches.stop_all(StopReason.SHUTDOWN)
        services.answers.stop_all(Ending.stopped(StopReason.SHUTDOWN, "server"))
        # Not in a hurry: the ends come within a step of the engine, and should be told.
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE):
                await services.answers.idle()
        await services.answers.closed()
        await services.sessions.conversations.close()
        await self.listener.stop(CloseCode.GOING_AWAY, CLOSE_DEADLINE)
        await services.models.close()

    async def _wait_for_answers(self, seconds: float) -> None:
        idle = asyncio.create_task(self.services.answers.idle())
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({idle, hurry}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in (idle, hurry):
            task.cancel()
        await asyncio.wait({idle, hurry})

    def _snapshot(self) -> Snapshot:
        services = self.services
        return Snapshot(
            connections=len(self.listener.sockets),
            rooms=len(services.rooms),
            models=tuple(
                ModelSnapshot(
                    id=model.id,
                    state=model.status.value,
                    streams=model.busy + services.models.queued(model),
                    queued=services.models.queued(model),
                    slots=model.slots,
                    slots_busy=model.busy,
                )
                for model in services.models.all()
            ),
        )


def _source_policy(config: Config) -> SourcePolicy:
    sources: dict[str, ModelSource] = {}
    for entry in config.models.model:
        is_file = Path(entry.source).is_absolute()
        engine = entry.engine or _engine_for(entry.source) or "unknown"
        sources[entry.id] = ModelSource(
            id=entry.id,
            source=Path(entry.source).name if is_file else entry.source,
            engine=engine,
            path=entry.source if is_file else None,
            settings={**config.models.engines.get(engine, {}), **entry.settings},
            description=entry.description,
            replicas=entry.replicas,
        )
    return SourcePolicy(
        models_dir=Path(config.models.dir) if config.models.dir else None,
        allowed_schemes=frozenset(config.models.schemes),
        choose_engine=_engine_for,
        configured=sources,
        operator_settings={name: entry.operator_settings for name, entry in ENTRIES.items()},
        file_settings={name: entry.file_settings for name, entry in ENTRIES.items()},
    )


def _engine_for(source: str) -> str | None:
    try:
        return engine_for(source)
    except LookupError:
        return None


def _limit_policy(config: Config) -> LimitPolicy:
    limits = config.limits
    return LimitPolicy(
        requests_per_minute=limits.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute,
        max_concurrent_streams=limits.max_concurrent_streams,
    )


def _edge_policy(config: Config) -> EdgePolicy:
    server, limits = config.server, config.limits
    page = Path(str(files("wsserver").joinpath("page")))
    return EdgePolicy(
        max_message_bytes=limits.max_message_bytes,
        max_connections=server.max_connections,
        connections_per_second=server.connections_per_second,
        max_batch=limits.max_batch,
        max_rooms=config.rooms.max_rooms,
        max_rooms_per_client=config.rooms.max_rooms_per_client,
        frames_per_second=limits.frames_per_second,
        frames_burst=limits.frames_burst,
        token_interval_ms=config.streams.token_interval_ms,
        ping_interval=server.ping_interval_seconds,
        ping_timeout=server.ping_timeout_seconds,
        send_timeout=server.send_timeout_seconds,
        origins=server.origins,
        trusted_proxies=server.trusted_proxies,
        backlog=server.backlog,
        page=page if page.is_dir() else None,
    )


def _tame_collector() -> None:
    """Keep full collections away from the tokens.

    With the default thresholds a busy server of 2,000 connections stood still for 100 ms several
    times a second (a full pass walks every object). What start-up made is frozen out of all
    passes, and full passes come after far more allocations.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
