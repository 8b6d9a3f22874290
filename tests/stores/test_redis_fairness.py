"""The order in Redis is that of core: the same steps, and at each the same who, where and when."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.jobs import make_job
from tests.support.redis import RedisProcess
from wsserver.core.fairness import FairQueue
from wsserver.core.jobs import Job
from wsserver.core.streams import StreamRecord
from wsserver.stores.redis import RedisJobQueue, RedisLink
from wsserver.stores.redis.link import PUBLISH
from wsserver.stores.redis.places import _order
from wsserver.stores.redis.queue_keys import queue_bell, queue_keys

MODELS = itertools.count()

Step = tuple[str, str, int, int]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["push", "push", "pop", "charge", "done", "remove", "resubmit"]),
        st.sampled_from("abcde"),
        st.integers(-2, 2),
        st.integers(0, 3000),
    ),
    max_size=60,
)


class Twins:
    """One queue in memory and one in Redis, that are told the same."""

    def __init__(self, link: RedisLink) -> None:
        self.model_id = f"model-{next(MODELS)}"
        self.link = link
        self.memory = FairQueue()
        self.shared = RedisJobQueue(link, "nod_1", max_depth=1000)
        self.waiting: list[str] = []
        self.running: list[Job] = []
        self.numbers = itertools.count()

    async def begin(self) -> None:
        """Have Redis know the script of charges: nobody waits for those, and the first one that a
        Redis has not heard of comes after what was asked behind it."""
        args = (queue_bell(self.model_id), PUBLISH)
        await self.link.call("queue/charge", queue_keys(self.model_id), args)

    async def take(self, step: Step) -> None:
        what, owner, priority, number = step
        match what:
            case "push":
                await self.push(owner, priority, number)
            case "pop":
                await self.pop()
            case "charge":
                self.memory.charge(owner, number / 7)
                self.shared.charge(self.model_id, owner, number / 7)
                await self.shared.renew()
            case "done" if self.running:
                await self.end(self.running.pop(number % len(self.running)))
            case "remove" if self.waiting:
                await self.remove(self.waiting.pop(number % len(self.waiting)))
            case "resubmit" if self.running:
                await self.put_back(self.running.pop(number % len(self.running)))

    async def push(self, owner: str, priority: int, length: int) -> None:
        stream_id = f"str_{next(self.numbers)}"
        job = make_job(stream_id, self.model_id, owner, priority=priority, prompt="x" * length)
        self.memory.push(job, StreamRecord(stream_id, self.model_id, 0.0))
        self.waiting.append(stream_id)
        place = await self.shared.submit(job, slots=0)
        assert place == self.memory.place(stream_id)

    async def pop(self) -> None:
        entry = self.memory.pop()
        job = await self.shared.claim(self.model_id)
        assert (entry.job if entry else None) == job
        if job is not None:
            self.waiting.remove(job.stream_id)
            self.running.append(job)

    async def end(self, job: Job) -> None:
        self.memory.done(job.owner)
        self.shared.done(self.model_id, job.owner, job.stream_id)
        await self.told()
        self.shared.settled(job.stream_id)
        await self.told()

    async def remove(self, stream_id: str) -> None:
        assert self.memory.remove(stream_id)
        job = await self.shared.remove(self.model_id, stream_id)
        assert job is not None
        self.shared.settled(stream_id)
        await self.told()

    async def put_back(self, job: Job) -> None:
        record = StreamRecord(job.stream_id, self.model_id, 0.0)
        self.memory.push_front(job, record)
        self.memory.done(job.owner)
        self.shared.resubmit(job, record)
        self.waiting.append(job.stream_id)
        await self.told()

    async def told(self) -> None:
        """Until Redis has taken what it was told."""
        if self.shared._sending is not None:
            await self.shared._sending

    async def compare(self) -> None:
        args = (queue_bell(self.model_id), PUBLISH)
        order = _order(await self.link.call("queue/order", queue_keys(self.model_id), args))
        assert order == [entry.job.stream_id for entry in self.memory.in_order()]


@given(STEPS)
@example([("push", "a", 0, 4), ("push", "b", 0, 4), ("charge", "a", 0, 70)])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_order_is_that_of_core(redis_server: RedisProcess, steps: list[Step]) -> None:
    """Who is next, each place in line and the whole order are the same after every step."""

    async def run() -> None:
        link = RedisLink.open(redis_server.url)
        twins = Twins(link)
        try:
            await twins.begin()
            for step in steps:
                await twins.take(step)
                await twins.compare()
        finally:
            await twins.shared.close()
            await link.close()

    asyncio.run(run())
