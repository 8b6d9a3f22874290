"""The shared job queue: who gets a job, leases, and processes that die."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from tests.stores.queue_stage import MakeQueue, claimed, expire, keys_left, record, told
from tests.support.jobs import make_job
from tests.support.waiting import eventually, eventually_so
from wsserver.core.jobs import QueueFull
from wsserver.stores.redis import RedisLink
from wsserver.stores.redis.queue_keys import queue_keys


async def test_a_job_is_claimed_once_and_whole(process: MakeQueue) -> None:
    """Of all processes one gets a job, exactly as it was submitted."""
    gateway, workers = process(), [process() for _ in range(5)]
    job = make_job("s", prompt="grüß 🙂", priority=-3)
    assert await gateway.submit(job, slots=0) == 1
    got = await asyncio.gather(*(worker.claim("m") for worker in workers))
    assert [one for one in got if one is not None] == [job]


async def test_a_job_sent_twice_waits_once(process: MakeQueue) -> None:
    """A submission whose reply was lost may be repeated."""
    queue = process()
    assert await queue.submit(make_job("s"), slots=0) == 1
    assert await queue.submit(make_job("s"), slots=0) == 1
    assert await queue.depth("m") == 1
    assert await claimed(queue) == "s"
    assert await queue.submit(make_job("s"), slots=0) == 0
    assert await claimed(queue) is None


async def test_a_full_queue_refuses(process: MakeQueue) -> None:
    """What free slots will take at once does not count as waiting."""
    queue = process(max_depth=2)
    for number in range(3):
        await queue.submit(make_job(f"s{number}"), slots=1)
    with pytest.raises(QueueFull):
        await queue.submit(make_job("s3"), slots=1)
    await queue.submit(make_job("other", "other"), slots=0)


async def test_a_place_behind_a_great_many_is_never_too_large(process: MakeQueue) -> None:
    """Past the owners that are counted exactly each counts as one, and the follower knows all."""
    queue = process(max_depth=1000)
    jobs = [make_job(f"s{number}", owner=f"o{number % 100}") for number in range(200)]
    for place, job in enumerate(jobs[:100], start=1):
        assert await queue.submit(job, slots=0) == place
    await asyncio.gather(*(queue.submit(job, slots=0) for job in jobs[100:]))
    late = make_job("late", owner="o0")
    told_place = await queue.submit(late, slots=0)
    waiting = record(late)
    queue.follow(waiting)
    await eventually(lambda: waiting.queue_position is not None)
    assert told_place <= 201
    assert waiting.queue_position == 201
    assert told_place > 100


async def test_what_a_dead_process_held_waits_again_at_the_head(
    process: MakeQueue, link: RedisLink
) -> None:
    """When a lease has run out another process gets the job, before its owner's others."""
    dead, alive = process(), process()
    for stream_id in ("s1", "s2"):
        await alive.submit(make_job(stream_id), slots=0)
    assert await claimed(dead) == "s1"
    assert await alive.reap("m") == []
    assert await alive.depth("m") == 1
    await expire(link, "s1")
    assert await alive.reap("m") == []
    assert [await claimed(alive), await claimed(alive)] == ["s1", "s2"]


async def test_a_zombie_ends_nothing_that_is_anothers(process: MakeQueue, link: RedisLink) -> None:
    """Whoever lost a claim can neither end, put back nor prolong the job under the new one."""
    zombie, alive = process(), process()
    job = make_job("s")
    await alive.submit(job, slots=0)
    assert await claimed(zombie) == "s"
    await expire(link, "s")
    await alive.reap("m")
    assert await claimed(alive) == "s"
    await expire(link, "s")
    await zombie.renew()
    zombie.done("m", "a", "s")
    await told(zombie)
    zombie.resubmit(job, record(job))
    await told(zombie)
    assert await alive.depth("m") == 0
    await alive.reap("m")
    assert await alive.depth("m") == 1  # the lease was the living one's, and had run out


async def test_a_process_that_stood_still_goes_on_with_its_own(
    process: MakeQueue, link: RedisLink
) -> None:
    """If nobody took the job meanwhile it is not handed out to its maker again, but held anew."""
    frozen, other = process(), process()
    for stream_id in ("s1", "s2"):
        await other.submit(make_job(stream_id), slots=0)
    assert await claimed(frozen) == "s1"
    await expire(link, "s1")
    await other.reap("m")
    assert await claimed(frozen) == "s2"
    for stream_id in ("s1", "s2"):
        frozen.settled(stream_id)
    await told(frozen)
    assert await keys_left(link) == []


async def test_renewed_leases_last(process: MakeQueue, link: RedisLink) -> None:
    """What a process says it holds is not taken from it."""
    worker = process()
    await worker.submit(make_job("s"), slots=0)
    await claimed(worker)
    await expire(link, "s")
    await worker.renew()
    await worker.reap("m")
    assert await worker.depth("m") == 0


async def test_what_is_held_is_said_at_once_when_redis_is_back(
    process: MakeQueue, link: RedisLink
) -> None:
    """It may have lost all of it, and whoever holds it may die before it would be said again."""
    worker = process()
    await worker.submit(make_job("s"), slots=0)
    await claimed(worker)
    for key in await keys_left(link):
        await link.command("DEL", key)
    keeping = asyncio.create_task(worker.keep())
    await asyncio.sleep(0)  # it has begun to wait
    for came_up in tuple(worker._link.on_up):
        came_up()

    async def is_leased() -> bool:
        return await link.command("ZSCORE", queue_keys("m")[6], "s") is not None

    await eventually_so(is_leased, 3.0)
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping


