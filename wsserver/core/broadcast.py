"""One event for many: encoded once an encoding, whoever gets it."""

from __future__ import annotations

from wsserver_protocol.codec import Encoding, encode
from wsserver_protocol.events import Event


class Broadcast:
    """An event on its way to several connections."""

    __slots__ = ("_frames", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._frames: dict[Encoding, bytes] = {}

    def frame(self, encoding: Encoding) -> bytes:
        """The event in an encoding, made when somebody first needs it."""
        frame = self._frames.get(encoding)
        if frame is None:
            frame = self._frames[encoding] = encode(self.event, encoding)
        return frame
