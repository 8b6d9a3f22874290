"""A connection's view of a stream."""

from __future__ import annotations

from collections.abc import Callable

from wsserver.core.ask import Answer
from wsserver.core.results import logprobs_between, milliseconds, stream_terminal
from wsserver.core.streams import Ending
from wsserver.core.wallclock import wall_ms
from wsserver.gateway.outbox import Outbox
from wsserver.gateway.views.base import BaseView
from wsserver_protocol import events
from wsserver_protocol.codec import Encoding, encode_token
from wsserver_protocol.options import DEFAULT_PROGRESS_EVERY

Opening = Callable[["StreamView"], events.Event]
"""Makes a view's first frame when it is sent, since it tells the state at that moment."""


class StreamView(BaseView):
    """One connection's view of a stream.

    Args:
        answer: What it follows.
        outbox: Where its frames go.
        encoding: How they are encoded.
        opening: Makes the first frame, and may move the cursor.
        request_id: The asker's requestId; None for watchers, who go by streamId.
        interval: Seconds over which text is joined into one piece; 0: a frame a token.
        is_of_all: The opening is the same for all who were there when the stream began.
        on_done: Called after the terminal event was made.
    """

    __slots__ = (
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
        on_done: Callable[[StreamView], object],
    ) -> None:
        super().__init__(outbox, encoding, request_id)
        self.answer = answer
        self.cursor = 0
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
        if self.answer.is_held:
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
        self.wake()

    def next_frame(self, now: float) -> bytes | None:
        if self.answer.is_held:
            return None
        if self._opening is not None and not self.answer.is_refused:
            opening, self._opening = self._opening, None
            if self._is_of_all:
                return self._shared("start", lambda: self._encode(opening(self)))
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
        if self.cursor < len(record.transcript):
            if now < self._next_at and not record.is_ended:
                return None
            return self._piece(now)
        if record.ending is not None and not self.is_done:
            self.close()
            self._on_done(self)
            return self._terminal(record.ending)
        return None

    def close(self) -> None:
        """Follow no longer. Idempotent."""
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

    def _piece(self, now: float) -> bytes:
        record = self.answer.record
        one_by_one = not self._interval and not self.is_behind
        piece = record.transcript.piece(self.cursor, single=one_by_one)
        self.cursor = piece.end
        if piece.end == len(record.transcript):
            self._next_at = self._next_beat(now)
            self.is_behind = False
        if self._every and self.request_id is not None:
            before = piece.position - piece.tokens
            if piece.position // self._every > before // self._every:
                self._progress_at = piece.position
        if self.request_id is not None or record.logprobs:
            return encode_token(
                self._encoding,
                record.stream_id,
                piece.text,
                piece.position,
                piece.tokens,
                piece.end,
                wall_ms(),
                self.request_id,
                self.answer.ask.room_id,
                logprobs_between(record, piece.start, piece.end),
            )
        return self._shared(
            "piece",
            lambda: encode_token(
                self._encoding,
                record.stream_id,
                piece.text,
                piece.position,
                piece.tokens,
                piece.end,
                wall_ms(),
                None,
                self.answer.ask.room_id,
            ),
            what=(piece.start, piece.end),
        )

    def _next_beat(self, now: float) -> float:
        """When to send the next piece: on the answer's beat, not on one of our own.

        Watchers who each waited from their own last piece would drift apart and want other pieces
        of one text; so they want the same ones, and each is encoded once.
        """
        if not self._interval:
            return now
        record = self.answer.record
        start = record.first_token_at or record.accepted_at
        beat = start + ((now - start) // self._interval + 1) * self._interval
        # Sent a little before a beat: the one after it, so that pieces keep their distance.
        return beat if beat - now > self._interval / 2 else beat + self._interval

    def _terminal(self, ending: Ending) -> bytes:
        def make() -> bytes:
            return self._encode(stream_terminal(self.answer, ending, self.request_id))

        return make() if self.request_id is not None else self._shared("end", make)

    def _shared(self, kind: str, make: Callable[[], bytes], what: object = None) -> bytes:
        """A frame that every watcher wants: of those who are up to date the first one makes it."""
        frames = self.answer.shared_frames
        known = frames.get((kind, self._encoding))
        if known is None or known[0] != what:
            known = frames[kind, self._encoding] = (what, make())
        return known[1]

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
