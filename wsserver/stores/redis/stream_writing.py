"""One answer that is written here: its record, its buffer, and the calls that carry it to Redis."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from operator import itemgetter
from typing import Any, Protocol

from wsserver.core.engine import TokenLogprob
from wsserver.core.streams import StreamRecord
from wsserver.core.streams.doorbells import Appended
from wsserver.core.streams.writer import Append, LogWriter, Operation, Refusal, Reply, Seal
from wsserver.stores.redis.link import PUBLISH, Argument
from wsserver.stores.redis.listening import Hearing
from wsserver.stores.redis.stream_format import (
    Logprobs,
    Rung,
    pack_ending,
    pack_logprobs,
    stream_keys,
)

Call = tuple[str, list[str], list[Argument]]
"""A script, its keys, its arguments."""

UNWANTED, ALL_KEYS = 1, 2
"""What an append's reply may end with; else 0."""

_REFUSALS = {b"ok": None, b"short": Refusal.SHORT, b"fenced": Refusal.FENCED}


class Near(Protocol):
    """The mirrors of a writer's own process."""

    def get(self, stream_id: str) -> StreamRecord | None:
        """The mirror of an answer, if there is one."""

    def ring(self, stream_id: str, rung: Rung) -> None:
        """Tell it of text that Redis may not have yet."""


