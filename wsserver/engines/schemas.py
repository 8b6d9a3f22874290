"""JSON schemas that llama.cpp turns into a grammar by itself: those that it would not survive.

Decides nothing about what a schema means. Those of answers are checked by llguidance
(`wsserver.engines.grammar`); those of tools llama.cpp reads itself, says of most faults what they
are, but where an upper bound is less than the lower one it writes a grammar without an end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from wsserver.core.engine import Sampling
from wsserver.engines.gbnf import unusable

_BOUNDS: Final = (("minLength", "maxLength"), ("minItems", "maxItems"))
_TIMES: Final = re.compile(r"(?<!\\)\{0*(\d+),0*(\d+)\}")


def refuse_deadly(sampling: Sampling) -> None:
    """Refuse a job whose schemas llama.cpp would not survive.

    Raises:
        JobRefused: ``invalid_parameters``, naming the part.
    """
    schemas = [
        (f"tools[{number}].function.parameters", tool["function"].get("parameters"))
        for number, tool in enumerate(sampling.tools)
    ]
    for path, schema in (*schemas, ("jsonSchema", sampling.json_schema)):
        fault = fault_in(schema, path)
        if fault is not None:
            raise unusable(*fault)


def fault_in(schema: object, path: str) -> tuple[str, str] | None:
    """The path of a part that llama.cpp would not survive, and what is wrong; None: there is none.

    Args:
        schema: The schema.
        path: Its own.
    """
    for where, part in _parts(schema, path):
        for least, most in _BOUNDS:
            low, high = part.get(least), part.get(most)
            if isinstance(low, int) and isinstance(high, int) and low > high:
                return f"{where}.{least}", f"it is larger than {most}"
        pattern = part.get("pattern")
        if isinstance(pattern, str) and (reason := _fault_of(pattern)) is not None:
            return f"{where}.pattern", reason
    return None


def _parts(schema: object, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All maps within a schema, with their paths."""
    waiting: list[tuple[str, object]] = [(path, schema)]
    while waiting:
        where, part = waiting.pop()
        if isinstance(part, dict):
            yield where, part
            waiting += [(f"{where}.{name}", inner) for name, inner in part.items()]
        elif isinstance(part, list | tuple):
            waiting += [(f"{where}[{number}]", inner) for number, inner in enumerate(part)]


def _fault_of(pattern: str) -> str | None:
    # By their lengths first: Python makes no numbers of some thousand digits.
    if any((len(high), high) < (len(low), low) for low, high in _TIMES.findall(pattern)):
        return "it has a repetition whose larger number is less than its smaller one"
    return None
