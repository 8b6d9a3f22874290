"""What is wrong with a message, field by field, in words for people.

Used only after a conversion has failed: it looks at each field anew and finds all that are
wrong, where msgspec's own error names the first. The words are made from the fields' types, the
same that make the JSON Schema, so that they cannot say anything else than the schema does.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec
from msgspec import inspect

from wsserver_protocol.catalogue import FieldError
from wsserver_protocol.fields import MAX_SAFE_INTEGER, PRINTABLE, TOOL_NAME

MAX_DETAILS: Final = 8
"""Most field errors told at once."""

MAX_SCANNED_ITEMS: Final = 10_000
MAX_SCANNED_ENTRIES: Final = 1024
"""Most items of a list, and entries of a map, that are looked at for errors: none may hold more,
and what holds a hundred thousand must not cost a tenth of a second to refuse."""

MAX_FREE_DEPTH: Final = 64
"""Deepest nesting of maps and lists that clients choose; orjson writes no more than 254."""

_Struct = type[msgspec.Struct]


def struct_errors(struct: _Struct, value: dict[str, Any], path: str = "") -> list[FieldError]:
    """All (at most `MAX_DETAILS`) field errors of a map that does not fit ``struct``."""
    return list(islice(_struct_errors(struct, value, path), MAX_DETAILS))


def join(path: str, key: str) -> str:
    """Path of a field of the map at ``path``; long keys are clipped, they come from outside."""
    key = clip(key)
    return f"{path}.{key}" if path else key


def clip(text: str, limit: int = 64) -> str:
    """A text from outside, fit for a message: short, on one line, with no control characters."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else "�" for c in shown)


def is_plain(value: Any) -> bool:
    """Whether a client's own value is fit for both encodings: quick, and without saying why not.

    Level by level and not by recursion: a value may have a hundred thousand parts, and this runs
    on the event loop.
    """
    level = [value]
    for _ in range(MAX_FREE_DEPTH):
        inner: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is list:
                inner += item
            elif kind is dict:
                if not all(type(key) is str for key in item):
                    return False
                inner += item.values()
            elif not _is_plain_scalar(item):
                return False
        if not inner:
            return True
        level = inner
    return all(_is_plain_scalar(item) for item in level)


def _is_plain_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER
    return value is None or isinstance(value, str)