class Writing:
    """What stands between a runner and the log.

    Attributes:
        record: The writer's own, with all text that was made.
        writer: What of it is still to be written.
        hearing: Of those of its bells that a writer must hear.
        is_sending: An operation is under way.
        is_lost: Its owner was told that Redis has been away for too long.
        is_unwanted: Redis said last that its asker is gone and nobody looks.
        is_orphan: Its end was asked for because of that.
        away_since: Loop time of the first failure in a row.
        is_in_doubt: Redis may have lost the answer.
        sealed: Done when its end is decided; failed when that is another writer's to do.
    """

    __slots__ = (
        "_claims",
        "_id",
        "_keys",
        "_lease",
        "_meta",
        "_needs_all_keys",
        "_rung",
        "away_since",
        "hearing",
        "is_in_doubt",
        "is_lost",
        "is_orphan",
        "is_sending",
        "is_unwanted",
        "record",
        "sealed",
        "writer",
    )

    def __init__(
        self,
        record: StreamRecord,
        writer: LogWriter,
        *,
        own: str,
        claims: bytes,
        meta: bytes,
        lease: bytes,
    ) -> None:
        self.record = record
        self.writer = writer
        self.hearing: Hearing | None = None
        self.is_sending = self.is_lost = self.is_unwanted = self.is_orphan = False
        self.away_since: float | None = None
        self.is_in_doubt = False
        self.sealed: asyncio.Future[None] | None = None
        self._id = own
        self._keys = stream_keys(record.stream_id)
        self._needs_all_keys = False  # for the next append
        self._claims = claims
        self._meta = meta
        self._lease = lease
        self._rung = len(record.transcript)  # bytes that mirrors here were rung for

    def leave(self) -> None:
        """Hear no more."""
        if self.hearing is not None:
            self.hearing.close()

    def take(
        self, offset: int, text: str, tokens: int, logprobs: tuple[TokenLogprob, ...] | None
    ) -> int:
        """Add text at a byte offset, without what is there already; the length afterwards.

        Raises:
            ValueError: If it would leave a hole.
        """
        transcript = self.record.transcript
        have = len(transcript)
        if offset != have:
            if offset > have:
                raise ValueError(f"append at {offset}, but the text ends at {have}")
            text = text.encode()[have - offset :].decode()
            tokens = max(0, tokens - (transcript.tokens - transcript.position_at(offset)))
            if not text:
                return have
        transcript.append(text, tokens)
        if logprobs is not None:
            self.record.logprobs.append((len(transcript), logprobs))
        self.writer.write(text.encode(), tokens)
        return len(transcript)

    def next_operation(self) -> Operation | None:
        """What to send now; in doubt, be it nothing, to learn whether the answer is there."""
        operation = self.writer.next_operation()
        if operation is None and self.is_in_doubt and not self.writer.is_over:
            return self.writer.rest
        return operation

    def fresh(self) -> Rung | None:
        """What was made since the mirrors here were rung last."""
        transcript = self.record.transcript
        start, end = self._rung, len(transcript)
        if start == end or self.writer.is_fenced:
            return None
        self._rung = end
        data = transcript.slice(start, end).encode()
        bell = Appended(self.writer.fence, start, data, transcript.generated)
        return Rung(bell, self._logprobs(start, end))

    def replied(self, operation: Operation, reply: int | list[Any]) -> None:
        """Redis answered: a verdict and the length of its text, or that alone where all is well."""
        self.away_since, self.is_in_doubt = None, False
        if isinstance(reply, int):
            self.is_unwanted = self._needs_all_keys = False
            self.writer.taken(reply)
            return
        length = reply[1] if len(reply) > 1 else 0
        self.writer.replied(operation, Reply(length, _REFUSALS[reply[0]]))
        wish = reply[3] if len(reply) > 3 else 0
        self.is_unwanted, self._needs_all_keys = wish == UNWANTED, wish == ALL_KEYS

    def call_for(self, operation: Operation, retention: int) -> Call:
        """The call of an operation; ``retention`` in milliseconds."""
        if isinstance(operation, Append):
            args = self._text(operation)
            has_logprobs = args[-1] != b""
            keys = self._keys if has_logprobs or self._needs_all_keys else self._keys[:2]
            return "streams/append", keys, [*args, PUBLISH]
        ending = pack_ending(operation.ending)
        if isinstance(operation, Seal):
            return self._call("seal", operation.fence, self._id, operation.total, ending)
        return self._call("finish", operation.fence, self._id, operation.total, ending, retention)

    def call_to_release(self) -> Call:
        """The claim back, with all text."""
        return self._call("release", *self._text(self.writer.rest))

    def call_to_restore(self) -> Call:
        """All that there is: for a Redis that has lost it."""
        record, writer = self.record, self.writer
        logprobs = [f"{end}|".encode() + pack_logprobs([(end, e)]) for end, e in record.logprobs]
        tokens = record.transcript.generated
        what = (writer.fence, self._id, self._claims, writer.text, tokens, record.model_id)
        how = (self._meta, record.attempts, self._lease, len(logprobs))
        return self._call("restore", *what, *how, *logprobs)

    def _text(self, rest: Append) -> tuple[Argument, ...]:
        logprobs = pack_logprobs(self._logprobs(rest.offset, rest.offset + len(rest.data)))
        return (rest.fence, self._id, rest.offset, rest.data, rest.tokens, logprobs)

    def _logprobs(self, start: int, end: int) -> Logprobs:
        """Those of the pieces that ended in ``(start, end]``."""
        kept = self.record.logprobs
        if not kept:
            return []
        first = bisect_right(kept, start, key=itemgetter(0))
        return kept[first : bisect_right(kept, end, key=itemgetter(0))]

    def _call(self, name: str, *args: Argument) -> Call:
        return f"streams/{name}", self._keys, [*args, PUBLISH]


class Nearby:
    """Shows the mirrors of this process what an engine's step has made, for all answers at once."""

    def __init__(self, near: Near | None) -> None:
        self._near = near
        self._fresh: set[Writing] = set()  # with text that mirrors here have not seen

    def show(self, writing: Writing) -> None:
        """There is more of an answer; its mirror is told when the step is over."""
        near = self._near
        if near is None or near.get(writing.record.stream_id) is None:
            return
        if not self._fresh:
            asyncio.get_running_loop().call_soon(self._ring, near)
        self._fresh.add(writing)

    def _ring(self, near: Near) -> None:
        fresh, self._fresh = self._fresh, set()
        for writing in fresh:
            rung = writing.fresh()
            if rung is not None:
                near.ring(writing.record.stream_id, rung)
