"""Hypothesis strategies for every message, made from the structs themselves.

What they draw is right field by field; rules between fields may be broken, and tests that need
whole requests filter by them.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from wsserver_protocol.fields import MAX_SAFE_INTEGER, PRINTABLE, TOOL_NAME, ChatRole
from wsserver_protocol.requests import ChatMessage, Generate, LoadModel, Stream
from wsserver_protocol.tools import NamedTool

Strategy = st.SearchStrategy[Any]

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
PRINTABLE_CHARACTERS = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))

PATTERNS: dict[str, Strategy] = {
    PRINTABLE: PRINTABLE_CHARACTERS,
    TOOL_NAME: st.sampled_from("abcXYZ019_-"),
}

SCALARS: Strategy = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)

JSON: Strategy = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
"""Anything that both encodings carry."""

SNAKE_KEYS = st.text("abcdefgh_", min_size=1, max_size=8)


def of(struct: type[msgspec.Struct]) -> Strategy:
    """Instances of a struct, with and without each optional field."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    required = {f.name: _value(f.type) for f in info.fields if f.required}
    optional = {f.name: _value(f.type) for f in info.fields if not f.required}
    if struct is LoadModel:
        # Its keys are engines' settings, which arrive in snake_case however they were spelt.
        settings = st.dictionaries(SNAKE_KEYS, SCALARS.filter(lambda v: v is not None), max_size=3)
        optional["options"] = st.none() | settings
    drawn = st.fixed_dictionaries(required, optional=optional)
    return drawn.map(lambda fields: struct(**fields))


SHAPES: tuple[dict[str, Any], ...] = (
    {"prompt": "x", "messages": None, "parent_id": None, "regenerate": None},
    {"prompt": "x", "messages": None, "session_id": "s", "regenerate": None},
    {
        "prompt": None,
        "messages": (ChatMessage(role=ChatRole.USER, content=""),),
        "raw": False,
        "parent_id": None,
        "regenerate": None,
    },
    {
        "prompt": None,
        "messages": None,
        "raw": False,
        "session_id": "s",
        "parent_id": None,
        "regenerate": "m",
    },
)
"""Ways to ask for an answer in which the fields go together."""


def nearly_whole(struct: type[msgspec.Struct]) -> Strategy:
    """As `of`, with most rules between fields kept, so that few draws need be thrown away."""
    if struct is not Generate and struct is not Stream:
        return of(struct)
    return st.builds(_shaped, of(struct), st.sampled_from(SHAPES))


def _shaped(request: Any, shape: dict[str, Any]) -> Any:
    drawn = request.options
    tools = () if shape.get("raw", request.raw) else drawn.tools[:1]
    options = msgspec.structs.replace(
        drawn,
        grammar=None,
        regex=None,
        logit_bias={"7": 1.5},
        json_schema=None if tools else drawn.json_schema,
        tools=tools,
        tool_choice=NamedTool(name=tools[0].function.name) if tools else None,
    )
    place = {"room_id": None} if isinstance(request, Stream) else {}
    return msgspec.structs.replace(request, **shape, **place, options=options)


def _value(info: inspect.Type) -> Strategy:
    match info:
        case inspect.Metadata():
            return _value(info.type)
        case inspect.AnyType():
            return JSON
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            least = -MAX_SAFE_INTEGER if info.ge is None else int(info.ge)
            most = MAX_SAFE_INTEGER if info.le is None else int(info.le)
            return st.integers(least, most)
        case inspect.FloatType():
            return st.floats(
                min_value=info.ge if info.gt is None else info.gt,
                max_value=info.le,
                exclude_min=info.gt is not None,
                allow_nan=False,
                allow_infinity=False,
            )
        case inspect.StrType():
            characters = PATTERNS.get(info.pattern or "", st.characters(codec="utf-8"))
            longest = min(info.max_length or 12, 12)
            return st.text(characters, min_size=info.min_length or 0, max_size=longest)
        case inspect.EnumType():
            return st.sampled_from(list(info.cls))
        case inspect.LiteralType():
            return st.sampled_from(list(info.values))
        case inspect.UnionType():
            return st.one_of([_value(member) for member in info.types])
        case inspect.VarTupleType():
            items = st.lists(_value(info.item_type), min_size=info.min_length or 0, max_size=3)
            return items.map(tuple)
        case inspect.DictType():
            return st.dictionaries(_value(info.key_type), _value(info.value_type), max_size=3)
        case inspect.StructType():
            return of(info.cls)
        case _:
            raise AssertionError(f"no strategy for {info}")
