"""A view of an answer whose text is a mirror: `StreamView`, and the cuts that a mirror brings."""

from __future__ import annotations

from wsserver.core.ask import Answer
from wsserver.gateway.outbox import Outbox
from wsserver.gateway.views import Audience, StreamView, snapshot
from wsserver.gateway.views.stream import Company
from wsserver_protocol import events
from wsserver_protocol.frames import Encoding


class Frame(bytes):
    """A frame that knows under which fence it was made."""

    fence: int


class FollowingView(StreamView):
    """A view of a mirror that may be cut.

    A cut goes out before anything else, also before an opening that waits: a snapshot joins to
    what the reader has, and that must be right by then.
    """

    __slots__ = ("_cut_to", "is_overlooked")

    def __init__(
        self,
        answer: Answer,
        outbox: Outbox,
        *,
        interval: float,
        company: Audience,
        has: int,
        stands: int,
    ) -> None:
        super().__init__(
            answer,
            outbox,
            Encoding.JSON,
            opening=_opening,
            request_id=None,
            interval=interval,
            company=company,
            on_done=lambda _: None,
        )
        self._cut_to = stands if stands < has else None
        self.cursor = stands
        self.is_overlooked = False  # only by sabotage

    @property
    def due(self) -> float | None:
        return 0.0 if self._cut_to is not None else super().due

    def stand(self, has: int, stands: int) -> None:
        """The reader says what it has, again: its cut, and the opening from there."""
        self.cursor = stands
        self._cut_to = stands if stands < has else None
        self.reopen(_opening)

    def rewound(self, offset: int) -> None:
        if self.cursor > offset:
            self.cursor = self._cut_to = offset
            self.wake()

    def _joins(self, company: Company) -> bool:
        return not self.is_overlooked and super()._joins(company)

    def next_frame(self, now: float) -> bytes | None:
        record = self.answer.record
        payload: bytes | None
        if self._cut_to is not None and not self.is_done:
            offset, self._cut_to = self._cut_to, None
            payload = self._encode(events.StreamRewind(stream_id=record.stream_id, offset=offset))
        else:
            payload = super().next_frame(now)
        if payload is None:
            return None
        frame = Frame(payload)
        frame.fence = record.fence
        return frame


def _opening(view: StreamView) -> events.Event:
    # Where the cursor is when it goes out: it may have been cut since it was asked for.
    return snapshot(None, view.cursor)(view)


class LateCutView(FollowingView):
    """Broken: its cut follows the opening, with the offset that the opening has reached."""

    __slots__ = ()

    def next_frame(self, now: float) -> bytes | None:
        cut_to = self._cut_to
        if self._opening is None or cut_to is None:
            return super().next_frame(now)
        self._cut_to = None
        opening = super().next_frame(now)
        self._cut_to = self.cursor
        return opening
