"""A connection's view of a `generate`."""

from __future__ import annotations

from collections.abc import Callable

from wsserver.core.ask import Answer
from wsserver.core.results import generation_terminal
from wsserver.gateway.outbox import Outbox
from wsserver.gateway.views.base import BaseView
from wsserver_protocol.codec import Encoding


class GenerationView(BaseView):
    """One connection waits for a `generate`: place in line, then the whole answer."""

    __slots__ = ("_on_done", "answer")

    def __init__(
        self,
        answer: Answer,
        outbox: Outbox,
        encoding: Encoding,
        *,
        request_id: str | None,
        on_done: Callable[[GenerationView], object],
    ) -> None:
        super().__init__(outbox, encoding, request_id)
        self.answer = answer
        self._on_done = on_done
        answer.record.watchers.add(self)
        self.wake()

    def wake(self) -> None:
        # Not for text: only a place in line or the end makes a frame.
        record = self.answer.record
        if record.is_ended or record.queue_position not in (None, self._place):
            self._outbox.mark(self)

    def next_frame(self, now: float) -> bytes | None:
        record = self.answer.record
        if record.ending is None:
            return self._place_in_line(record.queue_position, None)
        if self.is_done:
            return None
        terminal = generation_terminal(record, record.ending, self.request_id)
        self.close()
        self._on_done(self)
        return self._encode(terminal)

    def close(self) -> None:
        """Wait no longer. Idempotent."""
        self.is_done = True
        self.answer.record.watchers.discard(self)
        self._outbox.drop(self)
