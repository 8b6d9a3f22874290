"""The answers that a worker's engines make: begun with a claim, kept while they run, ended once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wsserver.core.ask import Answer
from wsserver.core.errands import Errands
from wsserver.core.jobs import Job
from wsserver.core.sessions.store import SessionStore, StoreUnavailable
from wsserver.core.shared.endings import RETRY_EVERY, Endings
from wsserver.core.shared.keeping import Keeping, write_end
from wsserver.core.shared.meta import Meta, answer_of, unpack
from wsserver.core.shared.ports import SharedStreams
from wsserver.core.streams import Ending, Fenced, StreamRecord
from wsserver_protocol.errors import ErrorCode
from wsserver_protocol.lifecycle import FinishReason

log = logging.getLogger(__name__)


class WrittenLog(Protocol):
    """The log, as far as this room writes it."""

    async def seal(self, stream_id: str, fence: int, ending: Ending) -> None:
        """Decide how an answer ends that this process writes. Raises `Fenced`."""

    def finish(self, stream_id: str, fence: int, total: int, ending: Ending) -> None:
        """End an answer that this process writes."""


@dataclass(slots=True)
class _Kept:
    answer: Answer
    keeping: Keeping | None
    deadline: asyncio.TimerHandle | None = None


class WorkerAnswers:
    """An `AnswerKeeper` over a shared log.

    Args:
        log: Where ends are written.
        streams: For work that was cancelled before it was claimed.
        store: Where sessions are.
        endings: What an end brings.
        stop: Ends a running answer at its engine's next step.
        settled: Told each streamId whose end is written for good, so that its lease may end.
        put_back: Told each job that goes back to the head of its line.
    """

    def __init__(
        self,
        *,
        log: WrittenLog,
        streams: SharedStreams,
        store: SessionStore,
        endings: Endings,
        stop: Callable[[StreamRecord], object],
        settled: Callable[[str], None],
        put_back: Callable[[Job], None],
    ) -> None:
        self._log = log
        self._settled = settled
        self._put_back = put_back
        self._streams = streams
        self._store = store
        self._endings = endings
        self._stop = stop
        self._kept: dict[str, _Kept] = {}
        self._errands = Errands("the end of a worker's answer could not be written")

    @property
    def active(self) -> int:
        """Answers that run here."""
        return len(self._kept)

    def claimed(self, job: Job, record: StreamRecord) -> None:
        """Keep what its session is to have of it, and end it when its time is over."""
        meta = unpack(job.meta)
        answer = answer_of(meta, record)
        keeping = None if meta.kept is None else Keeping(self._store, meta.kept, record)
        before = self._kept.pop(job.stream_id, None)
        if before is not None:  # claimed again here: its engine has died
            self._let_go(before)
        kept = self._kept[job.stream_id] = _Kept(answer, keeping)
        timeout = answer.ask.options.timeout
        if timeout is not None:
            loop = asyncio.get_running_loop()
            due = record.accepted_at + timeout / 1000
            kept.deadline = loop.call_at(due, self._time_out, record, timeout)

    def released(self, job: Job) -> None:
        """Another worker may go on with it: from now on nothing of it is written here."""
        self.fenced(job.stream_id)

    def refused(self, job: Job) -> None:
        """Its claim was refused. If that was a cancel whose author is gone, end it for him."""
        self._errands.begin(self._end_cancelled(job))

    def close(self, record: StreamRecord, fence: int, ending: Ending) -> None:
        """Its engine is done with it: store what is kept of it, then write the end."""
        kept = self._kept.pop(record.stream_id, None)
        if kept is None:
            return
        if kept.deadline is not None:
            kept.deadline.cancel()
        self._errands.begin(self._close(kept, fence, ending))

    def stop(self, stream_id: str, ending: Ending) -> bool:
        """End an answer that runs here. False if none does."""
        kept = self._kept.get(stream_id)
        if kept is None:
            return False
        self.cancelled(kept.answer.record, ending)
        return True

    def cancelled(self, record: StreamRecord, ending: Ending) -> None:
        """Someone asked for the end of an answer that runs here."""
        if record.cancel is None and not record.is_ended:
            record.cancel = ending
        self._stop(record)

    def lost(self, record: StreamRecord) -> None:
        """The store has been away for longer than text can be held back for it."""
        self.cancelled(
            record,
            Ending.error(
                ErrorCode.STORE_UNAVAILABLE,
                "The store was away for too long while this answer was made.",
                retryable=True,
            ),
        )

    def fenced(self, stream_id: str) -> None:
        """Another worker has taken the answer over: nothing of it is this one's any more."""
        kept = self._kept.pop(stream_id, None)
        if kept is not None:
            self._let_go(kept)

    async def closed(self) -> None:
        """Wait until every end that is under way is written."""
        await self._errands.ended()
        await self._endings.settled()

    async def _close(self, kept: _Kept, fence: int, ending: Ending) -> None:
        answer, record = kept.answer, kept.answer.record
        try:
            if kept.keeping is not None or answer.ask.room_id is not None:
                # First, so that a session or a room never has what another writer goes on from:
                # this process may have slept for longer than its lease.
                now = asyncio.get_running_loop().time()
                await self._log.seal(record.stream_id, fence, ending.told_with(record.facts(now)))
            if kept.keeping is not None:
                record.saved = await kept.keeping.finish(ending)
            await self._endings.log_in_room(answer)
            told = ending.told_with(record.facts(asyncio.get_running_loop().time()))
            self._log.finish(record.stream_id, fence, len(record.transcript), told)
        except Fenced:
            log.warning("the end of %s was refused: another writer holds it", record.stream_id)
            self._let_go(kept)
            return
        self._endings.settle(answer, ending)

    async def _end_cancelled(self, job: Job) -> None:
        is_over = await end_unclaimed(
            job.stream_id, None, streams=self._streams, store=self._store, endings=self._endings
        )
        if is_over:
            self._settled(job.stream_id)
        else:  # the store was away for the claim; held on to, it would never be claimed again
            self._put_back(job)

    def _time_out(self, record: StreamRecord, timeout: int) -> None:
        if record.first_token_at is None:
            message = f"No token came within {timeout} ms."
            self.cancelled(record, Ending.error(ErrorCode.TIMEOUT, message, retryable=True))
        else:
            self.cancelled(record, Ending.complete(FinishReason.TIMEOUT))

    def _let_go(self, kept: _Kept) -> None:
        if kept.keeping is not None:
            kept.keeping.give_up()
        if kept.deadline is not None:
            kept.deadline.cancel()


