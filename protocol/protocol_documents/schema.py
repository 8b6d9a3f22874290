"""JSON Schema (2020-12) of all messages.

msgspec makes it from the structs; this adds the descriptions, and says what the codec does beside
the structs: `stop` may be a single string, and absent fields of events are left out, never null.
"""

from __future__ import annotations

from typing import Any

import msgspec

from protocol_documents import docstrings
from wsserver_protocol.events import EVENT_TYPES
from wsserver_protocol.requests import REQUEST_TYPES

Schema = dict[str, Any]

TITLE = "wsserver protocol, version 1"


def document() -> Schema:
    """The whole file: any message, and each by its name under ``$defs``."""
    parts = components("#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": TITLE,
        "description": "Every message of clients (Request) and of the server (Event). "
        "Unknown fields are allowed everywhere and ignored. Generated; do not edit.",
        "anyOf": [{"$ref": "#/$defs/Request"}, {"$ref": "#/$defs/Event"}],
        "$defs": {
            "Request": _any_of("Every message of a client.", REQUEST_TYPES),
            "Event": _any_of("Every message of the server.", EVENT_TYPES),
            **parts,
        },
    }


def components(ref_template: str) -> dict[str, Schema]:
    """Schema of each message and each part of one, by the name of its struct."""
    structs = [*REQUEST_TYPES.values(), *EVENT_TYPES.values()]
    _, schemas = msgspec.json.schema_components(structs, ref_template=ref_template)
    named = {struct.__name__: struct for struct in all_structs(structs)}
    events = {struct.__name__ for struct in all_structs(list(EVENT_TYPES.values()))}
    requests = {struct.__name__ for struct in all_structs(list(REQUEST_TYPES.values()))}
    return {
        name: _finished(schema, named.get(name), name in events and name not in requests)
        for name, schema in sorted(schemas.items())
    }


def _any_of(description: str, structs: dict[str, Any]) -> Schema:
    refs = [{"$ref": f"#/$defs/{struct.__name__}"} for struct in structs.values()]
    return {"description": description, "oneOf": refs}


def all_structs(roots: list[Any]) -> list[type[msgspec.Struct]]:
    """The structs and those that their fields are made of."""
    found: dict[type[msgspec.Struct], None] = {}
    for info in msgspec.inspect.multi_type_info(roots):
        _collect(info, found)
    return list(found)


def _collect(info: msgspec.inspect.Type, found: dict[type[msgspec.Struct], None]) -> None:
    match info:
        case msgspec.inspect.StructType():
            if info.cls not in found:
                found[info.cls] = None
                for field in info.fields:
                    _collect(field.type, found)
        case msgspec.inspect.UnionType():
            for member in info.types:
                _collect(member, found)
        case msgspec.inspect.VarTupleType():
            _collect(info.item_type, found)
        case msgspec.inspect.DictType():
            _collect(info.value_type, found)
        case _:
            return


def _finished(schema: Schema, struct: type[msgspec.Struct] | None, only_sent: bool) -> Schema:
    """A schema with descriptions, and free of what is true of the structs but not of frames."""
    if struct is None:  # an enumeration
        return {**schema, "description": docstrings.markdown(schema.get("description", ""))}
    described = docstrings.fields(struct)
    required = schema.get("required", [])
    properties = {}
    for field in msgspec.structs.fields(struct):
        name = field.encode_name
        properties[name] = _property(
            schema["properties"][name], described[field.name], only_sent and name not in required
        )
    if struct.__name__ == "GenerationOptions":
        one = properties["stop"]["items"]
        properties["stop"] = {
            "description": properties["stop"]["description"],
            "anyOf": [one, {k: v for k, v in properties["stop"].items() if k != "description"}],
        }
    tag = struct.__struct_config__.tag
    if tag is not None:
        properties = {"type": {"const": tag}, **properties}
    finished = {
        "title": struct.__name__,
        "description": docstrings.summary(struct),
        "type": "object",
        "properties": properties,
    }
    return {**finished, "required": required} if required else finished


def _property(schema: Schema, description: str, drop_null: bool) -> Schema:
    kept = {key: value for key, value in schema.items() if (key, value) != ("default", None)}
    members = kept.get("anyOf", [])
    if drop_null and {"type": "null"} in members:
        rest = [member for member in members if member != {"type": "null"}]
        del kept["anyOf"]
        kept = {**kept, **(rest[0] if len(rest) == 1 else {"anyOf": rest})}
    return {"description": description, **kept}
