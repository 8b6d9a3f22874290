"""What every stream log must do: the eight rules, as far as they are the log's, and its manners.

A suite for one log derives from `StreamLogContract` and says how to make one. The rules that are
a reader's alone (a reader ahead waits, the watchdog) are the follower's and the simulator's.
"""

from __future__ import annotations

from typing import Protocol

import pytest

from wsserver.core.streams import Claim, Ending, Fenced, StreamLog, StreamRecord
from wsserver_protocol.lifecycle import FinishReason, StopReason, StreamState

COMPLETE = Ending.complete(FinishReason.STOP)
STOPPED = Ending.stopped(StopReason.CLIENT, "someone")


class LogUnderTest(Protocol):
    """A log, whatever has to be waited for until a step is done and shows in the record."""

    async def create(self, record: StreamRecord) -> None:
        """As in the port, like all others."""

    async def forget(self, stream_id: str) -> None:
        """Not asked of a log that lives elsewhere."""

    async def get(self, stream_id: str) -> StreamRecord | None:
        """What a reader sees."""

    async def claim(self, stream_id: str) -> Claim | None:
        """By a writer of its own."""

    async def append(self, stream_id: str, fence: int, offset: int, text: str, tokens: int) -> int:
        """By the writer of that fence."""

    async def finish(self, stream_id: str, fence: int, total: int, ending: Ending) -> None:
        """By the writer of that fence."""

    async def cancel(self, stream_id: str, ending: Ending) -> bool:
        """By anyone."""

    async def release(self, stream_id: str, fence: int) -> None:
        """By the writer of that fence."""


class LogHere:
    """A log of this process under test: every step is done at once."""

    def __init__(self, log: StreamLog) -> None:
        self._log = log

    async def create(self, record: StreamRecord) -> None:
        self._log.create(record)

    async def forget(self, stream_id: str) -> None:
        self._log.forget(stream_id)

    async def get(self, stream_id: str) -> StreamRecord | None:
        return self._log.get(stream_id)

    async def claim(self, stream_id: str) -> Claim | None:
        return await self._log.claim(stream_id)

    async def append(self, stream_id: str, fence: int, offset: int, text: str, tokens: int) -> int:
        return self._log.append(stream_id, fence, offset, text, tokens)

    async def finish(self, stream_id: str, fence: int, total: int, ending: Ending) -> None:
        self._log.finish(stream_id, fence, total, ending)

    async def cancel(self, stream_id: str, ending: Ending) -> bool:
        return self._log.cancel(stream_id, ending)

    async def release(self, stream_id: str, fence: int) -> None:
        self._log.release(stream_id, fence)


class Reader:
    """A watcher that notes what the record says at each wake."""

    def __init__(self, record: StreamRecord) -> None:
        self.record = record
        self.seen: list[tuple[str, bool]] = []
        record.watchers.add(self)

    def wake(self) -> None:
        self.seen.append((self.record.transcript.text, self.record.is_ended))

    def rewound(self, offset: int) -> None:
        self.wake()


