"""A job on its way from the queue to an engine is never lost."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.core import Core
from tests.support.waiting import eventually
from wsserver.core.ask import make_job
from wsserver.core.ids import new_id
from wsserver.core.jobs import Job
from wsserver.core.streams import StreamRecord
from wsserver.core.taking import Taker
from wsserver.stores.memory.job_queue import MemoryJobQueue
from wsserver_protocol.lifecycle import StreamState


class SlowQueue(MemoryJobQueue):
    """A queue whose claims take a moment, as those of a fleet do."""

    def __init__(self) -> None:
        super().__init__(10)
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()

    async def claim(self, model_id: str) -> Job | None:
        self.asked.set()
        await self.gate.wait()
        return await super().claim(model_id)


async def test_what_comes_when_its_engine_has_gone_is_put_back() -> None:
    """A claim under way when the engine dies is not undone: its job is first in line again."""
    core, queue = Core(), SlowQueue()
    record = StreamRecord(new_id("str"), "m", 0.0)
    core.log.create(record)
    ask = core.ask()
    queue.submit(make_job(record, ask, ask.messages, None, ""), record, free_slots=0)
    taker = Taker("m", queue, core.log, core.answers)
    taking = asyncio.create_task(taker.next())
    await queue.asked.wait()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    queue.gate.set()
    await eventually(lambda: record.attempts == 1 and record.state is StreamState.QUEUED)
    assert queue.depth("m") == 1
    taken = await taker.next()
    assert taken is not None
    assert taken.record is record
    assert taken.claim.fence == record.fence
