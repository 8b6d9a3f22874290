"""MESSAGES.md: every message and every part of one, field by field, with an example.

The readable page explains; this one answers "what is in it". Bounds are worded by the same
function that words the errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

from protocol_documents import docstrings, examples
from protocol_documents.schema import all_structs
from wsserver_protocol.catalogue import CATALOGUE, CLOSE_CATALOGUE
from wsserver_protocol.events import EVENT_TYPES
from wsserver_protocol.replies import REPLIES
from wsserver_protocol.requests import REQUEST_TYPES
from wsserver_protocol.validation import describe_type

Struct = type[msgspec.Struct]

HEAD = """\
# Messages of the wsserver protocol, version 1

Generated from the typed messages by `scripts/generate_protocol`; do not edit. The
[readable page](README.md) says how they are used. Fields marked **bold** are always there; of the
others an absent one and (from a client) `null` mean the same.

`requestId` may stand in every message of a client, and in every event that answers one: 1 to 128
printable characters. It is not listed again below.
"""


def document() -> str:
    """The whole page."""
    messages = [*REQUEST_TYPES.values(), *EVENT_TYPES.values()]
    parts = [struct for struct in all_structs(messages) if struct not in messages]
    lines = [HEAD, "## Messages of clients", ""]
    for request_type, request in REQUEST_TYPES.items():
        lines += _section(f"`{request_type}`", request)
        lines += [_answers(request_type), "", *_examples(request)]
    lines += ["## Messages of the server", ""]
    for event_type, event in EVENT_TYPES.items():
        lines += _section(f"`{event_type}`", event)
        lines += _examples(event)
    lines += ["## Parts of messages", ""]
    for part in sorted(parts, key=lambda struct: struct.__name__):
        lines += _section(part.__name__, part)
    lines += [*_catalogues()]
    return "\n".join(lines).rstrip() + "\n"


def _section(title: str, struct: Struct) -> list[str]:
    lines = [f"### {title}", "", docstrings.summary(struct), ""]
    rows = list(_rows(struct))
    if rows:
        lines += ["| field | is | meaning |", "|---|---|---|", *rows, ""]
    return lines


def _rows(struct: Struct) -> Iterator[str]:
    described = docstrings.fields(struct)
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        if field.name == "request_id" and struct.__struct_config__.tag is not None:
            continue
        name = f"**`{field.encode_name}`**" if field.required else f"`{field.encode_name}`"
        yield f"| {name} | {_kind(field.type)} | {described[field.name]} |"


def _kind(info: inspect.Type) -> str:
    match info:
        case inspect.StructType():
            tag = info.cls.__struct_config__.tag  # a message's heading is its type
            return f"[{info.cls.__name__}](#{tag or info.cls.__name__.lower()})"
        case inspect.VarTupleType() if isinstance(info.item_type, inspect.StructType):
            return f"{describe_type(info)}: {_kind(info.item_type)}"
        case inspect.UnionType():
            members = [m for m in info.types if not isinstance(m, inspect.NoneType)]
            return " or ".join(_kind(member) for member in members)
        case inspect.AnyType():
            return "anything"
        case _:
            return describe_type(info)


def _answers(request_type: str) -> str:
    before, terminal = REPLIES[request_type]
    ends = " or ".join(f"`{event}`" for event in terminal)
    if not before:
        return f"Answered by {ends}."
    return f"Answered by {', '.join(f'`{event}`' for event in before)}; ends in {ends}."


def _examples(struct: Struct) -> list[str]:
    shown = examples.of(struct)
    frames = [shown["minimal"]] if shown["minimal"] == shown["full"] else shown.values()
    return ["```json", *(_line(frame) for frame in frames), "```", ""]


def _line(frame: dict[str, Any]) -> str:
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))


def _catalogues() -> Iterator[str]:
    yield from ("## Error codes", "", "| code | meaning | retry | HTTP twin |", "|---|---|---|---|")
    for code, info in CATALOGUE.items():
        retry = "yes" if info.retryable else "no"
        yield f"| `{code.value}` | {info.meaning} | {retry} | {info.http_status} |"
    yield from ("", "## Close codes", "", "| code | meaning | come back |", "|---|---|---|")
    for close, policy in CLOSE_CATALOGUE.items():
        yield f"| `{int(close)}` | {policy.meaning} | {'yes' if policy.reconnect else 'no'} |"
