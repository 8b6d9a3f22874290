"""Rules between the fields of one request, each of which is right by itself.

This room knows no server state: what needs a model, a session or a room to decide is decided
where those are known. Sizes that keep every frame of the server below 1 MiB stand here, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from wsserver_protocol.catalogue import ErrorCode, FieldError
from wsserver_protocol.fields import ChatRole
from wsserver_protocol.options import MAX_CONSTRAINT, GenerationOptions, check_options
from wsserver_protocol.requests import (
    Batch,
    Continue,
    CountTokens,
    Generate,
    ImportSession,
    JoinRoom,
    LoadModel,
    Messages,
    OpenSession,
    Request,
    RoomMessage,
    RoomSettings,
    StopBatch,
    StopStream,
    Stream,
    UpdatePresence,
    UpdateRoom,
    UpdateSession,
)
from wsserver_protocol.tools import MAX_TOOLS_BYTES
from wsserver_protocol.validation import MAX_DETAILS, free_errors, is_plain

MAX_STATE_BYTES: Final = 8 * 1024
"""A presence state as JSON; ``room_joined`` carries up to 100 of them."""

MAX_METADATA_BYTES: Final = 16 * 1024
"""A session's metadata as JSON; a page of ``sessions_list`` carries many."""

MAX_ENTRY_BYTES: Final = 256 * 1024
"""An entry of a room's log as JSON: its text and data, or the prompt of a question."""


MAX_SYSTEM_BYTES: Final = 64 * 1024
"""A room's system prompt as JSON; ``room_joined`` carries it beside members and log."""

MAX_ROOM_OPTIONS_BYTES: Final = 96 * 1024
"""A room's options as JSON, with it."""


class Fault(NamedTuple):
    """A broken rule: the code that it asks for, and the field."""

    code: ErrorCode
    error: FieldError


def faults(request: Request) -> Iterator[Fault]:
    """The rules that ``request`` breaks."""
    match request:
        case Generate() | Stream():
            yield from _input(request)
            yield from _place(request)
            yield from _options(request.options, "options")
        case Continue():
            yield from _exactly_one(streamId=request.stream_id, sessionId=request.session_id)
            yield from _options(request.options, "options")
        case Batch():
            yield from _options(request.options, "options")
        case CountTokens():
            yield from _exactly_one(text=request.text, messages=request.messages)
            yield from _messages(request.messages or ())
        case StopStream() if request.stream_id is None and request.request_id is None:
            yield _invalid("streamId", "is required where no requestId names the request")
        case StopBatch() if request.batch_id is None and request.request_id is None:
            yield _invalid("batchId", "is required where no requestId names the request")
        case LoadModel():
            yield from _free(request.options, "options", MAX_METADATA_BYTES)
        case OpenSession() | UpdateSession():
            yield from _free(request.metadata, "metadata", MAX_METADATA_BYTES)
        case ImportSession():
            yield from _free(request.data.metadata, "data.metadata", MAX_METADATA_BYTES)
        case JoinRoom() | UpdatePresence():
            yield from _free(request.state, "state", MAX_STATE_BYTES)
        case RoomMessage():
            yield from _room_message(request)
        case UpdateRoom():
            yield from _options(request.settings.options, "settings.options")
            yield from _settings(request.settings)
        case _:
            return


def _invalid(field: str, message: str) -> Fault:
    return Fault(ErrorCode.INVALID_PARAMETERS, FieldError(field=field, message=message))


def _too_large(field: str, limit: int) -> Fault:
    message = f"must be at most {limit:,} bytes as JSON"
    return Fault(ErrorCode.PAYLOAD_TOO_LARGE, FieldError(field=field, message=message))


def _exactly_one(**fields: object) -> Iterator[Fault]:
    """Of two fields one must be given; the second is named if both are, the first if none is."""
    first, second = fields
    given = [name for name, value in fields.items() if value is not None]
    if not given:
        yield _invalid(first, f"is required where there is no {second}")
    elif len(given) == 2:
        yield _invalid(second, f"cannot be used together with {first}")


