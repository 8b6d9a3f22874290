"""What an answer's text costs besides itself, as Redis counts it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import NamedTuple

import pytest

from tests.support.redis import RedisProcess
from tests.support.redis_streams import RETENTION, RedisLogUnderTest
from tests.support.waiting import eventually
from wsserver.core.ids import new_id
from wsserver.core.streams import Ending, StreamRecord
from wsserver.stores.redis.stream_format import stream_keys
from wsserver.stores.redis.stream_log import RedisStreamLog
from wsserver_protocol.lifecycle import FinishReason

PIECES = 50


class Traffic(NamedTuple):
    """Bytes to Redis and from it, since it started."""

    to: int
    back: int

    @classmethod
    def of(cls, redis: RedisProcess) -> Traffic:
        stats = redis.ask("INFO", "stats")
        to, back = re.findall(r"^total_net_(?:in|out)put_bytes:(\d+)", stats, re.M)
        return cls(int(to), int(back))


@pytest.fixture
async def log(redis_server: RedisProcess) -> AsyncIterator[RedisLogUnderTest]:
    """A log on one empty Redis, whose counts are then all that there is."""
    redis_server.ask("FLUSHALL")
    async with AsyncExitStack() as stack:
        yield RedisLogUnderTest(redis_server.url, stack)


def reaches(record: StreamRecord, length: int) -> bool:
    return len(record.transcript) == length


async def test_a_piece_of_text_costs_little(
    log: RedisLogUnderTest, redis_server: RedisProcess
) -> None:
    """A piece is told with 270 bytes to Redis and 140 back, one reader included: its writer does
    not hear it again. What is kept of an ended text is not much more than the text."""
    record = StreamRecord(new_id("str"), "model", 0.0)
    stream_id = record.stream_id
    await log.create(record)
    writer = RedisStreamLog(log.open_link(), retention=RETENTION)
    claim = await writer.claim(stream_id)
    assert claim is not None
    offset = 0
    before = None
    for number in range(PIECES + 1):
        offset = writer.append(stream_id, claim.fence, offset, "words ", 1)
        await eventually(partial(reaches, record, offset))
        if number == 0:
            before = Traffic.of(redis_server)
    assert before is not None
    after = Traffic.of(redis_server)
    asking = len(redis_server.ask("INFO", "stats")) + 500  # and a probe of the bells
    assert after.to - before.to < PIECES * 270 + asking
    assert after.back - before.back < PIECES * 140 + asking
    writer.finish(stream_id, claim.fence, offset, Ending.complete(FinishReason.LENGTH))
    await eventually(lambda: record.is_ended)
    kept = await log.link.command("MEMORY", "USAGE", stream_keys(stream_id)[1])
    assert kept < offset * 1.2 + 120
    await writer.close()
