"""The link between an engine's host and its child: message types and frames, both ways.

Decides what crosses the socket and how it is cut into frames. It opens no socket and keeps no
clock: bytes in, messages out. A frame is a kind byte, the length of its body as four bytes, and
the body, MessagePack. **One frame carries all outputs of one engine step**: the cost of a frame
(a system call and a wake-up on each side) is paid per step and never per token.

Both sides are the same package, but not always the same version: a package upgraded under a
running server meets its old parent when a child is started again. `Hello` carries `VERSION` for
that day.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from wsserver.core.engine import ChatMessage, EngineJob, LoadProgress, ModelInfo, ModelSpec, Output

VERSION: Final = 1

# Bytes of one body. A job carries its whole prompt: a context of a million tokens is some 8 MiB
# of text, and a session's history is bounded by its model's context.
MAX_FRAME: Final = 64 * 1024 * 1024

CONTROL: Final = 1
OUTPUTS: Final = 2

_HEADER: Final = struct.Struct(">BI")
_KINDS: Final = frozenset((CONTROL, OUTPUTS))


class LinkError(Exception):
    """The bytes on the link are not what this version writes; the link is of no use any more."""


class Load(msgspec.Struct, tag="load", frozen=True, kw_only=True):
    """First message to the child. ``beat_seconds``: how often it must show that it is alive."""

    spec: ModelSpec
    beat_seconds: float


class Start(msgspec.Struct, tag="start", frozen=True):
    """Begin a job."""

    job: EngineJob


class Cancel(msgspec.Struct, tag="cancel", frozen=True):
    """End a job, if it still runs."""

    job_id: str


class Count(msgspec.Struct, tag="count", frozen=True, kw_only=True):
    """Count tokens of exactly one of ``messages`` and ``text``."""

    request: int
    messages: tuple[ChatMessage, ...] | None = None
    text: str | None = None


class Close(msgspec.Struct, tag="close", frozen=True):
    """End all work and exit."""


class Hello(msgspec.Struct, tag="hello", frozen=True):
    """First message of the child."""

    version: int


class Loading(msgspec.Struct, tag="loading", frozen=True):
    """The load advanced."""

    progress: LoadProgress


class Loaded(msgspec.Struct, tag="loaded", frozen=True):
    """The model is ready for jobs."""

    info: ModelInfo


class LoadFailed(msgspec.Struct, tag="load_failed", frozen=True):
    """The load failed; the child exits. ``reason`` None: what it wrote to stderr is the reason."""

    reason: str | None


class Counted(msgspec.Struct, tag="counted", frozen=True):
    """Answer to a `Count`."""

    request: int
    tokens: int


class CountRefused(msgspec.Struct, tag="count_refused", frozen=True):
    """Answer to a `Count` that could not be served; ``reason`` is for people."""

    request: int
    reason: str


class Beat(msgspec.Struct, tag="beat", frozen=True):
    """The child is alive and its work, if any, goes on."""


ToChild = Load | Start | Cancel | Count | Close
ToHost = Hello | Loading | Loaded | LoadFailed | Counted | CountRefused | Beat

_encoder: Final = msgspec.msgpack.Encoder()
_to_child: Final[msgspec.msgpack.Decoder[ToChild]] = msgspec.msgpack.Decoder(ToChild)
_to_host: Final[msgspec.msgpack.Decoder[ToHost]] = msgspec.msgpack.Decoder(ToHost)
_outputs: Final[msgspec.msgpack.Decoder[list[Output]]] = msgspec.msgpack.Decoder(list[Output])


def _frame(kind: int, content: object) -> bytearray:
    frame = bytearray(_HEADER.size)
    try:
        _encoder.encode_into(content, frame, _HEADER.size)
    except UnicodeEncodeError as error:
        raise LinkError("text with half a surrogate pair can't be sent") from error
    length = len(frame) - _HEADER.size
    if length > MAX_FRAME:
        raise LinkError(f"a frame of {length} bytes exceeds {MAX_FRAME}")
    _HEADER.pack_into(frame, 0, kind, length)
    return frame


def encode_control(message: ToChild | ToHost) -> bytearray:
    """One message as a frame.

    Raises:
        LinkError: If it is larger than `MAX_FRAME`, or text that is not Unicode.
    """
    return _frame(CONTROL, message)


def encode_outputs(outputs: Sequence[Output]) -> bytearray:
    """All outputs of one step as a frame; raises as `encode_control`."""
    return _frame(OUTPUTS, outputs)


def decode_to_child(kind: int, body: bytes) -> ToChild:
    """What the host sent.

    Raises:
        LinkError: If it is no message of this version.
    """
    if kind != CONTROL:
        raise LinkError(f"the host sent a frame of kind {kind}")
    try:
        return _to_child.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LinkError(f"unreadable message from the host: {error}") from error


def decode_to_host(kind: int, body: bytes) -> ToHost | list[Output]:
    """What the child sent: a control message, or the outputs of one step.

    Raises:
        LinkError: If it is no message of this version.
    """
    try:
        return _outputs.decode(body) if kind == OUTPUTS else _to_host.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LinkError(f"unreadable message from the engine: {error}") from error


class FrameSplitter:
    """Cuts a byte stream into frames, whatever the pieces it arrives in."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max_frame = max_frame
        self._held = bytearray()
        self._needed = _HEADER.size  # no frame can be complete below this many bytes

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """All frames that ``data`` completes, as (kind, body).

        Raises:
            LinkError: On an unknown kind or a length above the bound; feed nothing more then.
        """
        if self._held:
            # Joined only when complete: a frame of megabytes comes in hundreds of pieces, and
            # cutting at each of them would copy it as often.
            self._held += data
            if len(self._held) < self._needed:
                return []
            data = bytes(self._held)
            self._held.clear()
        frames, end = self._cut(data)
        if end < len(data):
            self._held += data[end:]
        return frames

    def _cut(self, data: bytes) -> tuple[list[tuple[int, bytes]], int]:
        frames: list[tuple[int, bytes]] = []
        start = 0
        while len(data) - start >= _HEADER.size:
            kind, length = _HEADER.unpack_from(data, start)
            if kind not in _KINDS or length > self._max_frame:
                raise LinkError(f"bad frame header: kind {kind}, {length} bytes")
            end = start + _HEADER.size + length
            if end > len(data):
                self._needed = end - start
                return frames, start
            frames.append((kind, data[start + _HEADER.size : end]))
            start = end
        self._needed = _HEADER.size
        return frames, start
