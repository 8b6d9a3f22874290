"""Descriptions for people, read from the structs' own docstrings.

A docstring is a text, then ``Attributes:`` with one indented ``name: text`` each. Reading them
here keeps a field's type, bounds and meaning in one place, and its declaration short.
"""

from __future__ import annotations

import inspect
import re
from functools import cache

import msgspec

ATTRIBUTES = "\nAttributes:\n"


def summary(struct: type) -> str:
    """What a message or part is: its docstring without the attributes, as Markdown."""
    return markdown(_own(struct).partition(ATTRIBUTES)[0])


@cache
def fields(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Attribute name to its description, those of base classes included."""
    described: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct:
            described.update(_attributes(_own(base).partition(ATTRIBUTES)[2]))
    return described


def _own(struct: type) -> str:
    return inspect.cleandoc(struct.__dict__.get("__doc__") or "")


def _attributes(section: str) -> dict[str, str]:
    # An entry is indented by one level, its further lines by two.
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: markdown(text) for name, text in entries}


def markdown(text: str) -> str:
    """A docstring's text as Markdown: each paragraph on one line, code in single backticks."""
    paragraphs = (" ".join(part.split()) for part in text.strip().split("\n\n"))
    return "\n\n".join(re.sub(r"``(.+?)``|`(\w+)`", _code, part) for part in paragraphs)


def _code(match: re.Match[str]) -> str:
    return f"`{match[1] or match[2]}`"
