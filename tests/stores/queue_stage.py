"""Helpers of the shared queue's tests: what a process claims, and leases that run out."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.waiting import eventually
from wsserver.core.jobs import Job
from wsserver.core.streams import StreamRecord
from wsserver.stores.redis import RedisJobQueue, RedisLink
from wsserver.stores.redis.queue_keys import queue_keys

MakeQueue = Callable[..., RedisJobQueue]


def record(job: Job) -> StreamRecord:
    return StreamRecord(job.stream_id, job.model_id, 0.0)


async def claimed(queue: RedisJobQueue, model_id: str = "m") -> str | None:
    job = await queue.claim(model_id)
    return None if job is None else job.stream_id


async def told(queue: RedisJobQueue) -> None:
    """Until Redis has taken what the queue tells it."""
    await eventually(lambda: not queue._steps)


async def expire(link: RedisLink, stream_id: str) -> None:
    """Let a lease have run out."""
    await link.command("ZADD", queue_keys("m")[6], "XX", 1, stream_id)


async def keys_left(link: RedisLink) -> list[bytes]:
    return [key async for key in link.scan("wsserver:*")]
