"""Places in line of the embedded queue, on virtual time."""

from __future__ import annotations

import asyncio

from tests.support.jobs import make_job
from tests.support.virtual_time import pass_time, virtual
from wsserver.core.streams import StreamRecord
from wsserver.stores.memory.job_queue import POSITIONS_EVERY, MemoryJobQueue


@virtual
async def test_what_a_slot_takes_at_once_is_told_no_place() -> None:
    """A timer that was set for an earlier job tells a later one nothing that is taken, too."""
    queue = MemoryJobQueue(10)
    now = asyncio.get_running_loop().time()
    first, second = (StreamRecord(name, "m", now) for name in ("first", "second"))
    queue.submit(make_job("first"), first, free_slots=1)
    assert await queue.claim("m") is not None
    await pass_time(POSITIONS_EVERY * 0.9)
    queue.submit(make_job("second"), second, free_slots=1)
    await pass_time(POSITIONS_EVERY * 0.5)
    assert second.queue_position is None
    await pass_time(POSITIONS_EVERY)
    assert second.queue_position == 1  # now it really waits
