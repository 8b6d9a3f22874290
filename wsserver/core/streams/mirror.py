"""A record whose text is a mirror: does to it what a follower says.

The rule: the steps of one call are done in one go, before any reader looks. A reader that is past
a rewind is told of it before it is woken, so that it never sends text of two continuations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from wsserver.core.streams.follower import End, Follower, Read, Rewind, Step, Take
from wsserver.core.streams.record import StreamRecord
from wsserver_protocol.lifecycle import StreamState


class Mirror:
    """The local copy of one answer.

    Args:
        record: What readers here look at; written by nobody else.
        follower: Who decides.
        on_rewind: Told the new length after the text was cut, for the cursors of the readers.
            Whatever was made of the text past it (a frame kept for others) is wrong from then on.
        on_end: Called when the record has taken its end in, before its readers are woken.

    Attributes:
        early: Log probabilities that came with the text of the newest fence, by the byte offset at
            which their piece ends: they join the record with that text.
    """

    __slots__ = ("_on_end", "_on_rewind", "early", "follower", "record")

    def __init__(
        self,
        record: StreamRecord,
        follower: Follower,
        on_rewind: Callable[[int], None],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.record = record
        self.follower = follower
        self.early: dict[int, Any] = {}
        self._on_rewind = on_rewind
        self._on_end = on_end

    def apply(self, steps: Iterable[Step], now: float) -> Read | None:
        """Do the steps, wake the readers if anything changed; returns the reading to ask for.

        ``now`` is loop time, for the record's times.
        """
        record, follower = self.record, self.follower
        wanted: Read | None = None
        state = follower.state
        if state is StreamState.QUEUED and record.state is StreamState.LOADING:
            state = record.state  # what it waits for is this process' own knowledge
        has_changed = record.state is not state
        has_ended = False
        for step in steps:
            match step:
                case Read():
                    wanted = step
                    continue
                case Take(data, tokens):
                    self._take(data.decode(), tokens, now)
                case Rewind(offset):
                    self._rewind(offset)
                case End(ending):
                    record.ending = ending
                    record.ended_at = now
                    if ending.facts is not None:
                        record.learn(ending.facts)
                        hidden = ending.facts.tokens - record.transcript.generated
                        record.transcript.append("", max(0, hidden))
                    has_ended = True
            has_changed = True
        record.fence = follower.fence
        record.state = state
        if state not in (StreamState.QUEUED, StreamState.LOADING):
            record.queue_position = None
        if has_ended:
            self._on_end()
        if has_changed:
            record.wake()
        return wanted

    def _take(self, text: str, tokens: int, now: float) -> None:
        record = self.record
        if record.first_token_at is None:
            record.first_token_at = now
        # What was cut may have counted a token that the log counts differently: never below 0.
        record.transcript.append(text, max(0, tokens - record.transcript.generated))
        if self.early:
            self._take_logprobs()

    def _take_logprobs(self) -> None:
        kept, length = self.record.logprobs, len(self.record.transcript)
        last = kept[-1][0] if kept else -1
        due = sorted(offset for offset in self.early if offset <= length)
        kept += [(offset, self.early[offset]) for offset in due if offset > last]
        for offset in due:
            del self.early[offset]

    def _rewind(self, offset: int) -> None:
        record = self.record
        transcript = record.transcript
        transcript.restore(transcript.slice(0, offset), transcript.position_at(offset))
        record.logprobs = [kept for kept in record.logprobs if kept[0] <= offset]
        self._on_rewind(offset)
