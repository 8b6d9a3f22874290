"""What holds for every frame of every connection, checked on each as it comes.

Decides nothing about a test: it only knows the contract. The rules: each frame is an event of the
protocol and converts to its struct; text joins without a gap; a request has one terminal event,
and nothing of it follows; requestIds are those that were sent; no message shows the host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from wsserver_protocol.catalogue import ErrorCode
from wsserver_protocol.events import EVENT_TYPES
from wsserver_protocol.replies import TERMINAL_EVENTS

STREAM_TERMINALS = frozenset(("stream_complete", "stream_stopped", "stream_error"))
MADE_BY_SERVER = re.compile(r"req_[0-9a-f]{24}")
HOST_PATH = re.compile(r"Traceback|site-packages|\.py\b|/(?:tmp|home|root|work|usr|var)/")
MAX_FRAME_BYTES = 1024 * 1024
MAX_PIECE_BYTES = 32 * 1024


class Broken(AssertionError):
    """A frame breaks the contract."""

    def __init__(self, what: str, frame: object = None) -> None:
        shown = repr(frame) if frame is not None else ""
        super().__init__(
            f"{what} {shown if len(shown) < 600 else shown[:400] + ' … ' + shown[-200:]}"
        )


@dataclass
class StreamCopy:
    """One stream as this connection has seen it."""

    begins: int = 0  # offset of the first byte in ``data``
    data: bytearray = field(default_factory=bytearray)
    tokens: int = 0
    ended: dict[str, Any] | None = None
    openings: int = 0

    @property
    def offset(self) -> int:
        """Where the text ends."""
        return self.begins + len(self.data)

    @property
    def text(self) -> str:
        """The text from ``begins``."""
        return self.data.decode()


class Invariants:
    """The contract's view of one connection."""

    def __init__(self) -> None:
        self.streams: dict[str, StreamCopy] = {}
        self.sent_ids: set[str] = set()
        self.sent_without_id = False
        self._ended: dict[str, Any] = {}  # requestId to the frame that ended it
        self._askers: dict[Any, str] = {}  # streamId to the requestId that its events carry
        self._looks: set[str] = set()  # requestIds of `watch_stream`s
        self._frames = 0

    def sent(self, fields: dict[str, Any]) -> None:
        """Note a message that goes out."""
        request_id = fields.get("requestId", fields.get("request_id"))
        if isinstance(request_id, str):
            self.sent_ids.add(request_id)
            self._ended.pop(request_id, None)
        else:
            self.sent_without_id = True
        stream_id = fields.get("streamId")
        if fields.get("type") == "watch_stream" and isinstance(stream_id, str):
            self._ended.pop(self._askers.get(stream_id, ""), None)  # its end comes once more
            if isinstance(request_id, str):
                self._looks.add(request_id)

    def received(self, frame: Any, size: int) -> None:
        """Check a frame that came in."""
        if not isinstance(frame, dict):
            raise Broken("not a map:", frame)
        kind = frame.get("type")
        if kind not in EVENT_TYPES:
            raise Broken(f"unknown event {kind!r}")
        if self._frames == 0 and kind != "connected":
            raise Broken(f"the first frame is {kind}, not connected")
        self._frames += 1
        if size > MAX_FRAME_BYTES:
            raise Broken(f"{kind} has {size} bytes")
        try:
            msgspec.convert(frame, EVENT_TYPES[kind])
        except msgspec.ValidationError as error:
            raise Broken(f"{kind} does not fit its type: {error}:", frame) from error
        self._check_words(frame)
        self._check_request_id(frame)
        self._check_stream(frame)

    def _check_words(self, frame: dict[str, Any]) -> None:
        if "code" in frame:
            ErrorCode(frame["code"])
            said = f"{frame.get('error')} {frame.get('details')}"
            if HOST_PATH.search(said):
                raise Broken("an error shows the host:", frame)

    def _check_request_id(self, frame: dict[str, Any]) -> None:
        request_id = frame.get("requestId")
        if request_id is None:
            return
        own = self.sent_without_id and MADE_BY_SERVER.fullmatch(request_id)
        if request_id not in self.sent_ids and not own:
            raise Broken("a requestId that was never sent:", frame)
        if frame["type"] == "stream_snapshot" and request_id in self._looks:
            # It may have ended on its own while it was asked for.
            self._ended.pop(self._askers.get(frame["streamId"], ""), None)
        if request_id in self._ended:
            raise Broken(f"after the end of {request_id} with {self._ended[request_id]}:", frame)
        if frame["type"] == "stream_start":
            self._askers[frame["streamId"]] = request_id
        # A second request under the id of one that runs is refused; that one goes on.
        if frame["type"] in TERMINAL_EVENTS and frame.get("code") != "duplicate_request":
            self._ended[request_id] = frame
            if "streamId" in frame:  # which had begun on an earlier connection, perhaps
                self._askers.setdefault(frame["streamId"], request_id)

    def _check_stream(self, frame: dict[str, Any]) -> None:
        stream_id = frame.get("streamId")
        kind = frame["type"]
        if stream_id is None or kind in ("queue_position", "room_message"):
            return
        if kind == "stream_unwatched":
            del self.streams[stream_id]  # what follows is no view of it, such as a stop's reply
            return
        stream = self.streams.setdefault(stream_id, StreamCopy())
        if kind == "stream_start":
            self.streams[stream_id] = StreamCopy(openings=stream.openings + 1)
        elif kind == "stream_snapshot":
            self._take_snapshot(stream, frame)
        elif kind == "stream_rewind":
            self._take_rewind(stream, frame)
        elif kind == "stream_token":
            self._take_piece(stream, frame)
        elif kind in STREAM_TERMINALS:
            self._take_end(stream, frame)

    def _take_snapshot(self, stream: StreamCopy, frame: dict[str, Any]) -> None:
        text = frame["text"].encode()
        if frame["offset"] - frame["fromOffset"] != len(text) or len(text) > MAX_PIECE_BYTES:
            raise Broken("a snapshot's offsets do not fit its text:", frame)
        stream.begins = frame["fromOffset"]
        stream.data = bytearray(text)
        stream.tokens = frame["position"]
        stream.ended = None
        stream.openings += 1

    def _take_rewind(self, stream: StreamCopy, frame: dict[str, Any]) -> None:
        del stream.data[max(0, frame["offset"] - stream.begins) :]
        stream.begins = min(stream.begins, frame["offset"])

    def _take_piece(self, stream: StreamCopy, frame: dict[str, Any]) -> None:
        text = frame["token"].encode()
        if not stream.openings or stream.ended is not None:
            raise Broken("a piece outside of its stream:", frame)
        if not 0 < len(text) <= MAX_PIECE_BYTES:
            raise Broken(f"a piece of {len(text)} bytes")
        if frame["offset"] != stream.offset + len(text):
            raise Broken(f"a piece at {frame['offset']}, after {stream.offset}:", frame)
        stream.data += text
        stream.tokens += frame["count"]
        if frame["position"] != stream.tokens:
            raise Broken(f"position {frame['position']} after {stream.tokens} tokens")

    def _take_end(self, stream: StreamCopy, frame: dict[str, Any]) -> None:
        if stream.ended is not None:
            # Two stops of an unwatched stream that were on their way together each have their end.
            if stream.openings or frame.get("requestId") == stream.ended.get("requestId"):
                raise Broken(f"a second end after {stream.ended}:", frame)
            return
        if stream.openings:
            if frame["offset"] != stream.offset:
                raise Broken(f"ends at {frame['offset']}, the text at {stream.offset}")
            total = frame.get("totalTokens")
            if total is not None and total != stream.tokens:
                raise Broken(f"totalTokens {total}, but {stream.tokens} came")
        stream.ended = frame