def _input(request: Generate | Stream) -> Iterator[Fault]:
    if request.regenerate is None:
        yield from _exactly_one(prompt=request.prompt, messages=request.messages)
    elif request.prompt is not None:
        yield _invalid("prompt", "cannot be used together with regenerate")
    elif request.messages is not None:
        yield _invalid("messages", "cannot be used together with regenerate")
    if request.raw and request.prompt is None:
        yield _invalid("raw", "can only be used together with prompt")
    if request.raw and request.options.tools:
        yield _invalid("options.tools", "cannot be used together with raw")
    yield from _messages(request.messages or ())


def _place(request: Generate | Stream) -> Iterator[Fault]:
    """Where the turn stands: in a session's tree, in a room, or nowhere."""
    if request.session_id is None:
        if request.parent_id is not None:
            yield _invalid("parentId", "can only be used together with sessionId")
        if request.regenerate is not None:
            yield _invalid("regenerate", "can only be used together with sessionId")
    elif request.parent_id is not None and request.regenerate is not None:
        yield _invalid("parentId", "cannot be used together with regenerate")
    if isinstance(request, Stream) and request.room_id is not None:
        if request.session_id is not None:
            yield _invalid("roomId", "cannot be used together with sessionId")
        if request.prompt is not None and _size(request.prompt) > MAX_ENTRY_BYTES:
            yield _too_large("prompt", MAX_ENTRY_BYTES)
        for index, message in enumerate(request.messages or ()):
            if message.role is ChatRole.USER and _size(message.content) > MAX_ENTRY_BYTES:
                yield _too_large(f"messages[{index}].content", MAX_ENTRY_BYTES)


def _options(options: GenerationOptions | None, path: str) -> Iterator[Fault]:
    if options is None:
        return
    for error in check_options(options, path):
        yield Fault(ErrorCode.INVALID_PARAMETERS, error)
    yield from _free(options.json_schema, f"{path}.jsonSchema", MAX_CONSTRAINT)
    broken = [
        fault
        for index, tool in enumerate(options.tools)
        for fault in _free(
            tool.function.parameters,
            f"{path}.tools[{index}].function.parameters",
            MAX_CONSTRAINT,
        )
    ]
    yield from broken
    if options.tools and not broken and _size(options.tools) > MAX_TOOLS_BYTES:
        yield _too_large(f"{path}.tools", MAX_TOOLS_BYTES)


def _messages(messages: Messages) -> Iterator[Fault]:
    """Which turns may call tools, and which bring their results."""
    for index, message in enumerate(messages):
        if message.tool_calls and message.role is not ChatRole.ASSISTANT:
            yield _invalid(f"messages[{index}].toolCalls", "only an assistant's message has them")
        if message.tool_call_id is not None and message.role is not ChatRole.TOOL:
            yield _invalid(f"messages[{index}].toolCallId", "only a tool's message has one")


def _settings(settings: RoomSettings) -> Iterator[Fault]:
    if settings.system_prompt is not None and _size(settings.system_prompt) > MAX_SYSTEM_BYTES:
        yield _too_large("settings.systemPrompt", MAX_SYSTEM_BYTES)
    if settings.options is not None and _size(settings.options) > MAX_ROOM_OPTIONS_BYTES:
        yield _too_large("settings.options", MAX_ROOM_OPTIONS_BYTES)


def _room_message(request: RoomMessage) -> Iterator[Fault]:
    if request.text is None and request.data is None:
        yield _invalid("text", "is required where there is no data")
    broken = list(_free(request.data, "data", MAX_ENTRY_BYTES))
    yield from broken
    if not broken and request.text is not None:
        spent = 0 if request.data is None else _size(request.data)
        if _size(request.text) + spent > MAX_ENTRY_BYTES:
            yield _too_large("text", MAX_ENTRY_BYTES)


def _free(value: Any, path: str, limit: int) -> Iterator[Fault]:
    """A client's own value: not too large, and fit for both encodings."""
    if value is None:
        return
    try:
        too_large = _size(value) > limit
    except TypeError:
        too_large = False  # not fit for JSON; what of it, is found below
    if too_large:
        yield _too_large(path, limit)
    elif not is_plain(value):
        for error in islice(free_errors(value, path), MAX_DETAILS):
            yield Fault(ErrorCode.INVALID_PARAMETERS, error)


def _size(value: Any) -> int:
    return len(orjson.dumps(value, default=msgspec.to_builtins))
