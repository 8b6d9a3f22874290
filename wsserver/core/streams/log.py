"""The port through which answers are written: claimed, appended to, ended, cancelled.

Eight rules keep every reader's text equal whatever dies; each implementation holds them, and the
contract suite in tests/contracts checks them one by one:

1. a claim returns fence and text in one atomic step;
2. finish refuses while text that the writer has sent is missing;
3. append refuses once the answer has ended, not only on an old fence;
4. fences only grow, and a reader applies them in order;
5. a reader becomes a watcher without a gap between reading the text and being woken;
6. a reader ahead of the text waits, it is never reset;
7. an end is noticed without the doorbell that announced it;
8. append is idempotent by its expected offset.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from wsserver.core.engine import TokenLogprob
from wsserver.core.streams.record import Ending, StreamRecord


class Claim(NamedTuple):
    """What a writer holds: its fence, and the text to go on from."""

    fence: int
    text: str
    tokens: int


class Fenced(Exception):
    """The writer is no longer the writer: a newer claim exists, or the answer has ended.

    It must stop generating and write no more.
    """


class RunnerLog(Protocol):
    """Text of answers as their writer sees it."""

    def get(self, stream_id: str) -> StreamRecord | None:
        """The record of an answer that was claimed here, None when it is gone."""

    async def claim(self, stream_id: str) -> Claim | None:
        """Become the writer: fence + 1, state RUNNING. None when ended, cancelled or gone."""

    def append(
        self,
        stream_id: str,
        fence: int,
        offset: int,
        text: str,
        tokens: int,
        logprobs: tuple[TokenLogprob, ...] | None = None,
    ) -> int:
        """Add text at byte ``offset``. What is already there is skipped: a retry adds nothing.

        Returns:
            The text's length in bytes afterwards: the next append's ``offset``.

        Raises:
            Fenced: If ``fence`` is not the newest, or the answer has ended.
            ValueError: If ``offset`` lies past the end, so that text between would be missing.
        """

    def finish(self, stream_id: str, fence: int, total: int, ending: Ending) -> None:
        """End the answer at ``total`` bytes, and wake its watchers.

        Raises:
            Fenced: As for `append`.
            ValueError: If the text is not ``total`` bytes long.
        """

    def release(self, stream_id: str, fence: int) -> None:
        """Give a claim back after an engine died: state QUEUED, the text stays.

        Raises:
            Fenced: As for `append`.
        """


class StreamLog(RunnerLog, Protocol):
    """Text of answers of one process. One writer at a time each, any number of readers."""

    def create(self, record: StreamRecord) -> None:
        """Begin an answer in state QUEUED. Its id is new and never used again."""

    def forget(self, stream_id: str) -> None:
        """Drop an answer that was created and that nobody has been told of."""

    def cancel(self, stream_id: str, ending: Ending) -> bool:
        """Ask for an end, durably. True for the first one asked of a living answer.

        From now on no claim succeeds. Who asked then sees to the end: of an answer that no writer
        holds with `finish` under the current fence, otherwise by telling its writer.
        """
