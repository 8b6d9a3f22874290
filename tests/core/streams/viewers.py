"""People who watch answers: they apply the client's rule, lose their connection, and come back."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from tests.core.streams.virtual_loop import VirtualLoop
from wsserver.core.streams.follower import Cursor
from wsserver_protocol import events
from wsserver_protocol.codec import parse_event
from wsserver_protocol.cursor import AnswerText, Ask, Shortened
from wsserver_protocol.frames import decode_frame

if TYPE_CHECKING:
    from tests.core.streams.following_view import Frame


class Line(Protocol):
    """A viewer's connection as it sees it."""

    def ask(self, cursor: Cursor) -> None:
        """Send a `watch_stream`."""

    def cut(self) -> None:
        """Break it, with all that is under way on it."""


Connect = Callable[["Viewer", Cursor], Line | None]
"""Connects to some gateway and watches from the cursor; None: there is none now."""


class Viewer:
    """Watches one answer to its end.

    A restless one is cut every 10 to 250 ms; the others stay. One that ``knows_fence`` gives the
    fence of its last frame when it comes back, as a client could if frames told it; the others
    have an offset only, as the wire has it.
    """

    def __init__(
        self,
        stream_id: str,
        *,
        loop: VirtualLoop,
        connect: Connect,
        rng: random.Random,
        is_restless: bool,
        knows_fence: bool,
        is_one_text: Callable[[bytes], bool],
        violate: Callable[[str], None],
    ) -> None:
        self.stream_id = stream_id
        self.text = AnswerText()
        self.is_done = False
        self.surplus = 0  # bytes delivered and rolled back
        self.rewinds = 0
        self.received = 0  # bytes of text
        self.connections = 0
        self.asks = 0
        self._loop = loop
        self._connect = connect
        self._rng = rng
        self._is_restless = is_restless
        self._knows_fence = knows_fence
        self._fence: int | None = None  # of the last frame, if it knows
        self._is_one_text = is_one_text
        self._violate = violate
        self._line: Line | None = None
        self._has_ended = False  # on this connection

    def come(self) -> None:
        """Connect and watch from where the text ends."""
        if self.is_done or self._line is not None:
            return
        self._has_ended = False
        self.text.disconnected()
        self.connections += 1
        self._line = line = self._connect(self, self._cursor)
        if line is None:
            self._loop.call_later(self._rng.uniform(0.01, 0.1), self.come)
        elif self._is_restless:
            self._loop.call_later(self._rng.uniform(0.01, 0.25), self.leave, line)

    def leave(self, line: Line) -> None:
        """The connection breaks, if it has not yet; come back soon, now and then late."""
        if line is not self._line:
            return
        self._line = None
        line.cut()
        away = self._rng.uniform(0.0, 0.06) if self._rng.random() < 0.9 else 0.7
        self._loop.call_later(away, self.come)

    def receive(self, line: Line, frame: Frame) -> None:
        """A frame has come in."""
        if line is not self._line:
            return
        event = parse_event(decode_frame(bytes(frame)))
        if self._has_ended:
            self._violate(f"{self.stream_id}: {type(event).__name__} after the terminal event")
        if self._knows_fence:
            self._fence = frame.fence
        match event:
            case events.StreamToken() | events.StreamSnapshot() | events.StreamRewind():
                self._apply(line, event)
            case events.StreamComplete() | events.StreamStopped() | events.StreamError():
                self._end(event.offset)
            case _:
                self._violate(f"{self.stream_id}: unexpected {event!r}")

    @property
    def _cursor(self) -> Cursor:
        return Cursor(self._fence, self.text.have)

    @property
    def final(self) -> bytes:
        """The text as it is, whether or not it is UTF-8 any more."""
        try:
            return self.text.text.encode()
        except UnicodeDecodeError as broken:
            return bytes(broken.object)

    def _apply(
        self, line: Line, event: events.StreamToken | events.StreamSnapshot | events.StreamRewind
    ) -> None:
        if isinstance(event, events.StreamToken):
            self.received += len(event.token.encode())
        elif isinstance(event, events.StreamSnapshot):
            self.received += len(event.text.encode())
        before = self.text.have
        match self.text.apply(event):
            case Ask():
                self.asks += 1
                line.ask(self._cursor)
            case Shortened(offset=offset):
                self.rewinds += 1
                self.surplus += before - offset
        if not self._is_one_text(self.final):
            self._violate(f"{self.stream_id}: a viewer sees parts of two texts")

    def _end(self, offset: int | None) -> None:
        self._has_ended = True
        if offset != self.text.have:
            self._violate(f"{self.stream_id}: ended at {offset} with {self.text.have} delivered")
        else:
            self.is_done = True
