"""Turning what a layer gave into a value of its key's type, or into a fault.

Text from a shell is read by the type of its key: a string is taken as it stands (``--set
log.level=debug`` needs no quotes), a list is split at commas, a number or a boolean is parsed, and
whatever begins like TOML (a quote, ``[`` or ``{``) is parsed as TOML.
"""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

from wsserver.config.faults import Fault
from wsserver.config.keys import Key
from wsserver.config.sources import Entry


def _bare_type(annotated: Any) -> Any:
    """The type without its `Annotated`."""
    return get_args(annotated)[0] if hasattr(annotated, "__metadata__") else annotated


def _parse_toml(text: str) -> Any:
    return tomllib.loads(f"value = {text}")["value"]


def _read_text(text: str, key: Key) -> Any:
    """Read shell text as the key's type asks.

    Raises:
        tomllib.TOMLDecodeError: If it begins like TOML and is none.
    """
    if text[:1] in ("[", "{", '"', "'"):
        return _parse_toml(text)
    if get_origin(_bare_type(key.type)) is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    return text


def _nest(entry: Entry, depth: int) -> Any:
    """Wrap the value of "section.key.a.b" as {"a": {"b": value}}."""
    value = entry.value
    if entry.is_text and depth:
        try:
            value = _parse_toml(value)
        except tomllib.TOMLDecodeError:
            value = entry.value  # a bare string
    for name in reversed(entry.path.split(".")[2:]):
        value = {name: value}
    return value


def _explain(error: msgspec.ValidationError, value: Any, key: Key) -> str:
    """msgspec's sentence, in our voice and with the value, unless that is a secret."""
    text = str(error).replace("`", "").replace(" - at $", " at ")
    text = re.sub(r"^(Expected|Object|Invalid)", lambda word: word[0].lower(), text)
    # The one kind of pattern that there is.
    text = re.sub(r"str matching regex '[^']*'", 'a size such as "12GiB"', text)
    text = text.replace("length >= 1", "that is not empty").replace("array", "list")
    choices = get_args(_bare_type(key.type))
    if "enum value" in text and choices:
        text = f"expected one of {', '.join(map(str, choices))}"
    if key.kind in ("secret", "url") or isinstance(value, (list, dict)):
        return text
    return f"{text}, got {value!r}" if ", got " not in text else f"{text} {value!r}"


def convert(entry: Entry, key: Key) -> Any | Fault:
    """Return the entry's value as its key wants it, or what is wrong with it."""
    depth = entry.path.count(".") - 1
    if depth and get_origin(_bare_type(key.type)) is not dict:
        return Fault(entry.path, f"{key.path} has no keys of its own", entry.origin)
    value = entry.value
    try:
        if depth:
            value = _nest(entry, depth)
        elif entry.is_text:
            value = _read_text(entry.value, key)
        value = msgspec.convert(value, key.type, strict=not entry.is_text)
    except tomllib.TOMLDecodeError as error:
        return Fault(entry.path, f"not a TOML value: {error}", entry.origin)
    except msgspec.ValidationError as error:
        return Fault(entry.path, _explain(error, value, key), entry.origin)
    if isinstance(value, float) and not math.isfinite(value):
        return Fault(entry.path, "expected a finite number", entry.origin)
    if key.kind == "path" and value:
        return absolute(value, entry.origin.base)
    return value


def absolute(path: str, base: Path) -> str:
    """Expand ``~`` and make the path absolute against ``base``; symbolic links stay."""
    try:
        expanded = Path(path).expanduser()
    except RuntimeError:  # "~nobody/": no such user, and no home to speak of
        expanded = Path(path)
    return str(base / expanded)
