"""What every stream log must do: the eight rules, as far as they are the log's, and its manners.

A suite for one log derives from `StreamLogContract` and says how to make one. The rules that are
a reader's alone (a reader ahead waits, the watchdog) are the follower's and the simulator's.
"""

from __future__ import annotations

import pytest

from wsserver.core.streams import Ending, Fenced, StreamLog, StreamRecord
from wsserver_protocol.lifecycle import FinishReason, StopReason, StreamState

COMPLETE = Ending.complete(FinishReason.STOP)
STOPPED = Ending.stopped(StopReason.CLIENT, "someone")


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

    def make(self) -> StreamLog:
        raise NotImplementedError

    def begin(self, stream_id: str = "s") -> tuple[StreamLog, StreamRecord]:
        log = self.make()
        log.create(StreamRecord(stream_id, "model", 0.0))
        record = log.get(stream_id)
        assert record is not None
        return log, record

    async def claim(self, log: StreamLog, stream_id: str = "s") -> int:
        claim = await log.claim(stream_id)
        assert claim is not None
        return claim.fence

    async def take_over(self, log: StreamLog, fence: int) -> int:
        log.release("s", fence)
        return await self.claim(log)

    # 1. A claim returns fence and text in one step.

    async def test_a_claim_gives_the_text_to_go_on_from(self) -> None:
        """The next writer gets all that was written, to the byte, with its tokens."""
        log, record = self.begin()
        first = await log.claim("s")
        assert first is not None
        assert (first.text, first.tokens) == ("", 0)
        assert record.state is StreamState.RUNNING
        end = log.append("s", first.fence, 0, "héllo ", 2)
        log.append("s", first.fence, end, "🙂", 1)
        log.release("s", first.fence)
        second = await log.claim("s")
        assert second is not None
        assert (second.text, second.tokens) == ("héllo 🙂", 3)
        assert second.fence > first.fence

    async def test_nothing_is_added_to_what_a_claim_gave_but_by_its_holder(self) -> None:
        """Once a claim has its text, the writer before it cannot change that text any more."""
        log, record = self.begin()
        old = await self.claim(log)
        log.append("s", old, 0, "one ", 1)
        new = await self.take_over(log, old)
        with pytest.raises(Fenced):
            log.append("s", old, 4, "zombie ", 1)
        log.append("s", new, 4, "two", 1)
        assert record.transcript.text == "one two"

    # 2. Finish refuses while text is missing.

    @pytest.mark.parametrize("total", [0, 3, 5])
    async def test_an_end_at_another_length_is_refused(self, total: int) -> None:
        """The answer ends at the length that it has, neither shorter nor longer."""
        log, record = self.begin()
        fence = await self.claim(log)
        log.append("s", fence, 0, "four", 1)
        with pytest.raises(ValueError):
            log.finish("s", fence, total, COMPLETE)
        assert not record.is_ended
        log.finish("s", fence, 4, COMPLETE)
        assert record.ending == COMPLETE

    # 3. Append refuses once the answer has ended.

    async def test_nothing_is_written_after_the_end(self) -> None:
        """An end is final, also for the writer that holds the newest fence."""
        log, record = self.begin()
        fence = await self.claim(log)
        log.append("s", fence, 0, "text", 1)
        log.finish("s", fence, 4, COMPLETE)
        with pytest.raises(Fenced):
            log.append("s", fence, 4, " more", 1)
        with pytest.raises(Fenced):
            log.finish("s", fence, 4, STOPPED)
        with pytest.raises(Fenced):
            log.release("s", fence)
        assert await log.claim("s") is None
        assert (record.transcript.text, record.ending) == ("text", COMPLETE)
        assert record.state is StreamState.ENDED

    # 4. Fences only grow.

    async def test_an_older_fence_writes_ends_and_releases_nothing(self) -> None:
        """Whatever a zombie does is refused, and changes nothing."""
        log, record = self.begin()
        old = await self.claim(log)
        new = await self.take_over(log, old)
        assert new > old
        for refused in (
            lambda: log.append("s", old, 0, "zombie", 1),
            lambda: log.finish("s", old, 0, COMPLETE),
            lambda: log.release("s", old),
        ):
            with pytest.raises(Fenced):
                refused()
        assert (record.fence, len(record.transcript), record.ending) == (new, 0, None)

    async def test_a_released_claim_is_an_old_one(self) -> None:
        """Who gave its claim back cannot write on, even before there is another."""
        log, record = self.begin()
        fence = await self.claim(log)
        log.append("s", fence, 0, "kept", 1)
        log.release("s", fence)
        with pytest.raises(Fenced):
            log.append("s", fence, 4, " lost", 1)
        assert (record.state, record.transcript.text) == (StreamState.QUEUED, "kept")
        assert record.attempts == 1

    # 5. A reader becomes a watcher without a gap; 7. an end needs no doorbell.

    async def test_a_watcher_is_woken_for_all_that_comes_after_it_looked(self) -> None:
        """Looking at the text and watching from there on misses nothing, the end included."""
        log, record = self.begin()
        fence = await self.claim(log)
        log.append("s", fence, 0, "seen ", 1)
        looked = record.transcript.text
        reader = Reader(record)
        log.append("s", fence, 5, "told", 1)
        log.finish("s", fence, 9, COMPLETE)
        assert looked == "seen "
        assert ("seen told", False) in reader.seen
        assert reader.seen[-1] == ("seen told", True)

    async def test_who_only_looks_sees_the_end_too(self) -> None:
        """The end stands in the record, whether or not anyone was woken."""
        log, _ = self.begin()
        fence = await self.claim(log)
        log.finish("s", fence, 0, COMPLETE)
        record = log.get("s")
        assert record is not None
        assert (record.ending, record.state) == (COMPLETE, StreamState.ENDED)
        assert record.ended_at is not None

    # 6. Nobody is put where there is no text.

    async def test_text_past_the_end_is_refused(self) -> None:
        """An append that would leave a hole raises and changes nothing."""
        log, record = self.begin()
        fence = await self.claim(log)
        log.append("s", fence, 0, "four", 1)
        with pytest.raises(ValueError):
            log.append("s", fence, 5, "x", 1)
        assert (record.transcript.text, record.transcript.generated) == ("four", 1)

    # 8. Append is idempotent by its offset.

    async def test_an_append_again_adds_nothing(self) -> None:
        """A retry after a lost reply says where the text ends and leaves it as it is."""
        log, record = self.begin()
        fence = await self.claim(log)
        assert log.append("s", fence, 0, "äö ", 2) == 5
        assert log.append("s", fence, 5, "x", 1) == 6
        assert log.append("s", fence, 0, "äö ", 2) == 6
        assert log.append("s", fence, 5, "x", 1) == 6
        assert (record.transcript.text, record.transcript.generated) == ("äö x", 3)

    async def test_of_an_append_that_overlaps_the_new_part_is_taken(self) -> None:
        """A retry that was joined with newer text adds just that."""
        log, record = self.begin()
        fence = await self.claim(log)
        log.append("s", fence, 0, "grüß ", 1)
        assert log.append("s", fence, 0, "grüß Gott", 2) == 11
        assert record.transcript.text == "grüß Gott"

    # Asking for an end.

    async def test_the_first_one_to_cancel_wins(self) -> None:
        """An end is asked for once; nobody claims the answer from then on."""
        log, record = self.begin()
        assert log.cancel("s", STOPPED)
        assert not log.cancel("s", COMPLETE)
        assert record.cancel == STOPPED
        assert await log.claim("s") is None
        log.finish("s", record.fence, 0, STOPPED)
        assert record.ending == STOPPED

    async def test_a_cancelled_writer_still_writes_what_it_has(self) -> None:
        """Asking ends nothing by itself: the writer's last text is part of the answer."""
        log, record = self.begin()
        fence = await self.claim(log)
        assert log.cancel("s", STOPPED)
        log.append("s", fence, 0, "last", 1)
        log.finish("s", fence, 4, STOPPED)
        assert (record.transcript.text, record.ending) == ("last", STOPPED)
        assert not log.cancel("s", STOPPED)

    async def test_an_unknown_answer_is_nobody_s(self) -> None:
        """Of what is not there nothing is given, and nothing is written to it."""
        log, _ = self.begin()
        assert log.get("other") is None
        assert await log.claim("other") is None
        assert not log.cancel("other", STOPPED)
        with pytest.raises(Fenced):
            log.append("other", 1, 0, "x", 1)
        log.forget("s")
        assert log.get("s") is None
        assert await log.claim("s") is None


class SharedStreamLogContract(StreamLogContract):
    """What a log of many writers must do besides: one may die without giving its claim back."""

    async def take_over(self, log: StreamLog, fence: int) -> int:
        return await self.claim(log)

    async def test_a_claim_may_follow_a_claim(self) -> None:
        """A writer that is only thought to be dead is taken over without its help."""
        log, record = self.begin()
        old = await self.claim(log)
        new = await self.claim(log)
        assert record.fence == new > old
        assert record.state is StreamState.RUNNING
