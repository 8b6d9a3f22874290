"""A connection's view of a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from wsserver.core.ask import Answer
from wsserver.core.results import milliseconds
from wsserver.gateway.framing import Shared
from wsserver.gateway.outbox import Outbox
from wsserver.gateway.views.base import BaseView
from wsserver.gateway.views.pieces import (
    end_for_all,
    end_frame,
    next_beat,
    piece_for_all,
    piece_frame,
    shared,
)
from wsserver_protocol import events
from wsserver_protocol.codec import Encoding
from wsserver_protocol.options import DEFAULT_PROGRESS_EVERY

Opening = Callable[["StreamView"], events.Event]
"""Makes a view's first frame when it is sent, since it tells the state at that moment."""


class Company(Protocol):
    """The others who watch the same stream; they are fed together."""

    def admit(self, view: StreamView, next_at: float) -> bool:
        """Feed a view from now on. False if it stands elsewhere.

        ``next_at``: when its next piece would be due (loop seconds).
        """

    def leave(self, view: StreamView) -> None:
        """Feed it no longer."""


class StreamView(BaseView):
    """One connection's view of a stream.

    What it is sent it makes itself, or, while it stands where others stand, is made for all of them
    at once: it is *fed* then.

    Args:
        answer: What it follows.
        outbox: Where its frames go.
        encoding: How they are encoded.
        opening: Makes the first frame, and may move the cursor.
        request_id: The asker's requestId; None for watchers, who go by streamId.
        interval: Seconds over which text is joined into one piece; 0: a frame a token.
        is_of_all: The opening is the same for all who were there when the stream began.
        company: With whom it may be fed; only for watchers, since an asker's frames are its own.
        on_done: Called after the terminal event was made.
    """

    __slots__ = (
        "_company",
        "_every",
        "_interval",
        "_is_of_all",
        "_next_at",
        "_on_done",
        "_opening",
        "_progress_at",
        "_rewind",
        "answer",
        "cursor",
        "is_fed",
    )

    def __init__(
        self,
        answer: Answer,
        outbox: Outbox,
        encoding: Encoding,
        *,
        opening: Opening,
        request_id: str | None,
        interval: float,
        is_of_all: bool = False,
        company: Company | None = None,
        on_done: Callable[[StreamView], object],
    ) -> None:
        super().__init__(outbox, encoding, request_id)
        self.answer = answer
        self.cursor = 0
        self.is_fed = False
        self._company = company
        self._opening: Opening | None = opening
        self._is_of_all = is_of_all
        self._interval = interval
        self._next_at = 0.0
        self._on_done = on_done
        every = answer.ask.options.progress_every
        self._every = DEFAULT_PROGRESS_EVERY if every is None else every
        self._rewind = False
        self._progress_at: int | None = None  # tokens, where a progress frame is due
        self.is_behind = len(answer.record.transcript) > 0
        answer.record.watchers.add(self)

    @property
    def due(self) -> float | None:
        record = self.answer.record
        if self.is_fed or self.answer.is_held:
            return None
        if (
            self._opening is not None
            or self._rewind
            or self._progress_at is not None
            or record.is_ended
        ):
            return 0.0
        if self.cursor < len(record.transcript):
            return self._next_at
        return 0.0 if self._has_new_place() else None

    def reopen(self, opening: Opening) -> None:
        """Begin again with another opening: for a `watch_stream` of what is watched already."""
        self._opening = opening
        self._is_of_all = False
        self.go_alone()
        self.wake()

    def next_frame(self, now: float) -> bytes | None:
        if self.is_fed or self.answer.is_held:
            return None
        if self._opening is not None and not self.answer.is_refused:
            opening, self._opening = self._opening, None
            if self._is_of_all:
                return shared(
                    self.answer, self._encoding, "start", lambda: self._encode(opening(self))
                )
            return self._encode(opening(self))
        record = self.answer.record
        if self._rewind:
            self._rewind = False
            return self._encode(
                events.StreamRewind(
                    stream_id=record.stream_id,
                    offset=self.cursor,
                    room_id=self.answer.ask.room_id,
                )
            )
        if self._has_new_place():
            return self._place_in_line(record.queue_position, record.stream_id)
        if self._progress_at is not None:
            return self._progress(now)
        if self._company is not None and self._joins(self._company):
            return None
        if self.cursor < len(record.transcript):
            if now < self._next_at and not record.is_ended:
                return None
            return self._piece(now)
        if record.ending is not None and not self.is_done:
            self.end()
            if self.request_id is None:
                return end_for_all(self.answer, self._encoding, record.ending)
            return end_frame(self.answer, self._encoding, record.ending, self.request_id)
        return None

    def take(self, frames: Shared, end: int) -> bool:
        """Send what was made for all, which leads to ``end``. False if the socket is full: the
        view has fallen behind then, and goes on alone."""
        if self._outbox.push(frames):
            self.cursor = end
            return True
        self.is_behind = True
        self.go_alone()
        return False

    def go_alone(self) -> None:
        """Be fed no longer, if it was: what is due from now on it makes itself."""
        if self.is_fed:
            self._leave()
            self.wake()

    def end(self) -> None:
        """The terminal event is on its way."""
        self.close()
        self._on_done(self)

    def close(self) -> None:
        """Follow no longer. Idempotent."""
        if self.is_fed:
            self._leave()
        self.is_done = True
        self.answer.record.watchers.discard(self)
        self._outbox.drop(self)

    def rewind(self) -> None:
        """The reader has more than there is: tell it to drop what lies past the cursor."""
        self._rewind = True

    def rewound(self, offset: int) -> None:
        """The text was cut: a reader who has more is told before anything else."""
        if self.cursor > offset:
            self.cursor = offset
            self._rewind = True
            self.wake()

    def told_place(self, position: int | None) -> None:
        """The opening has told this place in line."""
        self._place = position

    def _has_new_place(self) -> bool:
        position = self.answer.record.queue_position
        return self.request_id is not None and position not in (None, self._place)

    def _leave(self) -> None:
        if self._company is not None:
            self.is_fed = False
            self.answer.record.watchers.add(self)  # before the audience may cease to be one
            self._company.leave(self)

    def _joins(self, company: Company) -> bool:
        """Whether it is fed from now on: looked at before each piece of its own, and after it."""
        if self.is_done or not company.admit(self, self._next_at):
            return False
        self.is_fed = True
        self.is_behind = False
        # After the admission: an answer that nobody watches might be ended for that.
        self.answer.record.watchers.discard(self)
        return True

    def _piece(self, now: float) -> bytes:
        record = self.answer.record
        one_by_one = not self._interval and not self.is_behind
        piece = record.transcript.piece(self.cursor, single=one_by_one)
        self.cursor = piece.end
        if piece.end == len(record.transcript):
            self._next_at = next_beat(record, self._interval, now)
            self.is_behind = False
        if self._every and self.request_id is not None:
            before = piece.position - piece.tokens
            if piece.position // self._every > before // self._every:
                self._progress_at = piece.position
        if self.request_id is None:
            return piece_for_all(self.answer, self._encoding, piece)
        return piece_frame(self.answer, self._encoding, piece, self.request_id)

    def _progress(self, now: float) -> bytes:
        record = self.answer.record
        tokens = self._progress_at or 0
        self._progress_at = None
        first = record.first_token_at
        seconds = now - first if first is not None else 0.0
        return self._encode(
            events.StreamProgress(
                request_id=self.request_id,
                stream_id=record.stream_id,
                token_count=tokens,
                elapsed_time=milliseconds(record.accepted_at, now),
                # The first token began before the clock did: n tokens are n - 1 intervals.
                tokens_per_second=round((tokens - 1) / seconds, 1) if seconds > 0 else 0.0,
            )
        )
