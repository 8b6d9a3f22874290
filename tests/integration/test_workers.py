"""Workers as real processes over a real Redis: answers outlive them."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.support.redis import RedisProcess, redis_is_installed
from tests.support.waiting import eventually, eventually_so
from tests.support.workers import Asker, WorkerProcess, asking, running_workers
from wsserver.core.streams import Ending, EndKind, StreamRecord
from wsserver_protocol.lifecycle import FinishReason, StopReason

pytestmark = pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)

SOURCE = "synthetic:?tps=100&slots=2&ttft_ms=0"


async def ended(record: StreamRecord, seconds: float = 30.0) -> Ending:
    await eventually(lambda: record.is_ended, seconds)
    assert record.ending is not None
    return record.ending


async def nothing_is_left(asker: Asker) -> None:
    """No lease, no job, no slot of what has ended. A lease ends a moment after the answer."""

    async def no_lease() -> bool:
        leases = [key async for key in asker.link.scan("wsserver:{q:*") if b"lease" in key]
        return not any([await asker.link.command("ZCARD", key) for key in leases])

    await eventually_so(no_lease)
    await eventually(lambda: all(model.busy == 0 for model in asker.models.all()))


async def test_answers_are_made_by_any_worker(redis: RedisProcess, tmp_path: Path) -> None:
    """What is put in line on one process is made by others, and read where it was asked for."""
    async with (
        asking(redis.url) as asker,
        running_workers(tmp_path, redis.url, 2, SOURCE),
    ):
        await asker.ready(slots=4)
        records = [await asker.ask(30) for _ in range(6)]
        for record in records:
            ending = await ended(record)
            assert (ending.kind, ending.finish_reason) == (EndKind.COMPLETE, FinishReason.LENGTH)
            assert record.transcript.text == records[0].transcript.text
            assert ending.facts is not None
            assert (ending.facts.tokens, ending.facts.prompt_tokens) == (30, 1)
        await nothing_is_left(asker)


async def test_a_killed_worker_is_taken_over(redis: RedisProcess, tmp_path: Path) -> None:
    """kill -9 in the middle of an answer: another worker goes on from its text to the same end."""
    async with (
        asking(redis.url) as asker,
        running_workers(tmp_path, redis.url, 2, SOURCE) as workers,
    ):
        await asker.ready(slots=4)
        whole = await asker.ask(300)
        await ended(whole)
        await asker.idle()
        record = await asker.ask(300)
        victim = workers[await asker.busy()]
        await eventually(lambda: len(record.transcript) > 20)
        victim.signal(signal.SIGKILL)
        ending = await ended(record, 45)
        assert ending.kind is EndKind.COMPLETE
        assert record.transcript.text == whole.transcript.text
        assert record.fence == 2
        await nothing_is_left(asker)


async def test_a_death_that_is_seen_costs_no_lease(redis: RedisProcess, tmp_path: Path) -> None:
    """kill -9 of a worker whose supervisor lives: another one goes on long before the leases end,
    and its host has a worker again."""
    async with (
        asking(redis.url) as asker,
        running_workers(tmp_path, redis.url, 2, SOURCE, has_supervisor=True) as workers,
    ):
        await asker.ready(slots=4)
        whole = await asker.ask(400)
        await ended(whole)
        await asker.idle()
        record = await asker.ask(400)
        busy = await asker.busy()
        await eventually(lambda: len(record.transcript) > 20)
        (victim,) = workers[busy].children()
        victim.kill()
        ending = await ended(record, 10)  # of which it is made for four
        assert ending.kind is EndKind.COMPLETE
        assert record.transcript.text == whole.transcript.text
        await eventually(
            lambda: (
                len(asker.fleet.workers) == 2
                and busy not in {worker.node for worker in asker.fleet.workers}
            ),
            15,
        )
        await nothing_is_left(asker)
        for worker in workers.values():
            worker.signal(signal.SIGTERM)
            assert await worker.ended() == 0, worker.log()


async def test_a_worker_that_ends_hands_over(redis: RedisProcess, tmp_path: Path) -> None:
    """SIGTERM: what has not ended within the drain goes on elsewhere at once, and the exit is 0."""
    async with (
        asking(redis.url) as asker,
        running_workers(tmp_path, redis.url, 2, SOURCE) as workers,
    ):
        await asker.ready(slots=4)
        whole = await asker.ask(400)
        await ended(whole)
        await asker.idle()
        record = await asker.ask(400)
        leaving = workers[await asker.busy()]
        leaving.signal(signal.SIGTERM)
        assert await leaving.ended() == 0, leaving.log()
        ending = await ended(record, 8)  # long before a lease would have run out
        assert ending.kind is EndKind.COMPLETE
        assert record.transcript.text == whole.transcript.text
        await eventually(lambda: len(asker.fleet.workers) == 1)
        assert '"level":"error"' not in leaving.log()
        await nothing_is_left(asker)


async def test_a_worker_that_stood_still_is_refused(redis: RedisProcess, tmp_path: Path) -> None:
    """SIGSTOP for longer than a lease: another goes on, and what the first then writes is void."""
    async with (
        asking(redis.url) as asker,
        running_workers(tmp_path, redis.url, 2, SOURCE) as workers,
    ):
        await asker.ready(slots=4)
        whole = await asker.ask(600)
        await ended(whole)
        await asker.idle()
        record = await asker.ask(600)
        zombie = workers[await asker.busy()]
        await eventually(lambda: len(record.transcript) > 20)
        zombie.signal(signal.SIGSTOP)
        try:
            await eventually(lambda: record.fence == 2, 30)
        finally:
            zombie.signal(signal.SIGCONT)
        assert (await ended(record)).kind is EndKind.COMPLETE
        assert record.transcript.text == whole.transcript.text
        await asker.ready(slots=4)  # it is back
        assert (await ended(await asker.ask(5))).kind is EndKind.COMPLETE
        await nothing_is_left(asker)


async def test_a_worker_waits_for_redis(tmp_path: Path) -> None:
    """It may be started first: it joins when Redis is there, and says so."""
    server = RedisProcess(tmp_path)
    worker = WorkerProcess(tmp_path / "worker", server.url, SOURCE)
    try:
        await eventually(lambda: "waits for the Redis" in worker.log(), 20)
        await asyncio.to_thread(server.start)
        await worker.wait()
        worker.signal(signal.SIGTERM)
        assert await worker.ended() == 0
    finally:
        worker.close()
        server.stop()


async def test_a_stop_reaches_the_worker(redis: RedisProcess, tmp_path: Path) -> None:
    """A cancel from another process ends a running answer within moments, and frees its slot."""
    async with asking(redis.url) as asker, running_workers(tmp_path, redis.url, 1, SOURCE):
        await asker.ready(slots=2)
        record = await asker.ask(5000)
        await eventually(lambda: len(record.transcript) > 20)
        stopped = Ending.stopped(StopReason.CLIENT, "cli_ada")
        assert (await asker.streams.cancel(record.stream_id, stopped)).is_first
        ending = await ended(record, 2)
        assert (ending.kind, ending.stopped_by) == (EndKind.STOPPED, "cli_ada")
        await nothing_is_left(asker)


async def test_work_waits_for_a_worker(redis: RedisProcess, tmp_path: Path) -> None:
    """What was put in line while nobody worked is done by the first that comes."""
    async with asking(redis.url) as asker:
        record = await asker.ask(10)
        async with running_workers(tmp_path, redis.url, 1, SOURCE):
            assert (await ended(record, 20)).kind is EndKind.COMPLETE
            await nothing_is_left(asker)


async def test_an_unload_ends_what_waits(redis: RedisProcess, tmp_path: Path) -> None:
    """Of a model that all workers unload nothing is left in line: it ends with an error."""
    async with (
        asking(redis.url) as asker,
        running_workers(tmp_path, redis.url, 2, "synthetic:?tps=20&slots=1&ttft_ms=0"),
    ):
        await asker.ready(slots=2)
        records = [await asker.ask(10_000) for _ in range(3)]
        await eventually(lambda: sum(len(r.transcript) > 0 for r in records) == 2)
        model = asker.models.get("m")
        asker.models.begin_unload(model, force=True)
        kinds = sorted([(await ended(record)).kind.value for record in records])
        assert kinds == ["error", "stopped", "stopped"]
        await asker.models.unloaded(model)
        await nothing_is_left(asker)


async def test_redis_gone_for_a_while(redis: RedisProcess, tmp_path: Path) -> None:
    """Redis stopped and started under a running answer: nothing of it is missing at its end."""
    async with asking(redis.url) as asker, running_workers(tmp_path, redis.url, 1, SOURCE):
        await asker.ready(slots=2)
        whole = await asker.ask(300)
        await ended(whole)
        await asker.idle()
        record = await asker.ask(300)
        await eventually(lambda: len(record.transcript) > 20)
        await asyncio.to_thread(redis.stop)
        await asyncio.to_thread(redis.start)
        assert (await ended(record, 20)).kind is EndKind.COMPLETE
        assert record.transcript.text == whole.transcript.text
