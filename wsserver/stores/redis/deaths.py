"""Declaring a process dead, on the word of who has seen it die.

Without that it is missed only when its leases run out. Declared dead it is treated as it would be
then, at once, and by the same means, which bear that it lives after all: what it had claimed is
another's and its writes are refused, it says again which clients it has, and its models are there
with its next announcement. A lease that is not found here runs out by itself.
"""

from __future__ import annotations

import asyncio

from wsserver.stores.redis import fleet, nodes, turn_order
from wsserver.stores.redis.job_queue import MAX_CLAIMS
from wsserver.stores.redis.link import PUBLISH, RedisLink
from wsserver.stores.redis.queue_keys import claims_of, queue_bell, queue_keys
from wsserver.stores.redis.rooms.keys import LEASES as ROOM_LEASES

SUCCESSOR_MS = 3000
"""For how long its models are still shown: whoever takes its place tells of them by then. Else they
would be away in between, and requests that could wait would be refused."""


async def declare_dead(link: RedisLink, node_id: str) -> None:
    """End the leases of a process that has died, so that others go on with what it had.

    Raises:
        StoreUnavailable: If Redis is away; some of its leases may have been ended.
    """
    workers = await fleet.read_workers(link)
    models = {model.id for worker in workers for model in worker.models}
    await asyncio.gather(
        link.call("nodes/leave", nodes.KEYS, (node_id,)),
        link.call("leases/shorten", [fleet.LEASES], (node_id, SUCCESSOR_MS)),
        link.call("leases/shorten", ROOM_LEASES, (node_id, 0)),
        turn_order.end_leases(link, node_id),
        *(bereave(link, model_id, node_id) for model_id in models),
    )


async def bereave(link: RedisLink, model_id: str, node_id: str) -> None:
    """Give what a dead process had of one model's queue back to the head of its line.

    Raises:
        StoreUnavailable: If Redis is away.
    """
    args = (queue_bell(model_id), claims_of(node_id), MAX_CLAIMS, PUBLISH)
    await link.call("queue/bereave", queue_keys(model_id), args)
