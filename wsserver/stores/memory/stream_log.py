"""Stream log of a single process: the record that readers watch is the log itself."""

from __future__ import annotations

import asyncio
from collections import deque

from wsserver.core.engine import TokenLogprob
from wsserver.core.streams import Claim, Ending, Fenced, StreamRecord
from wsserver_protocol.lifecycle import StreamStep


class MemoryStreamLog:
    """Answers of this process, kept for ``retention`` seconds after their end.

    Expiry needs no timer of its own: each create looks at the oldest ended answers, so that an
    idle server keeps what it has and a busy one pays O(1) per answer.
    """

    def __init__(self, retention: float) -> None:
        self._retention = retention
        self._records: dict[str, StreamRecord] = {}
        self._ended: deque[StreamRecord] = deque()

    def __len__(self) -> int:
        return len(self._records)

    def create(self, record: StreamRecord) -> None:
        self.expire()
        self._records[record.stream_id] = record

    def forget(self, stream_id: str) -> None:
        del self._records[stream_id]

    def get(self, stream_id: str) -> StreamRecord | None:
        self.expire()
        return self._records.get(stream_id)

    async def claim(self, stream_id: str) -> Claim | None:
        record = self._records.get(stream_id)
        if record is None or record.is_ended or record.cancel is not None:
            return None
        record.queue_position = None
        record.take(StreamStep.RUN)  # first: a claim that is not due must not fence off the writer
        record.fence += 1
        record.claimed_at = asyncio.get_running_loop().time()
        transcript = record.transcript
        return Claim(record.fence, transcript.text, transcript.generated)

    def append(
        self,
        stream_id: str,
        fence: int,
        offset: int,
        text: str,
        tokens: int,
        logprobs: tuple[TokenLogprob, ...] | None = None,
    ) -> int:
        record = self._writable(stream_id, fence)
        transcript = record.transcript
        have = len(transcript)
        if offset != have:
            if offset > have:
                raise ValueError(f"append at {offset}, but the text ends at {have}")
            text = text.encode()[have - offset :].decode()
            tokens = max(0, tokens - (transcript.tokens - transcript.position_at(offset)))
            if not text:
                return have
        if record.first_token_at is None:
            record.first_token_at = asyncio.get_running_loop().time()
        transcript.append(text, tokens)
        if logprobs is not None:
            record.logprobs.append((len(transcript), logprobs))
        if text:
            record.wake()
        return len(transcript)

    def finish(self, stream_id: str, fence: int, total: int, ending: Ending) -> None:
        record = self._writable(stream_id, fence)
        if len(record.transcript) != total:
            raise ValueError(f"finish at {total}, but the text ends at {len(record.transcript)}")
        record.ending = ending
        record.ended_at = asyncio.get_running_loop().time()
        record.queue_position = None
        self._ended.append(record)
        record.take(StreamStep.END)

    def cancel(self, stream_id: str, ending: Ending) -> bool:
        record = self._records.get(stream_id)
        if record is None or record.is_ended or record.cancel is not None:
            return False
        record.cancel = ending
        return True

    def release(self, stream_id: str, fence: int) -> None:
        record = self._writable(stream_id, fence)
        record.fence += 1  # the dead engine's writer must not come back
        record.attempts += 1
        record.claimed_at = None
        record.take(StreamStep.QUEUE)

    def expire(self) -> None:
        """Forget answers that ended longer ago than the retention."""
        oldest = asyncio.get_running_loop().time() - self._retention
        while self._ended and (self._ended[0].ended_at or 0.0) < oldest:
            del self._records[self._ended.popleft().stream_id]

    def _writable(self, stream_id: str, fence: int) -> StreamRecord:
        record = self._records.get(stream_id)
        if record is None or record.is_ended or record.fence != fence:
            raise Fenced(stream_id)
        return record
