"""The shared job queue: bells, places in line, and a Redis that is away or has lost its data."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.stores.queue_stage import MakeQueue, claimed, expire, record, told
from tests.support.jobs import make_job
from tests.support.redis import running_redis
from tests.support.waiting import eventually
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.streams import Ending, StreamRecord
from wsserver.stores.redis import RedisJobQueue, RedisLink, places
from wsserver.stores.redis.queue_keys import queue_keys
from wsserver_protocol.lifecycle import StopReason, StreamState


async def test_free_slots_are_told_of_work(process: MakeQueue) -> None:
    """A bell rings in each process that listens, and in none any more after the unsubscription."""
    gateway, worker = process(), process()
    rung = asyncio.Event()
    unsubscribe = worker.subscribe("m", rung.set)
    await asyncio.wait_for(rung.wait(), 5)  # at the beginning: there may be work already
    rung.clear()
    await gateway.submit(make_job("s"), slots=0)
    await asyncio.wait_for(rung.wait(), 5)
    unsubscribe()
    assert not worker._bells


async def test_places_are_told_where_someone_waits(process: MakeQueue) -> None:
    """A record's place is kept current by whatever any process does, until it is claimed."""
    gateway, worker = process(), process()
    records = []
    for number in range(3):
        job = make_job(f"s{number}")
        records.append(record(job))
        await gateway.submit(job, slots=0)
        gateway.follow(records[-1])
    await eventually(lambda: [r.queue_position for r in records] == [1, 2, 3])
    await worker.remove("m", "s0")
    await eventually(lambda: [r.queue_position for r in records] == [None, 1, 2])
    await worker.claim("m")
    await eventually(lambda: [r.queue_position for r in records] == [None, None, 1])


async def test_a_lost_queue_is_noticed(
    process: MakeQueue, link: RedisLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis lost its data: what waits is reported lost, and what runs is held again."""
    monkeypatch.setattr("wsserver.stores.redis.places.LOST_SECONDS", 0.2)
    gateway, worker, other = process(), process(), process()
    lost: list[StreamRecord] = []
    gateway.on_lost = lost.append
    await gateway.submit(make_job("runs"), slots=0)
    assert await claimed(worker) == "runs"
    waiting = record(make_job("waits"))
    await gateway.submit(make_job("waits"), slots=0)
    gateway.follow(waiting)
    await link.command("DEL", *queue_keys("m"))
    await worker.renew()
    await eventually(lambda: lost == [waiting])
    await expire(link, "runs")
    await other.reap("m")
    assert await claimed(other) == "runs"


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_a_lost_maker_is_noticed(
    process: MakeQueue, link: RedisLink, monkeypatch: pytest.MonkeyPatch, is_stopped: bool
) -> None:
    """Redis forgot who makes an answer, and he has died: who lined it up notices, and who only
    looks at it. One that somebody says he makes is not lost, nor what is in no line yet."""
    monkeypatch.setattr(places, "WATCH_SECONDS", 0.1)
    monkeypatch.setattr(places, "UNMADE_SECONDS", 0.5)
    gateway, visited, dead, worker = process(), process(), process(), process()
    lost: list[tuple[RedisJobQueue, str]] = []
    for queue in (gateway, visited):
        queue.on_lost = lambda record, queue=queue: lost.append((queue, record.stream_id))  # type: ignore[misc]
    for name, maker in (("orphan", dead), ("made", worker)):
        await gateway.submit(make_job(name), slots=0)
        assert await claimed(maker) == name
        for follow in (gateway.follow, visited.watch):
            answer = record(make_job(name))
            answer.state = StreamState.RUNNING
            answer.cancel = Ending.stopped(StopReason.CLIENT, "a") if is_stopped else None
            follow(answer)
    visited.watch(record(make_job("led")))
    await link.command("DEL", *queue_keys("m"))
    await worker.renew()
    await eventually(lambda: len(lost) == 2)
    assert {(queue, name) for queue, name in lost} == {(gateway, "orphan"), (visited, "orphan")}


async def test_redis_that_is_away_stops_no_runner(tmp_path: Path) -> None:
    """Claims find nothing, ends are kept and told when it is back, and the bell rings then."""
    with running_redis(tmp_path) as server:
        link = RedisLink.open(server.url)
        queue = RedisJobQueue(link, "nod_1", max_depth=10)
        for number in range(3):
            await queue.submit(make_job(f"s{number}"), slots=0)
        first, second = await queue.claim("m"), await queue.claim("m")
        assert first is not None
        assert second is not None
        server.stop()
        assert await queue.claim("m") is None
        with pytest.raises(StoreUnavailable):
            await queue.renew()
        queue.settled(first.stream_id)
        queue.charge("m", "a", 5.0)
        queue.resubmit(second, record(second))
        with pytest.raises(StoreUnavailable):
            await queue.submit(make_job("s3"), slots=0)
        rung = asyncio.Event()
        queue.subscribe("m", rung.set)
        server.start()
        await asyncio.wait_for(rung.wait(), 10)
        await told(queue)
        assert [await claimed(queue) for _ in range(3)] == ["s1", "s2", None]
        await queue.close()
        await link.close()
