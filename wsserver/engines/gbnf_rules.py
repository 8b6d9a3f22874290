"""The rules of a GBNF grammar, and whether llama.cpp can follow them to an end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

ROOT: Final = "root"


@dataclass(slots=True)
class Symbol:
    """What stands in a sequence: a rule or a bracket by its name, else characters.

    ``is_optional``: it may be left out. ``repeats``: without a bound. ``elements``: what it takes
    in llama.cpp, once.
    """

    name: str | None = None
    elements: int = 1
    is_optional: bool = False
    repeats: bool = False


Sequence = list[Symbol]


@dataclass(slots=True)
class Rule:
    at: int  # in the grammar's text
    sequences: list[Sequence] = field(default_factory=list)


@dataclass(slots=True)
class _Waiting:
    """A sequence of the rule ``name``, and how many symbols are not known to be empty."""

    name: str
    missing: int


class GrammarFault(Exception):
    """The grammar can't be used; ``str`` says why. ``at`` is the place in its text."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at


def check(rules: dict[str, Rule]) -> None:
    """Refuse missing rules, and those that llama.cpp could follow for ever.

    Raises:
        GrammarFault: For the first one.
    """
    if ROOT not in rules:
        raise GrammarFault(0, f"there is no rule {ROOT!r}, where an answer begins")
    for rule in rules.values():
        for symbol in _symbols(rule):
            if symbol.name is not None and symbol.name not in rules:
                raise GrammarFault(rule.at, f"there is no rule {symbol.name!r}")
    empty = _which_can_be_empty(rules)
    for rule in rules.values():
        for symbol in _symbols(rule):
            if symbol.repeats and (symbol.name in empty or not symbol.elements):
                raise GrammarFault(rule.at, "nothing at all is repeated without a bound")
    _refuse_left_recursion(rules, empty)


def _symbols(rule: Rule) -> Iterable[Symbol]:
    return (symbol for sequence in rule.sequences for symbol in sequence)


def _which_can_be_empty(rules: dict[str, Rule]) -> set[str]:
    found: list[str] = []
    waiting: dict[str, list[_Waiting]] = {}
    for name, rule in rules.items():
        for sequence in rule.sequences:
            needed = [symbol.name for symbol in sequence if not symbol.is_optional]
            waits = _Waiting(name, len(needed))
            for other in needed:
                if other is not None:  # characters are never empty: that sequence waits for ever
                    waiting.setdefault(other, []).append(waits)
            if not needed:
                found.append(name)
    empty: set[str] = set()
    while found:
        name = found.pop()
        if name in empty:
            continue
        empty.add(name)
        for waits in waiting.get(name, ()):
            waits.missing -= 1
            if not waits.missing:
                found.append(waits.name)
    return empty


def _is_empty(symbol: Symbol, empty: set[str]) -> bool:
    return symbol.is_optional or symbol.name in empty


def _refuse_left_recursion(rules: dict[str, Rule], empty: set[str]) -> None:
    """Take away rules that begin with none that is left, until the rest lead to each other."""
    begins: dict[str, set[str]] = {name: set() for name in rules}
    begun: dict[str, set[str]] = {name: set() for name in rules}  # the same, seen from the other
    for name, rule in rules.items():
        for sequence in rule.sequences:
            for symbol in sequence:
                if symbol.name is not None:
                    begins[name].add(symbol.name)
                    begun[symbol.name].add(name)
                if not _is_empty(symbol, empty):
                    break
    free = [name for name, others in begins.items() if not others]
    while free:
        gone = free.pop()
        for name in begun[gone]:
            begins[name].discard(gone)
            if not begins[name]:
                free.append(name)
    left = next((name for name, others in begins.items() if others), None)
    seen: set[str] = set()
    while left is not None:  # each of them begins with another of them: follow to one met before
        if left in seen:
            raise GrammarFault(rules[left].at, "a rule begins with itself, which can't be followed")
        seen.add(left)
        left = next(iter(begins[left]))
