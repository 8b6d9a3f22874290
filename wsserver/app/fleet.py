"""A gateway of a fleet: answers are made by workers, one of which may be this very process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wsserver.app.backend import Backend, Task
from wsserver.app.commons import Commons
from wsserver.config import Config
from wsserver.core.models.fleet import FleetModels
from wsserver.core.shared.admission import Admission
from wsserver.core.shared.answers import SharedAnswers
from wsserver.core.shared.limits import DeferredLimits
from wsserver.core.shared.turns import SharedTurns
from wsserver.core.streams import Ending
from wsserver.stores.redis import RedisIdempotency
from wsserver.stores.redis.calls import Handler, RedisCalls
from wsserver.stores.redis.fleet import RedisFleet
from wsserver.stores.redis.turn_order import RedisTurnOrder


async def fleet_gateway(
    config: Config,
    commons: Commons,
    *,
    stop_here: Callable[[str, Ending], bool],
    handler: Handler | None = None,
) -> Backend:
    """The backend of a gateway.

    Args:
        config: The configuration.
        commons: The way to what is shared.
        stop_here: Ends an answer that this very process makes; False if it makes none of that id.
        handler: Serves the fleet's calls where this process is a worker, too.
    """
    link, node = commons.link, commons.nodes.node_id
    calls = RedisCalls(link, node, handler)
    fleet = RedisFleet(link, calls)
    models = FleetModels(fleet)
    answers = SharedAnswers(
        streams=commons.streams,
        queue=commons.queue,
        admission=Admission(
            RedisIdempotency(link, config.idempotency.retention_seconds), commons.limits
        ),
        cache=commons.cache,
        store=commons.store,
        endings=commons.endings,
        models=models,
        stop_here=stop_here,
        retention=config.streams.retention_seconds,
        max_wait=config.limits.queue_seconds,
    )
    order = RedisTurnOrder(link, commons.streams.living)

    async def close() -> None:
        await models.close()
        await fleet.close()
        await calls.close()

    await asyncio.gather(calls.start(), fleet.start())
    tasks: tuple[Task, ...] = (commons.nodes.keep, order.keep, commons.queue.keep)
    return Backend(
        answers=answers,
        models=models,
        limits=DeferredLimits(commons.limits),
        broker=commons.rooms.broker,
        presence=commons.rooms.presence,
        load_models=lambda: None,
        close=close,
        is_shared=True,
        elsewhere=SharedTurns(answers, order),
        tasks=tasks,
    )
