"""What a process of a fleet shares with the others, whether it is a gateway, a worker or both."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from wsserver.app.policies import limit_policy
from wsserver.config import Config
from wsserver.core.ask import Answer
from wsserver.core.rooms import RoomBroker
from wsserver.core.rooms.asks import answer_draft
from wsserver.core.sessions.store import SessionStore, StoreUnavailable
from wsserver.core.shared.endings import Endings
from wsserver.core.shared.ports import SharedCache
from wsserver.core.telemetry import Telemetry
from wsserver.stores.redis import (
    RedisJobQueue,
    RedisLimits,
    RedisLink,
    RedisNodes,
)
from wsserver.stores.redis.response_cache import RedisResponseCache
from wsserver.stores.redis.streams import RedisStreams
from wsserver.stores.rooms import RoomStores, open_room_stores

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
    rooms: RoomStores
    endings: Endings

    async def close(self) -> None:
        """Take leave, and close the way. Without Redis the leases end by themselves."""
        await self.queue.close()
        await self.streams.close()
        try:
            await self.nodes.leave()
        except StoreUnavailable as error:
            log.warning("this node can't take leave; its lease ends by itself: %s", error)
        await self.link.close()


def open_commons(config: Config, telemetry: Telemetry, store: SessionStore) -> Commons:
    """The way to the Redis of the configuration. Nothing is asked of it yet.

    Raises:
        ValueError: If its address is none of Redis.
    """
    link = RedisLink.open(config.redis.url)
    nodes = RedisNodes(link)
    streams = RedisStreams(link, nodes.node_id, retention=config.streams.retention_seconds)
    limits = RedisLimits(link, limit_policy(config), lambda ids: streams.living(list(ids)))
    cache = RedisResponseCache(
        link,
        entries=config.cache.entries,
        size=config.cache.bytes,
        ttl=config.cache.ttl_seconds,
    )
    rooms = open_room_stores(config)
    endings = Endings(
        limits=limits,
        cache=cache,
        telemetry=telemetry,
        log_answer=lambda answer: _log_answer(rooms.broker, answer),
    )
    return Commons(
        link=link,
        nodes=nodes,
        streams=streams,
        queue=RedisJobQueue(link, max_depth=config.limits.queue_per_model),
        limits=limits,
        cache=cache,
        store=store,
        rooms=rooms,
        endings=endings,
    )


async def _log_answer(broker: RoomBroker, answer: Answer) -> int | None:
    entry = await broker.answer(answer.ask.room_id or "", answer_draft(answer))
    return None if entry is None else entry.seq
