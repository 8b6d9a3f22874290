"""Frames to maps and messages to frames, in JSON and MessagePack.

This room knows no message's meaning. It keeps two promises: whatever bytes come in, the outcome
is a map with string keys or `UnreadableFrame`; whatever message goes out, the outcome is a frame
that every client can read (strings that are text, integers within ±2^53, finite numbers).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from functools import cache
from typing import Any, Final, NoReturn

import msgpack
import msgspec
import orjson

from wsserver_protocol.broken_json import broken_fields
from wsserver_protocol.errors import UnreadableFrame
from wsserver_protocol.events import TokenLogprob
from wsserver_protocol.fields import MAX_SAFE_INTEGER
from wsserver_protocol.validation import MAX_FREE_DEPTH, words


class Encoding(Enum):
    """How a connection's frames are written; the value is its WebSocket subprotocol."""

    JSON = "wsserver.v1.json"
    MSGPACK = "wsserver.v1.msgpack"

    @property
    def subprotocol(self) -> str:
        """Name to negotiate in the WebSocket handshake."""
        return self.value

    @property
    def is_text(self) -> bool:
        """Whether frames go out as text."""
        return self is Encoding.JSON


SUBPROTOCOLS: Final[dict[str, Encoding]] = {encoding.subprotocol: encoding for encoding in Encoding}
"""Subprotocol name to encoding. A client that offers none gets JSON."""


# Looking a member up through its class costs as much as a tenth of a token's frame.
_JSON: Final = Encoding.JSON


def _refuse_extension(code: int, data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code} is not used here")


def decode_frame(data: str | bytes) -> dict[str, object]:
    """The map that a frame holds.

    A text frame is JSON. A binary frame is JSON if its first byte that is no blank is ``{``, else
    MessagePack (where that byte would be a lone integer, hence no message). Of a key that occurs
    twice the last value counts, in both.

    Raises:
        UnreadableFrame: If it is none: not decodable, not a map, keys that are not strings,
            extension types, or nested too deep to be read. Where that is one value's fault it
            names the field, and the request.
    """
    try:
        if isinstance(data, str) or data.lstrip(b" \t\r\n")[:1] == b"{":
            fields = orjson.loads(data)
        else:
            fields = msgpack.unpackb(data, ext_hook=_refuse_extension)
    except orjson.JSONDecodeError as fault:
        raise _no_json(data, fault) from fault
    # ValueError is the base of what msgpack raises, except for a few of its own.
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException) as fault:
        what = "the frame is no JSON object, and cannot be decoded as MessagePack"
        raise UnreadableFrame(what) from fault
    if not isinstance(fields, dict):
        raise UnreadableFrame("the frame is not a map")
    for key, value in fields.items():
        # MessagePack's strict keys are strings or bytes, and its timestamps pass the hook.
        if not isinstance(key, str) or isinstance(value, msgpack.Timestamp):
            raise UnreadableFrame("the frame has keys or values that JSON does not have")
    return fields


def _no_json(data: str | bytes, fault: orjson.JSONDecodeError) -> UnreadableFrame:
    broken = broken_fields(data)
    if broken is None:
        # Its words say what and where, and show nothing of the frame.
        return UnreadableFrame(f"the frame cannot be decoded as JSON: {fault}")
    return UnreadableFrame(words(broken.details), *broken)


# One for the process: a new one for each frame costs as much as the packing. It keeps no state
# between calls, and the event loop is its only caller.
_packer: Final = msgpack.Packer()


def encode(message: msgspec.Struct, encoding: Encoding) -> bytes:
    """The frame of an event or a request."""
    fields = msgspec.to_builtins(message)
    if encoding is Encoding.MSGPACK and _is_free(type(message)):
        # Packing accepts what clients cannot read, such as larger integers.
        fields = _readable(fields)
    return _dump(fields, encoding)


def encode_token(
    encoding: Encoding,
    stream_id: str,
    token: str,
    position: int,
    count: int,
    offset: int,
    timestamp: int,
    request_id: str | None = None,
    room_id: str | None = None,
    logprobs: Sequence[TokenLogprob] | None = None,
) -> bytes:
    """The frame of a `StreamToken`, without making one: this runs once for each piece of text."""
    fields: dict[str, Any] = {"type": "stream_token"}
    if request_id is not None:
        fields["requestId"] = request_id
    fields["streamId"] = stream_id
    fields["token"] = token
    fields["position"] = position
    fields["count"] = count
    fields["offset"] = offset
    fields["timestamp"] = timestamp
    if room_id is not None:
        fields["roomId"] = room_id
    if logprobs is not None:
        fields["logprobs"] = msgspec.to_builtins(logprobs)
    return _dump(fields, encoding)


def _dump(fields: dict[str, Any], encoding: Encoding) -> bytes:
    try:
        return _write(fields, encoding)
    except (TypeError, ValueError, OverflowError, RecursionError):
        # Half a surrogate pair, a key that is no string, an integer too large: rare, so that the
        # common message does not pay for the search.
        return _write(_readable(fields), encoding)


def _write(fields: dict[str, Any], encoding: Encoding) -> bytes:
    if encoding is _JSON:
        return orjson.dumps(fields, option=orjson.OPT_STRICT_INTEGER)
    packed: bytes = _packer.pack(fields)
    return packed


def _readable(value: Any, depth: int = 0) -> Any:
    """A copy of ``value`` with the nearest thing in place of what a client could not read."""
    if depth > 2 * MAX_FREE_DEPTH:
        return None
    match value:
        case bool() | None:
            return value
        case str():
            # Through UTF-16, so that two halves that stand side by side become their character.
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case int():
            return value if abs(value) <= MAX_SAFE_INTEGER else _as_float(value)
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {
                _readable(str(key), depth + 1): _readable(item, depth + 1)
                for key, item in value.items()
            }
        case list() | tuple():
            return [_readable(item, depth + 1) for item in value]
        case _:
            return _readable(str(value), depth + 1)


def _as_float(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


@cache
def _is_free(struct: type[msgspec.Struct]) -> bool:
    """Whether messages of this type carry values that a client or an engine chose freely."""
    return _has_any(msgspec.inspect.type_info(struct), set())


def _has_any(info: msgspec.inspect.Type, seen: set[type]) -> bool:
    match info:
        case msgspec.inspect.AnyType():
            return True
        case msgspec.inspect.StructType():
            if info.cls in seen:
                return False
            seen.add(info.cls)
            return any(_has_any(field.type, seen) for field in info.fields)
        case msgspec.inspect.UnionType():
            return any(_has_any(member, seen) for member in info.types)
        case msgspec.inspect.VarTupleType():
            return _has_any(info.item_type, seen)
        case msgspec.inspect.DictType():
            return _has_any(info.value_type, seen)
        case _:
            return False
