"""The codec: frames to requests, and messages to frames. The one way in and the one way out.

`decode_frame` makes a map of a frame, `parse_request` a typed, checked request of the map; what
either refuses is a `WireError` fit to be told. `encode` and `encode_token` make frames. There is
no second validation path: what passes here has all the bounds of the published schema.

Both spellings of field names are accepted where clients of other languages write them: at the
top level, in ``options`` and in the items of ``messages``. Inside ``metadata``, ``data``,
``state``, ``jsonSchema`` and ``logitBias`` the keys are the client's own and are left alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from wsserver_protocol.catalogue import ErrorCode, FieldError
from wsserver_protocol.errors import UnreadableFrame, WireError
from wsserver_protocol.events import EVENT_TYPES, Event
from wsserver_protocol.fields import Id
from wsserver_protocol.frames import (
    SUBPROTOCOLS,
    Encoding,
    decode_frame,
    encode,
    encode_token,
)
from wsserver_protocol.options import GenerationOptions
from wsserver_protocol.requests import (
    MAX_BATCH,
    MAX_MESSAGES,
    MAX_SETTINGS,
    REQUEST_TYPES,
    Batch,
    ChatMessage,
    ImportSession,
    LoadModel,
    Request,
    UpdateRoom,
)
from wsserver_protocol.rules import faults
from wsserver_protocol.validation import MAX_DETAILS, clip, describe, struct_errors, words

Fields = dict[str, Any]


def parse_request(fields: Fields) -> Request:
    """The request that a frame's map holds.

    Raises:
        WireError: ``invalid_message`` if there is no readable type, ``unknown_type``, or, with
            the fields in ``details``, ``invalid_parameters``, ``batch_too_large`` and
            ``payload_too_large``. It carries ``request_id`` and ``request_type`` where they
            could be read.
    """
    request_id, id_errors = _read_request_id(fields)
    request_type = fields.get("type")
    if not isinstance(request_type, str):
        problem = FieldError(field="type", message="must be the name of a message type")
        raise _refusal(ErrorCode.INVALID_MESSAGE, [problem, *id_errors], request_id, None)
    struct = REQUEST_TYPES.get(request_type)
    if struct is None:
        raise WireError(
            ErrorCode.UNKNOWN_TYPE,
            f"unknown message type {clip(request_type)}",
            details=tuple(id_errors),
            request_id=request_id,
            request_type=request_type,
        )
    known = _normalised(struct, fields)
    if id_errors:
        known.pop("requestId", None)
    request, code, problems = _convert(struct, known)
    if request is None or problems or id_errors:
        details = [*id_errors, *problems]
        raise _refusal(code, details, request_id, request_type)
    return request


def parse_event(fields: Fields) -> Event | None:
    """The event that a frame's map holds, for clients; None for a type that is not known.

    A client ignores those, and fields that it does not know: they come from a newer server.

    Raises:
        UnreadableFrame: If a known event does not have the fields that it must have.
    """
    event_type = fields.get("type")
    struct = EVENT_TYPES.get(event_type) if isinstance(event_type, str) else None
    if struct is None:
        return None
    try:
        event: Event = msgspec.convert(fields, struct)
    except msgspec.ValidationError as fault:
        raise UnreadableFrame(f"{event_type}: {fault}") from fault
    return event


def _convert(
    struct: type[Request], known: Fields
) -> tuple[Request | None, ErrorCode, list[FieldError]]:
    """The request, or the code and the fields for which there is none."""
    try:
        request: Request = msgspec.convert(known, struct)
    except msgspec.ValidationError as fault:
        problems = struct_errors(struct, known)
        if not problems:
            raise AssertionError(f"no field explains: {fault}") from fault
        return None, _conversion_code(struct, known), problems
    broken = list(faults(request))
    codes = {fault.code for fault in broken}
    code = codes.pop() if len(codes) == 1 else ErrorCode.INVALID_PARAMETERS
    return request, code, [fault.error for fault in broken]


def _conversion_code(struct: type[Request], known: Fields) -> ErrorCode:
    prompts = known.get("prompts")
    if struct is Batch and isinstance(prompts, list) and len(prompts) > MAX_BATCH:
        return ErrorCode.BATCH_TOO_LARGE
    return ErrorCode.INVALID_PARAMETERS


def _refusal(
    code: ErrorCode, details: list[FieldError], request_id: str | None, request_type: str | None
) -> WireError:
    shown = details[:MAX_DETAILS]
    return WireError(
        code,
        words(shown),
        details=tuple(shown),
        request_id=request_id,
        request_type=request_type,
    )


def _read_request_id(fields: Fields) -> tuple[str | None, list[FieldError]]:
    """The requestId, read before all else: it is what makes any refusal answerable."""
    value = fields.get("requestId")
    if value is None:
        value = fields.get("request_id")
    if value is None:
        return None, []
    try:
        request_id: str = msgspec.convert(value, Id)
    except msgspec.ValidationError:
        return None, [FieldError(field="requestId", message=f"must be {describe(Id)}")]
    return request_id, []


@cache
def _spellings(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Either spelling of each field to the wire's."""
    fields = msgspec.structs.fields(struct)
    return {spelling: f.encode_name for f in fields for spelling in (f.name, f.encode_name)}


def _known_fields(struct: type[msgspec.Struct], fields: Fields) -> Fields:
    """What ``struct`` has, under the wire's names: camelCase wins, null is absent."""
    spellings = _spellings(struct)
    known: Fields = {}
    for key, value in fields.items():
        name = spellings.get(key)
        if name is not None and value is not None and (key == name or name not in known):
            known[name] = value
    return known


def _normalised(struct: type[Request], fields: Fields) -> Fields:
    known = _known_fields(struct, fields)
    options = known.get("options")
    if isinstance(options, dict):
        known["options"] = _engine_keys(options) if struct is LoadModel else _options(options)
    messages = known.get("messages")
    # What is too long is refused anyway, and must not cost a second's walk before.
    if isinstance(messages, list) and len(messages) <= MAX_MESSAGES:
        known["messages"] = [
            _known_fields(ChatMessage, item) if isinstance(item, dict) else item
            for item in messages
        ]
    for name in _MAPS_WITHOUT_NULLS.get(struct, ()):
        value = known.get(name)
        if isinstance(value, dict):
            known[name] = _without_nulls(value)
    return known


def _options(options: Fields) -> Fields:
    known = _known_fields(GenerationOptions, options)
    stop = known.get("stop")
    if isinstance(stop, str):
        known["stop"] = [stop]
    return known


def _without_nulls(value: Fields) -> Fields:
    """A map one level down, whose keys have one spelling; its ``options`` are options again."""
    known = {key: item for key, item in value.items() if item is not None}
    options = known.get("options")
    if isinstance(options, dict):
        known["options"] = _options(options)
    return known


_MAPS_WITHOUT_NULLS: dict[type[Request], tuple[str, ...]] = {
    UpdateRoom: ("settings",),
    ImportSession: ("data",),
}


def _engine_keys(options: Fields) -> Fields:
    """An engine's settings under their own names, which are snake_case; camelCase wins here too."""
    known = {key: item for key, item in options.items() if item is not None}
    if len(known) > MAX_SETTINGS:
        return known
    for key in [key for key in known if not key.islower()]:
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in key)
        known[snake] = known.pop(key)
    return known


__all__ = [
    "SUBPROTOCOLS",
    "Encoding",
    "UnreadableFrame",
    "decode_frame",
    "encode",
    "encode_token",
    "parse_event",
    "parse_request",
]