class StreamLogContract:
    """Derive, and give a log."""

    def make(self) -> LogUnderTest:
        raise NotImplementedError

    async def begin(self, stream_id: str = "s") -> tuple[LogUnderTest, StreamRecord]:
        log = self.make()
        await log.create(StreamRecord(stream_id, "model", 0.0))
        record = await log.get(stream_id)
        assert record is not None
        return log, record

    async def claim(self, log: LogUnderTest, stream_id: str = "s") -> int:
        claim = await log.claim(stream_id)
        assert claim is not None
        return claim.fence

    async def take_over(self, log: LogUnderTest, fence: int) -> int:
        await log.release("s", fence)
        return await self.claim(log)

    # 1. A claim returns fence and text in one step.

    async def test_a_claim_gives_the_text_to_go_on_from(self) -> None:
        """The next writer gets all that was written, to the byte, with its tokens."""
        log, record = await self.begin()
        first = await log.claim("s")
        assert first is not None
        assert (first.text, first.tokens) == ("", 0)
        assert record.state is StreamState.RUNNING
        end = await log.append("s", first.fence, 0, "héllo ", 2)
        await log.append("s", first.fence, end, "🙂", 1)
        await log.release("s", first.fence)
        second = await log.claim("s")
        assert second is not None
        assert (second.text, second.tokens) == ("héllo 🙂", 3)
        assert second.fence > first.fence

    async def test_nothing_is_added_to_what_a_claim_gave_but_by_its_holder(self) -> None:
        """Once a claim has its text, the writer before it cannot change that text any more."""
        log, record = await self.begin()
        old = await self.claim(log)
        await log.append("s", old, 0, "one ", 1)
        new = await self.take_over(log, old)
        with pytest.raises(Fenced):
            await log.append("s", old, 4, "zombie ", 1)
        await log.append("s", new, 4, "two", 1)
        assert record.transcript.text == "one two"

    # 2. Finish refuses while text is missing.

    @pytest.mark.parametrize("total", [0, 3, 5])
    async def test_an_end_at_another_length_is_refused(self, total: int) -> None:
        """The answer ends at the length that it has, neither shorter nor longer."""
        log, record = await self.begin()
        fence = await self.claim(log)
        await log.append("s", fence, 0, "four", 1)
        with pytest.raises(ValueError):
            await log.finish("s", fence, total, COMPLETE)
        assert not record.is_ended
        await log.finish("s", fence, 4, COMPLETE)
        assert record.ending == COMPLETE

    # 3. Append refuses once the answer has ended.

    async def test_nothing_is_written_after_the_end(self) -> None:
        """An end is final, also for the writer that holds the newest fence."""
        log, record = await self.begin()
        fence = await self.claim(log)
        await log.append("s", fence, 0, "text", 1)
        await log.finish("s", fence, 4, COMPLETE)
        with pytest.raises(Fenced):
            await log.append("s", fence, 4, " more", 1)
        with pytest.raises(Fenced):
            await log.finish("s", fence, 4, STOPPED)
        with pytest.raises(Fenced):
            await log.release("s", fence)
        assert await log.claim("s") is None
        assert (record.transcript.text, record.ending) == ("text", COMPLETE)
        assert record.state is StreamState.ENDED

    # 4. Fences only grow.

    async def test_an_older_fence_writes_ends_and_releases_nothing(self) -> None:
        """Whatever a zombie does is refused, and changes nothing."""
        log, record = await self.begin()
        old = await self.claim(log)
        new = await self.take_over(log, old)
        assert new > old
        for refused in (
            lambda: log.append("s", old, 0, "zombie", 1),
            lambda: log.finish("s", old, 0, COMPLETE),
            lambda: log.release("s", old),
        ):
            with pytest.raises(Fenced):
                await refused()
        assert (record.fence, len(record.transcript), record.ending) == (new, 0, None)

    async def test_a_released_claim_is_an_old_one(self) -> None:
        """Who gave its claim back cannot write on, even before there is another."""
        log, record = await self.begin()
        fence = await self.claim(log)
        await log.append("s", fence, 0, "kept", 1)
        await log.release("s", fence)
        with pytest.raises(Fenced):
            await log.append("s", fence, 4, " lost", 1)
        assert (record.state, record.transcript.text) == (StreamState.QUEUED, "kept")
        assert record.attempts == 1

    # 5. A reader becomes a watcher without a gap; 7. an end needs no doorbell.

    async def test_a_watcher_is_woken_for_all_that_comes_after_it_looked(self) -> None:
        """Looking at the text and watching from there on misses nothing, the end included."""
        log, record = await self.begin()
        fence = await self.claim(log)
        await log.append("s", fence, 0, "seen ", 1)
        looked = record.transcript.text
        reader = Reader(record)
        await log.append("s", fence, 5, "told", 1)
        await log.finish("s", fence, 9, COMPLETE)
        assert looked == "seen "
        assert ("seen told", False) in reader.seen
        assert reader.seen[-1] == ("seen told", True)

    async def test_who_only_looks_sees_the_end_too(self) -> None:
        """The end stands in the record, whether or not anyone was woken."""
        log, _ = await self.begin()
        fence = await self.claim(log)
        await log.finish("s", fence, 0, COMPLETE)
        record = await log.get("s")
        assert record is not None
        assert (record.ending, record.state) == (COMPLETE, StreamState.ENDED)
        assert record.ended_at is not None

    # 6. Nobody is put where there is no text.

    async def test_text_past_the_end_is_refused(self) -> None:
        """An append that would leave a hole raises and changes nothing."""
        log, record = await self.begin()
        fence = await self.claim(log)
        await log.append("s", fence, 0, "four", 1)
        with pytest.raises(ValueError):
            await log.append("s", fence, 5, "x", 1)
        assert (record.transcript.text, record.transcript.generated) == ("four", 1)

    # 8. Append is idempotent by its offset.

    async def test_an_append_again_adds_nothing(self) -> None:
        """A retry after a lost reply says where the text ends and leaves it as it is."""
        log, record = await self.begin()
        fence = await self.claim(log)
        assert await log.append("s", fence, 0, "äö ", 2) == 5
        assert await log.append("s", fence, 5, "x", 1) == 6
        assert await log.append("s", fence, 0, "äö ", 2) == 6
        assert await log.append("s", fence, 5, "x", 1) == 6
        assert (record.transcript.text, record.transcript.generated) == ("äö x", 3)

    async def test_of_an_append_that_overlaps_the_new_part_is_taken(self) -> None:
        """A retry that was joined with newer text adds just that."""
        log, record = await self.begin()
        fence = await self.claim(log)
        await log.append("s", fence, 0, "grüß ", 1)
        assert await log.append("s", fence, 0, "grüß Gott", 2) == 11
        assert record.transcript.text == "grüß Gott"

    # Asking for an end.

    async def test_the_first_one_to_cancel_wins(self) -> None:
        """An end is asked for once; nobody claims the answer from then on."""
        log, record = await self.begin()
        assert await log.cancel("s", STOPPED)
        assert not await log.cancel("s", COMPLETE)
        assert record.cancel == STOPPED
        assert await log.claim("s") is None
        await log.finish("s", record.fence, 0, STOPPED)
        assert record.ending == STOPPED

    async def test_a_cancelled_writer_still_writes_what_it_has(self) -> None:
        """Asking ends nothing by itself: the writer's last text is part of the answer."""
        log, record = await self.begin()
        fence = await self.claim(log)
        assert await log.cancel("s", STOPPED)
        await log.append("s", fence, 0, "last", 1)
        await log.finish("s", fence, 4, STOPPED)
        assert (record.transcript.text, record.ending) == ("last", STOPPED)
        assert not await log.cancel("s", STOPPED)

    async def test_an_unknown_answer_is_nobody_s(self) -> None:
        """Of what is not there nothing is given, and nothing is written to it."""
        log, _ = await self.begin()
        assert await log.get("other") is None
        assert await log.claim("other") is None
        assert not await log.cancel("other", STOPPED)
        with pytest.raises(Fenced):
            await log.append("other", 1, 0, "x", 1)
        await log.forget("s")
        assert await log.get("s") is None
        assert await log.claim("s") is None


class SharedStreamLogContract(StreamLogContract):
    """What a log of many writers must do besides: one may die without giving its claim back."""

    async def take_over(self, log: LogUnderTest, fence: int) -> int:
        return await self.claim(log)

    async def test_a_claim_may_follow_a_claim(self) -> None:
        """A writer that is only thought to be dead is taken over without its help."""
        log, record = await self.begin()
        old = await self.claim(log)
        new = await self.claim(log)
        assert record.fence == new > old
        assert record.state is StreamState.RUNNING
