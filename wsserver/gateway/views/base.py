"""What all views share."""

from __future__ import annotations

from wsserver.gateway.outbox import Outbox
from wsserver_protocol import events
from wsserver_protocol.codec import Encoding, encode


class BaseView:
    """What all views share: waking their outbox, and telling each change of place in line."""

    __slots__ = ("_encoding", "_outbox", "_place", "is_behind", "is_done", "request_id")

    def __init__(self, outbox: Outbox, encoding: Encoding, request_id: str | None) -> None:
        self._outbox = outbox
        self._encoding = encoding
        self._place: int | None = None  # in line, as last told
        self.request_id = request_id
        self.is_done = False
        self.is_behind = False

    @property
    def due(self) -> float | None:
        return None

    def wake(self) -> None:
        self._outbox.mark(self)

    def rewound(self, offset: int) -> None:
        """Nothing: a view that shows no text while it grows has none to take back."""

    def next_frame(self, now: float) -> bytes | None:
        raise AssertionError("a view makes its own frames")

    def _place_in_line(self, position: int | None, stream_id: str | None) -> bytes | None:
        if self.request_id is None or position is None or position == self._place:
            return None
        self._place = position
        return self._encode(
            events.QueuePosition(request_id=self.request_id, stream_id=stream_id, position=position)
        )

    def _encode(self, event: events.Event) -> bytes:
        return encode(event, self._encoding)
