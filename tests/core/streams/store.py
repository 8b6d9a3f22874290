"""A log of answers as a shared store would hold it: each operation is one atomic step.

It tells each change by a doorbell, and can lose the tail of a text, as a store does that fails
over. It knows nothing of networks: who calls it, and when, is the simulator's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.core.streams.sabotage import Sabotage
from wsserver.core.streams.doorbells import Appended, Claimed, Doorbell, Ended, Reading
from wsserver.core.streams.record import Ending
from wsserver.core.streams.writer import Append, Finish, Refusal, Reply
from wsserver_protocol.lifecycle import StreamState

Publish = Callable[[str, Doorbell], None]


class Held(NamedTuple):
    """What a claim gives."""

    fence: int
    text: bytes
    tokens: int


class StoredAnswer:
    """One answer in the store."""

    def __init__(self) -> None:
        self.fence = 0
        self.bases: list[int] = []
        self.state = StreamState.QUEUED
        self.text = bytearray()
        self.marks: list[tuple[int, int]] = []  # length and tokens after each append
        self.cancel: Ending | None = None
        self.ending: Ending | None = None
        self.final: bytes | None = None  # the text at its end
        self.losses = 0

    @property
    def tokens(self) -> int:
        return self.marks[-1][1] if self.marks else 0


class SimulatedStore:
    """Answers by id. ``publish`` is told each doorbell."""

    def __init__(self, publish: Publish, sabotage: Sabotage | None = None) -> None:
        self.answers: dict[str, StoredAnswer] = {}
        self._publish = publish
        self._sabotage = sabotage

    def create(self, stream_id: str) -> None:
        self.answers[stream_id] = StoredAnswer()

    def claim(self, stream_id: str) -> Held | None:
        """The next fence and the text, in one step; None if ended or to be ended."""
        answer = self.answers[stream_id]
        if answer.ending is not None or answer.cancel is not None:
            return None
        self._raise_fence(stream_id, StreamState.RUNNING)
        return Held(answer.fence, bytes(answer.text), answer.tokens)

    def release(self, stream_id: str, fence: int) -> bool:
        """Give a claim back. False if it is not the newest."""
        answer = self.answers[stream_id]
        if answer.ending is not None or answer.fence != fence:
            return False
        self._raise_fence(stream_id, StreamState.QUEUED)
        return True

    def append(self, stream_id: str, operation: Append) -> Reply:
        answer = self.answers[stream_id]
        fence, expected, data, tokens = operation
        if self._is_refused(answer, fence):
            return Reply(len(answer.text), Refusal.FENCED)
        length = len(answer.text)
        if self._sabotage is Sabotage.APPEND_AT_THE_END:
            expected = length
        if length < expected:
            return self._reply(answer, Refusal.SHORT)
        data = data[length - expected :]
        if data:
            answer.text += data
            answer.marks.append((len(answer.text), tokens))
            self._publish(stream_id, Appended(fence, length, data, tokens))
        return self._reply(answer)

    def finish(self, stream_id: str, operation: Finish) -> Reply:
        answer = self.answers[stream_id]
        fence, total, ending = operation
        length = len(answer.text)
        if answer.ending is not None or answer.fence != fence:
            return Reply(length, Refusal.FENCED)
        is_refused = length != total
        if self._sabotage is Sabotage.FINISH_CHECKS_NOTHING:
            is_refused = False
        elif self._sabotage is Sabotage.FINISH_TAKES_MORE:
            is_refused = length < total
        if is_refused:
            return self._reply(answer, Refusal.SHORT)
        answer.ending = ending
        answer.state = StreamState.ENDED
        answer.final = bytes(answer.text)
        self._publish(stream_id, Ended(fence, total, ending))
        return self._reply(answer)

    def cancel(self, stream_id: str, ending: Ending) -> bool:
        """Ask for an end. True for the first."""
        answer = self.answers[stream_id]
        if answer.ending is not None or answer.cancel is not None:
            return False
        answer.cancel = ending
        return True

    def read(self, stream_id: str, offset: int) -> Reading | None:
        answer = self.answers.get(stream_id)
        if answer is None:
            return None
        return Reading(
            fence=answer.fence,
            bases=tuple(answer.bases),
            state=answer.state,
            length=len(answer.text),
            tokens=answer.tokens,
            ending=answer.ending,
            offset=offset,
            data=bytes(answer.text[offset:]),
        )

    def lose_tail(self, stream_id: str, appends: int) -> None:
        """Lose the last appends of a running answer, as if they had never come."""
        answer = self.answers[stream_id]
        if answer.ending is not None or not answer.marks:
            return
        kept = answer.marks[: max(0, len(answer.marks) - appends)]
        answer.marks = kept
        del answer.text[kept[-1][0] if kept else 0 :]
        answer.losses += 1
        if self._sabotage is Sabotage.CLAIMS_ARE_LOST and answer.fence > 1:
            answer.fence -= 1
            answer.bases.pop()

    def _is_refused(self, answer: StoredAnswer, fence: int) -> bool:
        if self._sabotage is Sabotage.APPEND_AFTER_THE_END:
            return answer.fence != fence
        if self._sabotage is Sabotage.APPEND_UNDER_ANY_FENCE:
            return answer.ending is not None
        return answer.ending is not None or answer.fence != fence

    def _raise_fence(self, stream_id: str, state: StreamState) -> None:
        answer = self.answers[stream_id]
        answer.fence += 1
        answer.bases.append(len(answer.text))
        answer.state = state
        self._publish(stream_id, Claimed(answer.fence, answer.bases[-1], state))

    @staticmethod
    def _reply(answer: StoredAnswer, refusal: Refusal | None = None) -> Reply:
        return Reply(len(answer.text), refusal, answer.cancel is not None)
