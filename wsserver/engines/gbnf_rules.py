"""The rules of a GBNF grammar, and whether llama.cpp can follow them to an end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

ROOT: Final = "root"

# llama.cpp follows all ways at once, and each of them again at each character of each token.
# Alternatives are cheap, what may be left out is not: 300 optional texts in a row take seconds a
# token.
_MOST_WAYS: Final = 10_000
_MOST_SKIPPING: Final = 256


@dataclass(slots=True)
class Symbol:
    """What stands in a sequence: a rule or a bracket by its name, else characters.

    ``is_optional``: it may be left out. ``repeats``: without a bound. ``times``: how often it may
    be there, where there is a bound. ``elements``: what it takes in llama.cpp, once.
    """

    name: str | None = None
    elements: int = 1
    is_optional: bool = False
    repeats: bool = False
    times: int = 1


Sequence = list[Symbol]


@dataclass(slots=True)
class Rule:
    at: int  # in the grammar's text
    sequences: list[Sequence] = field(default_factory=list)


class _Ways(NamedTuple):
    """How many ways llama.cpp follows through a rule before the next character.

    To a first character of the rule, and to its end without one.
    """

    starts: int
    ends: int


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
    known: dict[str, _Ways] = {}
    for name in _from_the_left(rules, empty):
        known[name] = _ways_of(rules[name], known)


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


def _from_the_left(rules: dict[str, Rule], empty: set[str]) -> Iterator[str]:
    """All rules, each after those that it can begin with.

    Raises:
        GrammarFault: If there is no such order: the rules that are left lead to each other.
    """
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
        yield gone
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


def _ways_of(rule: Rule, known: dict[str, _Ways]) -> _Ways:
    """The ways through a rule; ``known`` has those through all that it can begin with.

    Raises:
        GrammarFault: If there are too many.
    """
    starts = ends = skipping = 0
    for sequence in rule.sequences:
        through = 1  # ways past what came before
        for number, symbol in enumerate(sequence):
            first, later, past = _ways_past(symbol, known)
            starts += through * (first + later)
            skipping += through * (first + later if number else later)
            through *= past
            if starts > _MOST_WAYS or through > _MOST_WAYS or skipping > _MOST_SKIPPING:
                raise GrammarFault(rule.at, "there are too many ways to read it")
            if not through:
                break
        ends += through
    return _Ways(starts, ends)


def _ways_past(symbol: Symbol, known: dict[str, _Ways]) -> tuple[int, int, int]:
    """The ways to a character in its first repetition, in a later one, and past all of them."""
    once = _Ways(1, 0) if symbol.elements else _Ways(0, 1)
    if symbol.name is not None:
        once = known[symbol.name]
    first, later, through, past = once.starts, 0, once.ends, once.ends + symbol.is_optional
    for _ in range(1, symbol.times):
        if not through or later > _MOST_SKIPPING or past > _MOST_WAYS:
            break
        later += through * once.starts
        through *= once.ends
        past += through
    return first, later, past
