"""What a process of a fleet shares with the others, whether it is a gateway, a worker or both."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from wsserver.app.application import CannotStart
from wsserver.app.mourning import Mourner
from wsserver.app.policies import limit_policy
from wsserver.config import Config
from wsserver.config.handover import Lifeline
from wsserver.core.ask import Answer
from wsserver.core.rooms import RoomBroker
from wsserver.core.rooms.asks import answer_draft
from wsserver.core.sessions.store import SessionStore, StoreUnavailable
from wsserver.core.shared.endings import RETRY_EVERY, Endings
from wsserver.core.shared.ports import SharedCache
from wsserver.core.telemetry import Telemetry
from wsserver.stores.redis import (
    RedisJobQueue,
    RedisLimits,
    RedisLink,
    RedisNodes,
)
from wsserver.stores.redis.response_cache import RedisResponseCache
from wsserver.stores.redis.rooms import RedisPresence, RedisRoomBroker
from wsserver.stores.redis.streams import RedisStreams
from wsserver.stores.rooms import room_bounds
from wsserver_protocol.errors import ErrorCode, WireError

SEAT_GRACE = 30.0
"""Seconds for which the seats of a dead process outlive the resume window of its clients. Those are
cleared one by one, and leave their rooms then; this is for what was not known of them in time."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commons:
    """One process's way to everything that the fleet shares."""

    link: RedisLink
    nodes: RedisNodes
    streams: RedisStreams
    queue: RedisJobQueue
    limits: RedisLimits
    cache: SharedCache
    store: SessionStore
    broker: RedisRoomBroker
    presence: RedisPresence
    endings: Endings
    mourner: Mourner
    telemetry: Telemetry

    async def close(self) -> None:
        """Take leave, and close the way. Without Redis the leases end by themselves."""
        await self.queue.close()
        await self.streams.close()
        await self.broker.close()
        try:
            await self.nodes.leave()
        except StoreUnavailable as error:
            log.warning("this node can't take leave; its lease ends by itself: %s", error)
        await self.link.close()


def open_commons(
    config: Config, telemetry: Telemetry, store: SessionStore, lifeline: Lifeline
) -> Commons:
    """The way to the Redis of the configuration. Nothing is asked of it yet.

    Raises:
        CannotStart: If its address is none of Redis.
    """
    try:
        link = RedisLink.open(config.redis.url)
    except ValueError as error:
        raise CannotStart(f"redis.url: {error}") from error
    nodes = RedisNodes(link, lifeline.node)
    streams = RedisStreams(
        *(link, nodes.node_id),
        retention=config.streams.retention_seconds,
        window=config.resume.window_seconds,
    )
    limits = RedisLimits(link, limit_policy(config), lambda ids: streams.living(list(ids)))
    cache = RedisResponseCache(
        link,
        entries=config.cache.entries,
        size=config.cache.bytes,
        ttl=config.cache.ttl_seconds,
    )
    broker = RedisRoomBroker(link, nodes.node_id, room_bounds(config))
    grace = config.resume.window_seconds + SEAT_GRACE
    presence = RedisPresence(link, broker, grace, lambda ids: streams.living(list(ids)))
    endings = Endings(
        limits=limits,
        cache=cache,
        telemetry=telemetry,
        log_answer=lambda answer: _log_answer(broker, answer),
    )
    return Commons(
        link=link,
        nodes=nodes,
        streams=streams,
        queue=RedisJobQueue(link, nodes.node_id, max_depth=config.limits.queue_per_model),
        limits=limits,
        cache=cache,
        store=store,
        broker=broker,
        presence=presence,
        endings=endings,
        mourner=Mourner(link, lifeline),
        telemetry=telemetry,
    )


async def _log_answer(broker: RoomBroker, answer: Answer) -> int | None:
    """Log it; wait for a store that is away, since the end itself can't be told before."""
    room_id, draft = answer.ask.room_id or "", answer_draft(answer)
    while True:
        try:
            entry = await broker.answer(room_id, draft)
        except WireError as error:
            if error.code is not ErrorCode.STORE_UNAVAILABLE:
                raise
            await asyncio.sleep(RETRY_EVERY)
        else:
            return None if entry is None else entry.seq
