"""The watchers of one answer who stand at the same place: fed as one.

Nearly everyone who watches an answer has the same text of it and waits for the same piece. They
share one cursor, one timer and one frame, which is written to their sockets one after the other:
of a piece for a thousand people little is left but the system calls. A view joins when it stands
where the others do, and goes on alone as soon as it is not sent what they are: its socket takes
nothing, its reader asks for another place, the text is cut. What it has been sent is an integer
of its own, before, meanwhile and afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple
from weakref import WeakValueDictionary

from wsserver.core.ask import Answer
from wsserver.core.telemetry import Telemetry
from wsserver.gateway.alarm import Alarm, Clock
from wsserver.gateway.framing import Shared
from wsserver.gateway.outbox import WRITE_BATCH_BYTES
from wsserver.gateway.views.pieces import end_for_all, next_beat, piece_for_all
from wsserver.gateway.views.stream import StreamView
from wsserver_protocol.codec import Encoding

AT_ONCE = 128
"""Members that are fed in one turn of the loop, about a millisecond's work: between two turns a
stop is read, or someone else's token sent, and does not wait for a room of thousands."""


class Audiences:
    """The audiences of a process. Each lives as long as a view that may join it.

    Args:
        clock: Wakes them.
        telemetry: Told what is sent.
        at_once: Members that are fed in one turn of the loop.
    """

    def __init__(self, clock: Clock, telemetry: Telemetry, *, at_once: int = AT_ONCE) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._at_once = at_once
        self._audiences: WeakValueDictionary[tuple[str, Encoding, float], Audience] = (
            WeakValueDictionary()
        )

    def __len__(self) -> int:
        return len(self._audiences)

    def of(self, answer: Answer, encoding: Encoding, interval: float) -> Audience:
        """The audience of an answer in one encoding at one pace."""
        key = (answer.stream_id, encoding, interval)
        audience = self._audiences.get(key)
        if audience is None or audience.answer is not answer:  # let go of, and found anew
            audience = self._audiences[key] = Audience(
                answer,
                encoding,
                interval,
                clock=self._clock,
                telemetry=self._telemetry,
                at_once=self._at_once,
            )
        return audience


class Round(NamedTuple):
    """Frames on their way from one member to the next.

    Who comes while it lasts has their text already, and who goes before its turn does not: who is
    to get them stands at ``start``.
    """

    views: Iterator[StreamView]  # that were there when it began
    frames: Shared
    start: int
    end: int
    is_last: bool


class Audience:
    """Feeds the views that stand at the same place of one answer.

    Args:
        answer: What they watch.
        encoding: How it is told to them.
        interval: Seconds over which text is joined into one piece; 0: a frame a token.
        clock: Wakes it.
        telemetry: Told what is sent.
        at_once: Members that are fed in one turn of the loop.
    """

    def __init__(
        self,
        answer: Answer,
        encoding: Encoding,
        interval: float,
        *,
        clock: Clock,
        telemetry: Telemetry,
        at_once: int,
    ) -> None:
        self.answer = answer
        self._encoding = encoding
        self._interval = interval
        self._telemetry = telemetry
        self._at_once = at_once
        self._members: dict[StreamView, None] = {}  # in order of coming
        self._cursor = 0  # of all, once the round is over
        self._next_at = 0.0
        self._round: Round | None = None
        self._alarm = Alarm(clock, self._feed)

    def admit(self, view: StreamView, next_at: float) -> bool:
        """Feed a view from now on. False if it stands elsewhere, or the answer has ended.

        ``next_at``: when its next piece would be due; the first one's counts for all.
        """
        if self.answer.record.is_ended:
            return False
        if not self._members:
            self._cursor, self._next_at = view.cursor, next_at
            self.answer.record.watchers.add(self)
        elif view.cursor != self._cursor:
            return False
        self._members[view] = None
        self.wake()
        return True

    def leave(self, view: StreamView) -> None:
        """Feed a view no longer. What it was not sent by now it is not sent from here."""
        del self._members[view]
        if not self._members:
            self._round = None
            self._alarm.cancel()
            self.answer.record.watchers.discard(self)

    def wake(self) -> None:
        """There may be something to send: for this the record's text is watched."""
        if self._round is not None:
            return  # it is looked at after that
        record = self.answer.record
        if record.is_ended:
            self._alarm.set(0.0)
        elif self._cursor < len(record.transcript):
            self._alarm.set(self._next_at)

    def rewound(self, offset: int) -> None:
        """The text was cut: frames of what is no more may be under way, so each goes on alone."""
        if self._cursor > offset:
            for view in tuple(self._members):
                view.go_alone()
                view.rewound(offset)

    def _feed(self) -> None:
        """Begin a round with what is due, or go on with it."""
        if self._round is None:
            self._round = self._begin()
        if self._round is not None:
            self._alarm.set(0.0)  # whatever comes of this turn, there is another one
            if not self._hand_out(self._round):
                return
            self._alarm.cancel()
            self._round = None
        if self._members:
            self.wake()

    def _begin(self) -> Round | None:
        """Make what is due; None if nothing is."""
        start, record = self._cursor, self.answer.record
        now = asyncio.get_running_loop().time()
        payloads: list[bytes] = []
        size = 0
        while self._cursor < len(record.transcript) and size < WRITE_BATCH_BYTES:
            if now < self._next_at and not record.is_ended:
                break
            piece = record.transcript.piece(self._cursor, single=not self._interval)
            self._cursor = piece.end
            payloads.append(piece_for_all(self.answer, self._encoding, piece))
            size += len(payloads[-1])
            if piece.end == len(record.transcript):
                self._next_at = next_beat(record, self._interval, now)
        is_last = record.ending is not None and self._cursor == len(record.transcript)
        if record.ending is not None and is_last:
            payloads.append(end_for_all(self.answer, self._encoding, record.ending))
        if not payloads:
            return None
        frames = Shared(payloads, is_text=self._encoding.is_text)
        return Round(iter(tuple(self._members)), frames, start, self._cursor, is_last)

    def _hand_out(self, turn: Round) -> bool:
        """Give the frames to some more members. False if there may be others."""
        views, frames, start, end, is_last = turn
        looked_at = given = 0
        for view in islice(views, self._at_once):
            looked_at += 1
            if view.is_fed and view.cursor == start and view.take(frames, end):
                given += 1
                if is_last:
                    view.end()
        self._telemetry.frame_sent(
            "text" if self._encoding.is_text else "binary",
            frames.size * given,
            len(frames.payloads) * given,
        )
        return looked_at < self._at_once
