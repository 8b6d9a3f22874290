"""Processes die at any point of a job's way: no job is lost, none is held for ever."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.jobs import make_job
from tests.support.redis import RedisProcess
from wsserver.core.ids import new_id
from wsserver.core.jobs import Job
from wsserver.core.streams import StreamRecord
from wsserver.stores.redis import RedisJobQueue, RedisLink
from wsserver.stores.redis.deaths import bereave
from wsserver.stores.redis.queue_keys import queue_keys

MODELS = itertools.count()

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["submit", "submit", "claim", "claim", "free", "end", "put back", "remove"]
            + ["die", "die seen"]
        ),
        st.integers(0, 2),
        st.integers(0, 9),
    ),
    max_size=50,
)


class Process:
    """One that claims and ends; ``held`` is what it believes to hold."""

    def __init__(self, link: RedisLink) -> None:
        self.node = new_id("nod")
        self.queue = RedisJobQueue(link, self.node, max_depth=1000)
        self.held: list[Job] = []

    async def told(self) -> None:
        if self.queue._sending is not None:
            await self.queue._sending


class Fleet:
    """Three processes, each of which is replaced by another when it dies."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self.model_id = f"mortal-{next(MODELS)}"
        self.processes = [Process(link) for _ in range(3)]
        self.numbers = itertools.count()
        self.submitted: set[str] = set()
        self.ended: list[str] = []

    async def take(self, what: str, who: int, number: int) -> None:
        process = self.processes[who]
        if what == "submit":
            job = make_job(f"s{next(self.numbers)}", self.model_id, f"o{number % 3}")
            await process.queue.submit(job, slots=0)
            self.submitted.add(job.stream_id)
        elif what == "claim":
            self.hold(process, await process.queue.claim(self.model_id))
        elif what == "remove":
            self.hold(process, await process.queue.remove(self.model_id, f"s{number}"))
        elif what == "die":
            await self.die(who)
        elif what == "die seen":
            await bereave(self.link, self.model_id, process.node)
            self.processes[who] = Process(self.link)
            await self.reap(who)
        elif process.held:
            job = process.held[number % len(process.held)]
            if what == "free":
                process.queue.done(self.model_id, job.owner, job.stream_id)
            elif what == "end":
                self.end(process, job)
            else:
                process.held.remove(job)
                process.queue.resubmit(job, StreamRecord(job.stream_id, self.model_id, 0.0))
            await process.told()

    def hold(self, process: Process, job: Job | None) -> None:
        if job is None:
            return
        holders = [p for p in self.processes if job in p.held]
        assert holders == [], f"{job.stream_id} is held twice"
        process.held.append(job)

    def end(self, process: Process, job: Job) -> None:
        process.held.remove(job)
        process.queue.settled(job.stream_id)
        self.ended.append(job.stream_id)

    async def die(self, who: int) -> None:
        """Replace a process; the leases of what it held have run out when the others look."""
        for job in self.processes[who].held:
            await self.link.command("ZADD", queue_keys(self.model_id)[6], "XX", 1, job.stream_id)
        self.processes[who] = Process(self.link)
        await self.reap(who)

    async def reap(self, who: int) -> None:
        heir = self.processes[(who + 1) % 3]
        for job in await heir.queue.reap(self.model_id):
            self.hold(heir, job)

    async def finish(self) -> None:
        """Let the living end all that is left."""
        last = self.processes[0]
        for process in self.processes:
            while process.held:
                self.end(process, process.held[0])
            await process.told()
        while (job := await last.queue.claim(self.model_id)) is not None:
            self.hold(last, job)
            self.end(last, job)
        await last.told()


@given(STEPS)
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_job_is_lost_whoever_dies(
    redis_server: RedisProcess, steps: list[tuple[str, int, int]]
) -> None:
    """Each job is held by one process at a time and ended once, and then no key is left."""

    async def run() -> None:
        link = RedisLink.open(redis_server.url)
        fleet = Fleet(link)
        try:
            for step in steps:
                await fleet.take(*step)
            await fleet.finish()
            assert sorted(fleet.ended) == sorted(fleet.submitted)
            keys = queue_keys(fleet.model_id)
            assert [await link.command("EXISTS", key) for key in keys] == [0] * len(keys)
        finally:
            await link.close()

    asyncio.run(run())