def free_errors(value: Any, path: str, depth: int = 0) -> Iterator[FieldError]:
    """Where a client's own value is not fit for both encodings, and how."""
    if depth >= MAX_FREE_DEPTH and isinstance(value, dict | list):
        yield FieldError(
            field=path, message=f"must not be nested deeper than {MAX_FREE_DEPTH} levels"
        )
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield FieldError(field=path, message="must have strings as its keys")
            elif not _is_plain_scalar(item):
                yield from free_errors(item, join(path, key), depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if not _is_plain_scalar(item):
                yield from free_errors(item, f"{path}[{index}]", depth + 1)
    elif not _is_plain_scalar(value):
        yield FieldError(field=path, message=_unfit(value))


def _unfit(value: Any) -> str:
    if isinstance(value, int):
        return "must be an integer within ±2^53"
    if isinstance(value, float):
        return "must be a finite number"
    return "must be a value that JSON has, not binary data"


def _struct_errors(struct: _Struct, value: dict[str, Any], path: str) -> Iterator[FieldError]:
    for field in msgspec.structs.fields(struct):
        name = field.encode_name
        if name in value:
            yield from _value_errors(field.type, value[name], join(path, name))
        elif field.required:
            yield FieldError(field=join(path, name), message="is required")


def _value_errors(annotation: Any, value: Any, path: str) -> Iterator[FieldError]:
    """The errors of the value's parts, where there are any; else that of the value as such."""
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError:
        parts = _part_errors(_container(annotation, value), value, path)
        first = next(parts, None)
        if first is None:
            yield FieldError(field=path, message=_must_be(describe(annotation), value))
        else:
            yield first
            yield from parts


def _part_errors(annotation: Any, value: Any, path: str) -> Iterator[FieldError]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield from _struct_errors(annotation, value, path)
    elif origin is tuple:
        for index, item in islice(enumerate(value), MAX_SCANNED_ITEMS):
            yield from _value_errors(arguments[0], item, f"{path}[{index}]")
    elif origin is dict:
        for key, item in islice(value.items(), MAX_SCANNED_ENTRIES):
            yield from _value_errors(arguments[0], key, join(path, str(key)))
            yield from _value_errors(arguments[1], item, join(path, str(key)))


def _container(annotation: Any, value: Any) -> Any:
    """The member of a union, free of annotations, that can hold this kind of value, or None."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _container(get_args(annotation)[0], value)
    if origin in (Union, types.UnionType):
        found = (_container(member, value) for member in get_args(annotation))
        return next((member for member in found if member is not None), None)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation if isinstance(value, dict) else None
    if origin is dict:
        return annotation if isinstance(value, dict) else None
    if origin is tuple:
        return annotation if isinstance(value, list | tuple) else None
    return None


def describe(annotation: Any) -> str:
    """What a value of this type is: "an integer from 1 to 20", "a list of 1 to 16 items"."""
    if get_origin(annotation) in (Union, types.UnionType):
        members = [m for m in get_args(annotation) if m is not types.NoneType]
        return " or ".join(describe(member) for member in members)
    return describe_type(inspect.type_info(annotation))


def describe_type(info: inspect.Type) -> str:
    """As `describe`, for a type that msgspec has taken apart already."""
    match info:
        case inspect.Metadata():
            return describe_type(info.type)
        case inspect.IntType():
            return "an integer" + _bounds(info)
        case inspect.FloatType():
            return "a number" + _bounds(info)
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType():
            return _describe_string(info)
        case inspect.VarTupleType():
            return "a list" + _sizes(info.min_length, info.max_length, "items")
        case inspect.DictType():
            return "a map" + _sizes(info.min_length, info.max_length, "entries")
        case inspect.StructType():
            return "a map"
        case inspect.EnumType():
            return "one of " + ", ".join(str(member.value) for member in info.cls)
        case inspect.LiteralType():
            return "one of " + ", ".join(str(value) for value in info.values)
        case _:
            return "a value of another kind"


def _describe_string(info: inspect.StrType) -> str:
    kinds = {PRINTABLE: "printable characters", TOOL_NAME: "letters, digits, _ and -"}
    kind = kinds.get(info.pattern or "", "characters")
    return "a string" + _sizes(info.min_length, info.max_length, kind)


def _bounds(info: inspect.IntType | inspect.FloatType) -> str:
    if info.gt is not None:
        return f" above {_number(info.gt)}" + (f" and up to {_number(info.le)}" if info.le else "")
    if info.ge is None or info.le is None:
        return ""
    if info.le == MAX_SAFE_INTEGER:
        return f" of at least {_number(info.ge)}" if info.ge == 0 else " within ±2^53"
    return f" from {_number(info.ge)} to {_number(info.le)}"


def _number(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def _sizes(least: int | None, most: int | None, what: str) -> str:
    if least is None and most is None:
        return ""
    if most is None:
        return " that is not empty" if least == 1 else f" of at least {least} {what}"
    if least is None:
        return f" of at most {most:,} {what}"
    return f" of {least:,} to {most:,} {what}"


def _must_be(expected: str, value: Any) -> str:
    """The sentence; of what came instead it shows numbers, never text: that may be a secret."""
    match value:
        case bool():
            came = str(value).lower()
        case int() if abs(value) > 2**64:
            came = "one that large"
        case int() | float():
            came = str(value)
        case str():
            came = "a string"
        case dict():
            came = "a map"
        case list() | tuple():
            came = "a list"
        case None:
            came = "null"
        case _:
            came = "binary data"
    # "must be a string of at most 128 characters, not a string" would only confuse.
    if expected.startswith((came, "one of") if isinstance(value, str) else came):
        return f"must be {expected}"
    return f"must be {expected}, not {came}"


def words(details: Iterable[FieldError]) -> str:
    """All errors as one sentence."""
    return "; ".join(f"{detail.field} {detail.message}" for detail in details)
