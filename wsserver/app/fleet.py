"""A gateway of a fleet: answers are made by workers, one of which may be this very process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from wsserver.app.backend import Backend
from wsserver.app.commons import Commons
from wsserver.app.worker import Worker
from wsserver.config import Config
from wsserver.core.clients import Client, Clients
from wsserver.core.models.fleet import FleetModels
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.admission import Admission
from wsserver.core.shared.answers import SharedAnswers
from wsserver.core.shared.batches import SharedBatches
from wsserver.core.shared.clients import ClientState
from wsserver.core.shared.limits import DeferredLimits
from wsserver.core.shared.places import FleetClients
from wsserver.core.shared.reaper import Reaper, clear_clients
from wsserver.core.shared.turns import SharedTurns
from wsserver.core.shared.work import end_unclaimed
from wsserver.core.streams import Ending
from wsserver.core.telemetry import FleetSnapshot
from wsserver.stores.redis import RedisClients, RedisIdempotency
from wsserver.stores.redis.calls import RedisCalls
from wsserver.stores.redis.fleet import RedisFleet
from wsserver.stores.redis.led import RedisLedger
from wsserver.stores.redis.turn_order import RedisTurnOrder
from wsserver_protocol.errors import ErrorCode

log = logging.getLogger(__name__)

RETRY_EVERY = 1.0
"""Seconds between tries to reach Redis at the start."""


class FleetGateway:
    """Puts a gateway together over what the fleet shares.

    Args:
        config: The configuration.
        commons: The way to what is shared.
        worker: The engines of this process, if it has any.
    """

    def __init__(self, config: Config, commons: Commons, worker: Worker | None) -> None:
        link, node = commons.link, commons.nodes.node_id
        self._config = config
        self._commons = commons
        self._worker = worker
        self._calls = RedisCalls(link, node, None if worker is None else worker.handle)
        self._fleet = RedisFleet(link, self._calls, None if worker is None else worker.picture)
        self._models = FleetModels(self._fleet)
        self._ledger = RedisLedger(link, node)
        self._shared_clients = RedisClients(link, node, config.resume.window_seconds)
        self._order = RedisTurnOrder(link, node, commons.streams.living)
        self._repeats = RedisIdempotency(link, config.idempotency.retention_seconds)
        self._answers = SharedAnswers(
            streams=commons.streams,
            queue=commons.queue,
            admission=Admission(
                self._repeats,
                commons.limits,
                commons.streams,
                telemetry=commons.telemetry,
                node=node,
                nodes=commons.nodes.alive,
            ),
            cache=commons.cache,
            store=commons.store,
            endings=commons.endings,
            models=self._models,
            stop_here=self._stop_here,
            ledger=self._ledger,
            retention=config.streams.retention_seconds,
            max_wait=config.limits.queue_seconds,
        )
        self._models.end_waiting = self._answers.end_waiting
        self._clients: FleetClients | None = None
        self._reaper: Reaper | None = None
        self._leave_inbox: Callable[[], None] = lambda: None

    async def start(self) -> Backend:
        """Reach Redis, and wait for it if need be; then the backend is ready to serve."""
        commons, worker = self._commons, self._worker
        while True:
            try:
                await commons.link.ping()  # whose failure says what is wrong
                await asyncio.gather(self._calls.start(), self._fleet.start())
                self._leave_inbox = await commons.nodes.receive(self._told, self._doubted)
                break
            except StoreUnavailable as error:
                log.warning("this gateway waits for the Redis of redis.url: %s", error)
                await asyncio.sleep(RETRY_EVERY)
        limits = DeferredLimits(commons.limits, commons.telemetry)
        return Backend(
            answers=self._answers,
            batches=SharedBatches(self._answers, limits, self._repeats),
            models=self._models,
            limits=limits,
            broker=commons.broker,
            presence=commons.presence,
            load_models=(lambda: None) if worker is None else worker.start,
            close=self.close,
            make_clients=self._make_clients,
            drained=self._drained,
            is_shared=True,
            fleet=lambda: FleetSnapshot(
                store_up=commons.link.is_up, workers=len(self._fleet.workers)
            ),
            elsewhere=SharedTurns(self._answers, self._order),
            tasks=(
                *(commons.nodes.keep, commons.queue.keep, commons.mourner.run),
                *(self._keep_clients, self._order.keep, self._reap, self._answers.reap),
                *(commons.streams.wants.keep, self._ledger.keep),
                *(() if worker is None else worker.tasks),
            ),
        )

    def _make_clients(
        self,
        window: float,
        on_gone: Callable[[Client], None],
        on_moved: Callable[[Client], None],
    ) -> Clients:
        async def clear(client: Client) -> None:
            await self._answers.look_up_of(client)
            work = tuple(client.answers)
            on_gone(client)
            await self._answers.orphans_told(work)

        async def clear_stranger(state: ClientState) -> None:
            client = state.revive()
            client.stream_ids = state.streams
            await clear(client)

        clients = self._clients = FleetClients(
            self._shared_clients,
            window,
            clear,
            node=self._commons.nodes.node_id,
            on_moved=on_moved,
            tell=self._tell,
        )
        self._commons.nodes.on_lapsed = clients.doubt
        self._commons.streams.wants.asked_here = clients.asked
        self._reaper = Reaper(
            self._commons.nodes,
            [
                clear_clients(self._shared_clients, window, clear_stranger),
                self._ledger.clearing(self._end_led),
            ],
        )
        return clients

    async def _keep_clients(self) -> None:
        assert self._clients is not None  # made before any task runs
        await self._clients.keep()

    async def _reap(self) -> None:
        assert self._reaper is not None  # made with the clients, before any task runs
        await self._reaper.keep()

    async def _end_led(self, stream_id: str) -> None:
        """End what a gateway had accepted, and died before it could line it up.

        Raises:
            StoreUnavailable: If it can't be told whether it had.
        """
        commons = self._commons
        streams, store, endings = commons.streams, commons.store, commons.endings
        opened = await streams.open(stream_id)
        if opened is None:
            return
        record, _ = opened
        try:
            if record.is_ended or await self._ledger.is_in_line(record.model_id, stream_id):
                return  # that it had is all that nobody was told: whoever makes it ends it
        finally:
            streams.release(stream_id)
        died = Ending.error(
            ErrorCode.INTERNAL_ERROR, "The server that accepted this died.", retryable=True
        )
        await end_unclaimed(stream_id, died, streams=streams, store=store, endings=endings)

    async def _tell(self, node: str, client_id: str, takes: int) -> None:
        """Tell another node that a client of its is here now; it finds out by itself, too."""
        with suppress(StoreUnavailable):
            await self._commons.nodes.send(node, f"{client_id} {takes}".encode())

    def _told(self, message: bytes) -> None:
        if self._clients is not None:
            client_id, _, takes = message.decode().partition(" ")
            self._clients.moved(client_id, int(takes))

    def _doubted(self) -> None:
        """Messages may have been lost, or all that this Redis knew in its last second."""
        self._ledger.doubt()
        if self._clients is not None:
            self._clients.doubt()

    def _stop_here(self, stream_id: str, ending: Ending) -> bool:
        return self._worker is not None and self._worker.stop(stream_id, ending)

    async def _drained(self) -> None:
        if self._worker is not None and not self._is_alone:
            await self._worker.drained()  # what waits is for the others
        await self._answers.idle()
        if self._worker is not None:
            await self._worker.drained()

    @property
    def _is_alone(self) -> bool:
        """Whether this process has the only worker of the fleet."""
        own = self._commons.nodes.node_id
        return all(worker.node == own for worker in self._fleet.workers)

    async def close(self) -> None:
        """End what `start` began, as far as it came."""
        if self._worker is not None:
            await self._worker.close()
        if self._clients is not None:
            await self._clients.closed()
        self._leave_inbox()
        await self._models.close()
        await self._fleet.close()
        await self._calls.close()
