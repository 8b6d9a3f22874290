"""One gateway process: build, listen, load, wait for a signal, drain, close.

Everything is made here and handed down; nothing below looks up anything. Read `serve` from top to
bottom for the life of the process.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from importlib.metadata import version

import uvloop

from wsserver.app.backend import Backend, embedded
from wsserver.app.policies import edge_policy, limit_policy
from wsserver.config import Config
from wsserver.config.handover import Lifeline
from wsserver.core.clients import Client
from wsserver.core.departures import Departures
from wsserver.core.idempotency import Idempotency
from wsserver.core.identity import Identity
from wsserver.core.room_context import RoomContexts
from wsserver.core.rooms import PresenceKeeper, Rooms
from wsserver.core.rooms.answering import RoomAnswers
from wsserver.core.rooms.asks import RoomAsks
from wsserver.core.sessions.services import SessionServices
from wsserver.core.sessions.store import SessionError, SessionStore
from wsserver.core.stopping import Stopping
from wsserver.core.streams import Ending
from wsserver.core.telemetry import ModelSnapshot, Snapshot
from wsserver.gateway.alarm import Clock
from wsserver.gateway.dispatch import Dispatcher
from wsserver.gateway.handlers import HANDLERS
from wsserver.gateway.http import HttpPages
from wsserver.gateway.listener import Heartbeat, Listener
from wsserver.gateway.services import Services
from wsserver.gateway.views import Audiences
from wsserver.observe.logging import log_to
from wsserver.observe.metrics import Metrics
from wsserver.observe.runtime import watch_collector, watch_loop
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


def serve(config: Config, lifeline: Lifeline) -> int:
    """Run the server until SIGINT or SIGTERM. Returns the exit code.

    Args:
        config: The configuration.
        lifeline: What its supervisor tells, if there is one.

    Raises:
        OSError: If it can't listen where the configuration says, or make its files there.
        CannotStart: If the store of sessions can't be used, or an address of Redis is none.
    """
    with log_to(config.log), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Application(config, lifeline).run())


async def open_sessions(config: Config) -> SessionStore:
    """The store of sessions that is configured.

    Raises:
        OSError: If its file can't be made or opened.
        CannotStart: If it can't be used.
    """
    try:
        return await open_session_store(config)
    except ValueError as error:
        name = "sessions.redis_url" if config.sessions.redis_url else "redis.url"
        raise CannotStart(f"{name}: {error}") from error
    except (SessionError, NewerSchema) as error:
        raise CannotStart(f"the store of sessions can't be used: {error}") from error


class Application:
    """One gateway process with its embedded stores and engines."""

    def __init__(self, config: Config, lifeline: Lifeline) -> None:
        self.config = config
        self._lifeline = lifeline
        self._stopping = Stopping()

    async def run(self) -> int:
        """Serve until told to stop, then drain."""
        self._stopping.listen()
        self._store = await open_sessions(self.config)
        try:
            return await self._serve()
        finally:
            await self._store.close()

    async def _serve(self) -> int:
        self.metrics = Metrics(version("wsserver"))
        async with self._backend_of(self.config) as backend:
            if backend is None:
                return 0
            self._backend = backend
            return await self._serve_over()

    @asynccontextmanager
    async def _backend_of(self, config: Config) -> AsyncIterator[Backend | None]:
        """All in this process, or over the Redis that is configured; None if told to end before
        that was there."""
        if not config.redis.url:
            yield embedded(config, self.metrics)
            return
        # Imported where it is used: it would double the time that a single server takes to start.
        from wsserver.app.commons import open_commons
        from wsserver.app.fleet import FleetGateway
        from wsserver.app.worker import Worker

        commons = open_commons(config, self.metrics, self._store, self._lifeline)
        # With several processes a supervisor has started a worker beside the gateways; and who has
        # nothing to load is a gateway alone: what clients load belongs to the hosts with engines.
        has_engines = config.server.processes == 1 and bool(config.models.start)
        worker = Worker(config, commons, self.metrics) if has_engines else None
        gateway = FleetGateway(config, commons, worker)
        starting = asyncio.create_task(gateway.start())
        stopping = asyncio.create_task(self._stopping.begun.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if starting.done():
                yield starting.result()
            else:
                starting.cancel()
                await asyncio.wait({starting})
                await gateway.close()
                yield None
        finally:
            await commons.close()

    async def _serve_over(self) -> int:
        """Serve over a backend that is there."""
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
                asyncio.create_task(self._presence.run()),
                *(asyncio.create_task(task()) for task in self._backend.tasks),
            ]
            self._backend.load_models()
            self._say_where(addresses)
            stopping = asyncio.create_task(self._stopping.begun.wait())
            await asyncio.wait({stopping, *background}, return_when=asyncio.FIRST_COMPLETED)
            for task in background:
                if task.done():
                    task.result()  # only ever ends by a fault: let it out
            await self._drain()
            for task in background:
                task.cancel()
            await asyncio.wait(background)
        return 0

    def _build(self) -> None:
        config, backend = self.config, self._backend
        answers, models, broker = backend.answers, backend.models, backend.broker
        batches = backend.batches
        rooms = Rooms(
            broker,
            RoomAnswers(
                find=answers.retained,
                stop=answers.stop,
                fetch=answers.find if backend.is_shared else None,
            ),
        )
        self._presence = PresenceKeeper(backend.presence, rooms.lapse, rooms.sweep)
        departures = Departures(answers, batches, rooms)
        sessions = SessionServices(self._store, answers, models, backend.elsewhere)

        def gone(client: Client) -> None:
            departures.gone(client)
            if client.session_ids:  # some of them may be of the time before it took a name
                sessions.upkeep.forget(Identity.anonymous(client.client_id, "").key)

        clock = Clock(asyncio.get_running_loop())
        self.services = Services(
            answers=answers,
            batches=batches,
            departures=departures,
            models=models,
            rooms=rooms,
            room_asks=RoomAsks(rooms, answers, RoomContexts(broker, models)),
            clients=backend.make_clients(config.resume.window_seconds, gone, departures.moved),
            limits=backend.limits,
            limit_policy=limit_policy(config),
            idempotency=Idempotency(config.idempotency.retention_seconds),
            sessions=sessions,
            audiences=Audiences(clock, self.metrics),
            clock=clock,
            telemetry=self.metrics,
            policy=edge_policy(config),
            is_up=lambda: backend.fleet is None or backend.fleet().store_up,
            started_at=asyncio.get_running_loop().time(),
        )
        rooms.telling.on_thrown_out = self.services.clients.touched
        self.metrics.watch(self._snapshot)
        self.metrics.name_models(models.is_configured)
        pages = HttpPages(self.services, self.metrics.render)
        self.listener = Listener(self.services, Dispatcher(HANDLERS), pages)

    def _say_where(self, addresses: list[tuple[str, int]]) -> None:
        for host, port in addresses:
            shown = f"[{host}]" if ":" in host else host
            _print_line(f"Chat page  http://{shown}:{port}/")
            _print_line(f"Rooms      http://{shown}:{port}/apps/rooms/")
            _print_line(f"WebSocket  ws://{shown}:{port}/ws")

    async def _drain(self) -> None:
        """Take no new work, let what runs end, stop the rest, close.

        Where others go on with the answers that are made here, nothing is stopped.
        """
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
        if not self._backend.is_shared:
            services.answers.stop_all(Ending.stopped(StopReason.SHUTDOWN, "server"))
            # Not in a hurry: the ends come within a step of the engine, and should be told.
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_DEADLINE):
                    await services.answers.idle()
            await services.answers.closed()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE):
                await services.batches.idle()
        await services.sessions.conversations.close()
        await self.listener.stop(CloseCode.GOING_AWAY, CLOSE_DEADLINE)
        await self._backend.close()

    async def _wait_for_answers(self, seconds: float) -> None:
        idle = asyncio.ensure_future(self._backend.drained())
        hurry = asyncio.create_task(self._stopping.hurried.wait())
        await asyncio.wait({idle, hurry}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if hurry.done():
            self.services.drain.deadline = asyncio.get_running_loop().time()
        for task in (idle, hurry):
            task.cancel()
        await asyncio.wait({idle, hurry})

    def _snapshot(self) -> Snapshot:
        services = self.services
        return Snapshot(
            connections=len(self.listener.sockets),
            rooms=len(services.rooms),
            fleet=None if self._backend.fleet is None else self._backend.fleet(),
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