async def end_unclaimed(
    stream_id: str,
    ending: Ending | None,
    *,
    streams: SharedStreams,
    store: SessionStore,
    endings: Endings,
) -> bool:
    """End an answer that no worker holds, wherever it was accepted. Repeats until it is done.

    Returns:
        Whether the answer has ended, or is gone.

    Args:
        stream_id: The answer.
        ending: How; None: as its cancel said, and not at all without one.
        streams: The log.
        store: Where sessions are.
        endings: What an end brings.
    """
    while True:
        try:
            opened = await streams.open(stream_id)
            if opened is None:
                return True
            record, data = opened
            try:
                how = record.cancel if ending is None else ending
                if how is not None and not record.is_ended:
                    await _end(unpack(data), record, how, streams, store, endings)
            finally:
                streams.release(stream_id)
            return how is not None or record.is_ended
        except StoreUnavailable:
            await asyncio.sleep(RETRY_EVERY)


async def _end(
    meta: Meta,
    record: StreamRecord,
    ending: Ending,
    streams: SharedStreams,
    store: SessionStore,
    endings: Endings,
) -> None:
    answer = answer_of(meta, record)
    if ending.facts is not None:  # its writer had decided it, and died
        record.learn(ending.facts)
    if meta.kept is not None:
        is_kept = await write_end(store, meta.kept, record, ending)
        was_told = ending.facts is not None and ending.facts.saved is False
        record.saved = is_kept and not was_told  # whoever asked may have been told that it is not
    await endings.log_in_room(answer)
    facts = record.facts(asyncio.get_running_loop().time())
    if await streams.end(record.stream_id, ending.told_with(facts)):
        endings.settle(answer, ending)
