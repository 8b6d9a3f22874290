"""A process that is known to have died is missed at once, and one that lives after all loses
nothing that others have not taken over."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.jobs import make_job
from tests.support.waiting import eventually_so
from wsserver.core.models.announcements import AnnouncedModel, AnnouncedWorker
from wsserver.core.models.model import ModelStatus
from wsserver.stores.redis import RedisJobQueue, RedisLink, RedisNodes, turn_order
from wsserver.stores.redis import fleet as fleets
from wsserver.stores.redis.deaths import SUCCESSOR_MS, declare_dead
from wsserver.stores.redis.fleet import RedisAnnouncing, read_workers
from wsserver.stores.redis.job_queue import MAX_CLAIMS
from wsserver.stores.redis.queue_keys import queue_keys
from wsserver.stores.redis.rooms.keys import LEASES as ROOM_LEASES
from wsserver.stores.redis.turn_order import RedisTurnOrder


class Process:
    """A worker as Redis sees it."""

    def __init__(self, link: RedisLink) -> None:
        self.nodes = RedisNodes(link)
        self.id = self.nodes.node_id
        self.queue = RedisJobQueue(link, self.id, max_depth=100)
        self.voice = RedisAnnouncing(link, self.id)

    async def live(self) -> None:
        await self.nodes.beat()
        model = AnnouncedModel(id="m", engine="e", kind="chat", status=ModelStatus.READY)
        await self.voice.announce(AnnouncedWorker(node=self.id, models=(model,)))

    async def claimed(self) -> str | None:
        job = await self.queue.claim("m")
        return None if job is None else job.stream_id


@pytest.fixture
async def dying(link: RedisLink) -> Process:
    process = Process(link)
    await process.live()
    return process


@pytest.fixture
async def other(link: RedisLink) -> Process:
    process = Process(link)
    await process.live()
    return process


async def test_its_work_goes_on_elsewhere_at_once(
    link: RedisLink, dying: Process, other: Process
) -> None:
    """What it had claimed stands at the head again in its order; what others hold stays theirs."""
    for number in range(5):
        await other.queue.submit(make_job(f"s{number}", owner="a"), slots=0)
    assert [await dying.claimed() for _ in range(2)] == ["s0", "s1"]
    assert await other.claimed() == "s2"
    await declare_dead(link, dying.id)
    assert [await other.claimed() for _ in range(4)] == ["s0", "s1", "s3", "s4"]
    assert await other.claimed() is None


async def test_it_counts_as_dead(link: RedisLink, dying: Process, other: Process) -> None:
    """Its lease is over, the seats that it had in rooms have their grace, and another one may be
    the reaper; its models are shown for the moment that whoever takes its place needs."""
    await link.command("ZADD", ROOM_LEASES[0], 9e15, dying.id)
    assert await dying.nodes.may_reap()
    await declare_dead(link, dying.id)
    assert await other.nodes.all() == ([other.id], [dying.id])
    assert await other.nodes.may_reap()
    seconds, micros = await link.command("TIME")
    now = int(seconds) * 1000 + int(micros) // 1000
    assert float(await link.command("ZSCORE", ROOM_LEASES[0], dying.id)) <= now
    ends = float(await link.command("ZSCORE", fleets.LEASES, dying.id))
    assert now < ends <= now + SUCCESSOR_MS
    assert {worker.node for worker in await read_workers(link)} == {dying.id, other.id}


async def test_a_job_that_kills_is_given_up(link: RedisLink, other: Process) -> None:
    """Also when each death is told at once: who looks after the line gets it to end it."""
    await other.queue.submit(make_job("s0"), slots=0)
    for _ in range(MAX_CLAIMS):
        process = Process(link)
        await process.live()
        assert await process.claimed() == "s0"
        assert await other.queue.reap("m") == []
        await declare_dead(link, process.id)
    assert await other.claimed() is None
    assert [job.stream_id for job in await other.queue.reap("m")] == ["s0"]


async def test_a_false_word_does_no_harm(link: RedisLink, dying: Process, other: Process) -> None:
    """Who lives after all is told that it was believed dead, and works on; its old claim changes
    nothing of what another has taken over."""
    lapses: list[str] = []
    dying.nodes.on_lapsed = lambda: lapses.append("lapsed")
    await other.queue.submit(make_job("s0"), slots=0)
    assert await dying.claimed() == "s0"
    await declare_dead(link, dying.id)
    assert await other.claimed() == "s0"
    dying.queue.settled("s0")
    await dying.queue.close()
    assert await link.command("ZCARD", queue_keys("m")[6]) == 1  # still the other's
    await dying.live()
    assert lapses == ["lapsed"]
    assert set(await other.nodes.alive()) == {dying.id, other.id}
    await other.queue.submit(make_job("s1"), slots=0)
    assert await dying.claimed() == "s1"


@pytest.mark.parametrize("is_said_again", [False, True])
async def test_its_turns_hold_up_nobody(
    link: RedisLink, monkeypatch: pytest.MonkeyPatch, is_said_again: bool
) -> None:
    """Who waits behind a dead gateway's turn begins once that turn's answer has ended, and does not
    wait for its lease, also where Redis had lost who led it and was told again; a turn of a gateway
    that lives is waited for all the same."""
    session, made, turns = "ada\0s1", {"str_dead"}, "wsserver:{n:nod_dead}:turns"

    async def living(stream_ids: list[str]) -> set[str]:
        return made & set(stream_ids)

    async def is_noted() -> bool:
        return bool(await link.command("EXISTS", turns))

    gone, here, there = (RedisTurnOrder(link, f"nod_{n}", living) for n in ("dead", "1", "2"))
    await gone.arrive(session, "str_dead")
    await eventually_so(is_noted)
    if is_said_again:
        await link.command("DEL", turns)
        monkeypatch.setattr(turn_order, "RENEW_SECONDS", 0.01)
        keeping = asyncio.create_task(gone.keep())
        await eventually_so(is_noted)
        keeping.cancel()
    await here.arrive(session, "str_1")
    await there.arrive(session, "str_2")
    first = asyncio.create_task(here.wait(session, "str_1"))
    second = asyncio.create_task(there.wait(session, "str_2"))
    await declare_dead(link, "nod_dead")
    assert not (await asyncio.wait({first, second}, timeout=0.3))[0]  # it is still made
    made.clear()
    async with asyncio.timeout(5):
        await first
    assert not second.done()
    here.leave(session, "str_1")
    await second


async def test_nothing_comes_of_a_name_that_nobody_has(link: RedisLink, other: Process) -> None:
    """A death that is told twice, or of a process that never lived, leaves no trace."""
    await declare_dead(link, "nod_nobody")
    assert await other.nodes.all() == ([other.id], [])
    assert await link.command("EXISTS", ROOM_LEASES[0]) == 0
    assert [worker.node for worker in await read_workers(link)] == [other.id]
