"""One full and one minimal message of each type, and further ones where fields exclude each other.

A full message has every field that may stand beside the others; a minimal one has only what it
must have. Values are chosen by the field's name, so that a streamId looks like one everywhere
and the same answer runs through all events.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from protocol_documents.example_shapes import LEFT_OUT, MORE, NEEDED
from protocol_documents.example_values import OWN_VALUES, VALUES
from wsserver_protocol.codec import Encoding, decode_frame, encode, parse_event, parse_request
from wsserver_protocol.events import EVENT_TYPES
from wsserver_protocol.requests import REQUEST_TYPES

Json = dict[str, Any]


def of(struct: type[msgspec.Struct]) -> dict[str, Json]:
    """The examples of a message, by name, as a JSON frame holds them."""
    wire_type = str(struct.__struct_config__.tag)
    full, minimal = _full(struct), _minimal(struct)
    more = MORE.get(struct.__name__, {})
    named = {"full": full, "minimal": minimal, **more}
    return {name: _as_sent({"type": wire_type, **fields}, struct) for name, fields in named.items()}


def message(fields: Json, struct: type[msgspec.Struct]) -> msgspec.Struct:
    """The typed message of an example: read as its receiver reads it."""
    if struct in REQUEST_TYPES.values():
        return parse_request(fields)
    event = parse_event(fields)
    assert event is not None
    return event


def _as_sent(fields: Json, struct: type[msgspec.Struct]) -> Json:
    """The example as an encoder writes it: optional fields at their default left out."""
    sent: Json = decode_frame(encode(message(fields, struct), Encoding.JSON))
    assert struct in EVENT_TYPES.values() or message(sent, struct) == message(fields, struct)
    return sent


@cache
def _fields(struct: type[msgspec.Struct]) -> tuple[msgspec.inspect.Field, ...]:
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    return info.fields


def _full(struct: type[msgspec.Struct]) -> Json:
    left_out = LEFT_OUT.get(struct.__name__, set())
    return {
        field.encode_name: _value(struct, field, full=True)
        for field in _fields(struct)
        if field.encode_name not in left_out
    }


def _minimal(struct: type[msgspec.Struct]) -> Json:
    required = {
        field.encode_name: _value(struct, field, full=False)
        for field in _fields(struct)
        if field.required
    }
    return {**required, **NEEDED.get(struct.__name__, {})}


def _value(struct: type[msgspec.Struct], field: msgspec.inspect.Field, *, full: bool) -> Any:
    own = OWN_VALUES.get(struct.__name__, {})
    name = field.encode_name
    if own.get(name) is not None:
        return own[name]
    if name in own or name not in VALUES:
        return _made(field.type, f"{struct.__name__}.{name}", full=full)
    return VALUES[name]


def _made(info: msgspec.inspect.Type, path: str, *, full: bool) -> Any:
    """A value for a field whose name says nothing: of its type."""
    match info:
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.EnumType():
            return next(iter(info.cls)).value
        case msgspec.inspect.StructType():
            return _full(info.cls) if full else _minimal(info.cls)
        case msgspec.inspect.VarTupleType():
            return [_made(info.item_type, path, full=True)] if full else []
        case msgspec.inspect.UnionType():
            return _made(info.types[0], path, full=full)
        case _:
            raise AssertionError(f"no example value for {path}")
