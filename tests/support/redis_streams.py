"""A log of answers on Redis under test: a process that reads, and one for each writer."""

from __future__ import annotations

from contextlib import AsyncExitStack

from tests.support.waiting import eventually
from wsserver.core.streams import Claim, Ending, Fenced, StreamRecord
from wsserver.stores.redis import RedisLink
from wsserver.stores.redis.stream_format import stream_keys
from wsserver.stores.redis.stream_log import RedisStreamLog
from wsserver.stores.redis.streams import RedisStreams

RETENTION = 60.0


class Writer:
    """A process that holds one claim. It is deaf: what it may not do Redis itself refuses."""

    def __init__(self, link: RedisLink) -> None:
        self.log = RedisStreamLog(link, retention=RETENTION)
        self.finished: list[str] = []
        self.fenced: list[str] = []
        self.log.on_finished = self.finished.append
        self.log.on_fenced = self.fenced.append

    async def claim(self, stream_id: str) -> Claim | None:
        claim = await self.log.claim(stream_id)
        writing = self.log._writings.get(stream_id)
        if writing is not None:
            writing.leave()
        return claim

    async def settled(self, stream_id: str) -> None:
        """Wait until what was written is in Redis.

        Raises:
            Fenced: If Redis refused it.
        """
        await eventually(lambda: not _has_more(self.log, stream_id))
        if stream_id in self.fenced:
            raise Fenced(stream_id)


class RedisLogUnderTest:
    """A `LogUnderTest`. Close it with its stack."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self._url = url
        self._stack = stack
        self.link = self.open_link()
        self.streams = RedisStreams(self.link, "nod_reader", retention=RETENTION)
        stack.push_async_callback(self.streams.close)
        self._writers: dict[int, Writer] = {}

    def open_link(self) -> RedisLink:
        """A further process' link."""
        link = RedisLink.open(self._url)
        self._stack.push_async_callback(link.close)
        return link

    async def create(self, record: StreamRecord) -> None:
        await self.streams.create(record, b"meta")

    async def forget(self, stream_id: str) -> None:
        """Lose it: the mirror and the keys."""
        self.streams._drop(self.streams._followed[stream_id])
        for key in stream_keys(stream_id):
            await self.link.command("DEL", key)

    async def get(self, stream_id: str) -> StreamRecord | None:
        return self.streams.get(stream_id)

    async def claim(self, stream_id: str) -> Claim | None:
        writer = Writer(self.open_link())
        claim = await writer.claim(stream_id)
        if claim is not None:
            self._writers[claim.fence] = writer
            await self._shows(stream_id, lambda record: record.fence >= claim.fence)
        return claim

    async def append(self, stream_id: str, fence: int, offset: int, text: str, tokens: int) -> int:
        writer = self._writer(stream_id, fence)
        length = writer.log.append(stream_id, fence, offset, text, tokens)
        await writer.settled(stream_id)
        await self._shows(stream_id, lambda record: len(record.transcript) >= length)
        return length

    async def finish(self, stream_id: str, fence: int, total: int, ending: Ending) -> None:
        if fence not in self._writers:
            assert await self.streams.end(stream_id, ending)
        else:
            writer = self._writer(stream_id, fence)
            writer.log.finish(stream_id, fence, total, ending)
            await writer.settled(stream_id)
            assert writer.finished == [stream_id]
        await self._shows(stream_id, lambda record: record.is_ended)

    async def cancel(self, stream_id: str, ending: Ending) -> bool:
        is_first = (await self.streams.cancel(stream_id, ending)).is_first
        if is_first:
            await self._shows(stream_id, lambda record: record.cancel is not None)
        return is_first

    async def release(self, stream_id: str, fence: int) -> None:
        writer = self._writer(stream_id, fence)
        writer.log.release(stream_id, fence)
        await writer.log.close()
        at, attempts = await self.link.command(
            "HMGET", stream_keys(stream_id)[0], "fence", "attempts"
        )
        if int(at) != fence + 1:
            raise Fenced(stream_id)
        await self._shows(stream_id, lambda record: record.fence == fence + 1)
        record = self.streams.get(stream_id)
        assert record is not None
        record.attempts = int(attempts)  # writers know it, readers need not

    def _writer(self, stream_id: str, fence: int) -> Writer:
        if fence not in self._writers:
            raise Fenced(stream_id)
        return self._writers[fence]

    async def _shows(self, stream_id: str, condition: object) -> None:
        record = self.streams.get(stream_id)
        assert record is not None
        assert callable(condition)
        await eventually(lambda: bool(condition(record)))


def _has_more(log: RedisStreamLog, stream_id: str) -> bool:
    writing = log._writings.get(stream_id)
    return writing is not None and writing.writer.next_operation() is not None


async def begun(log: RedisLogUnderTest) -> tuple[StreamRecord, Writer, int]:
    """An answer, its writer, and the fence."""
    record = StreamRecord("s", "model", 0.0)
    await log.create(record)
    writer = Writer(log.open_link())
    claim = await writer.log.claim("s")
    assert claim is not None
    return record, writer, claim.fence


def shows(record: StreamRecord, text: str) -> bool:
    return record.transcript.text == text


def is_quiet(log: RedisStreamLog) -> bool:
    """Whether no writing is to come by itself."""
    return log._tick._soon is None and log._tick._later is None