async def test_a_free_slot_is_not_the_end(process: MakeQueue, link: RedisLink) -> None:
    """Between the last token and the written end the job is still in its worker's keeping."""
    worker, other = process(), process()
    await worker.submit(make_job("s"), slots=0)
    await claimed(worker)
    worker.done("m", "a", "s")
    await told(worker)
    await expire(link, "s")
    await other.reap("m")
    assert await claimed(other) == "s"


async def test_a_job_that_kills_its_workers_is_given_up(
    process: MakeQueue, link: RedisLink
) -> None:
    """After three dead workers the reaper gets it to end it; if he dies too, the next one does."""
    queue = process()
    await queue.submit(make_job("s"), slots=0)
    for _ in range(3):
        worker = process()
        assert await worker.reap("m") == []
        assert await claimed(worker) == "s"
        await expire(link, "s")
    first, second = process(), process()
    assert [job.stream_id for job in await first.reap("m")] == ["s"]
    assert await second.reap("m") == []
    await expire(link, "s")
    assert [job.stream_id for job in await second.reap("m")] == ["s"]
    second.settled("s")
    await told(second)
    assert await keys_left(link) == []


async def test_a_dead_engine_is_no_dead_worker(process: MakeQueue) -> None:
    """Putting back does not count against the job, and it waits at the head."""
    worker = process()
    for stream_id in ("s1", "s2"):
        await worker.submit(make_job(stream_id), slots=0)
    for _ in range(5):
        job = await worker.claim("m")
        assert job is not None
        assert job.stream_id == "s1"
        worker.resubmit(job, record(job))
        await told(worker)
    assert await worker.depth("m") == 2


async def test_a_claim_that_is_cancelled_gives_its_job_back(process: MakeQueue) -> None:
    """A runner that goes away while it asks for work leaves the job to the next one, at once."""
    queue, other = process(), process()
    await queue.submit(make_job("s"), slots=0)
    claiming = asyncio.create_task(queue.claim("m"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    claiming.cancel()
    await asyncio.wait({claiming})
    assert claiming.cancelled()
    got: list[str] = []

    async def ask() -> None:
        while not got:
            if (stream_id := await claimed(other)) is not None:
                got.append(stream_id)

    await asyncio.wait_for(ask(), 5)
    assert got == ["s"]


async def test_exactly_one_takes_a_job_out(process: MakeQueue, link: RedisLink) -> None:
    """A waiting job is removed by one process or claimed by one, never both."""
    processes = [process() for _ in range(4)]
    await processes[0].submit(make_job("s"), slots=0)
    removing = [queue.remove("m", "s") for queue in processes[:2]]
    claiming = [queue.claim("m") for queue in processes[2:]]
    got = await asyncio.gather(*removing, *claiming)
    assert [job for job in got if job is not None] == [make_job("s")]


async def test_whoever_removes_a_job_may_die_too(process: MakeQueue, link: RedisLink) -> None:
    """A removed job that nobody ended waits again, for a worker to end."""
    gateway, worker = process(), process()
    await gateway.submit(make_job("s"), slots=0)
    assert await gateway.remove("m", "s") == make_job("s")
    assert await gateway.remove("m", "none") is None
    assert await claimed(worker) is None
    await expire(link, "s")
    await worker.reap("m")
    assert await claimed(worker) == "s"


async def test_a_drained_queue_is_empty(process: MakeQueue, link: RedisLink) -> None:
    """All that waits is handed to one caller, and what runs is not touched."""
    queue = process()
    for number in range(4):
        await queue.submit(make_job(f"s{number}", owner=f"o{number % 2}"), slots=0)
    running = await queue.claim("m")
    assert running is not None
    drained = await queue.drain("m")
    assert {job.stream_id for job in drained} | {running.stream_id} == {f"s{n}" for n in range(4)}
    assert await queue.depth("m") == 0
    for job in (*drained, running):
        queue.settled(job.stream_id)
    await told(queue)
    assert await keys_left(link) == []


async def test_every_key_ends_by_itself(process: MakeQueue, link: RedisLink) -> None:
    """What nobody asks for any more is gone a day later."""
    queue = process()
    for number in range(3):
        await queue.submit(make_job(f"s{number}"), slots=0)
    await queue.claim("m")
    left = await keys_left(link)
    assert len(left) == 8
    ends = [await link.command("PTTL", key) for key in left]
    assert all(0 < end <= 86_400_000 for end in ends)


async def test_free_slots_are_known_from_the_claims(process: MakeQueue) -> None:
    """What a free slot takes has no place in line; a slot is free with its job's `done`."""
    queue = process()
    assert await queue.submit(make_job("s1"), slots=2) == 0
    assert await claimed(queue) == "s1"
    assert await queue.submit(make_job("s2"), slots=2) == 0
    assert await queue.submit(make_job("s3"), slots=2) == 1
    assert await claimed(queue) == "s2"
    assert await queue.submit(make_job("s4"), slots=2) == 2
    queue.done("m", make_job("s1").owner, "s1")
    await told(queue)
    assert await claimed(queue) == "s3"
    assert await queue.submit(make_job("s5"), slots=2) == 2
