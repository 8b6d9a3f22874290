"""Grammars that bind an answer: JSON schemas, regular expressions, GBNF.

Decides whether one can be honoured, before the model sees it: schemas and expressions become a
grammar of llguidance, and that library checks the very text that the engine will use. llama.cpp,
which is built with it, must not be left to find out: what it can't compile it ignores, with a line
on stderr and free text for the client, and bad GBNF can end its process (`wsserver.engines.gbnf`).
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final

import msgspec
from llguidance import LLMatcher, LLTokenizer, grammar_from

from wsserver.core.engine import Sampling
from wsserver.engines.contract import JobRefused
from wsserver.engines.gbnf import LLGUIDANCE, checked_gbnf, unusable

_HEADER: Final = f"{LLGUIDANCE} {{}}\nstart: "

# What needs llguidance, as names of the wire's options.
LLGUIDANCE_OPTIONS: Final = frozenset(("json_schema", "regex"))
GRAMMAR_OPTIONS: Final = LLGUIDANCE_OPTIONS | {"grammar"}
# Free white space lets a small model write blank lines until its tokens end; this is how JSON
# looks on one line.
_SPACING: Final = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
_PLACE: Final = re.compile(r"^(?:at )?\d+\(\d+\): ")
_QUOTED: Final = re.compile(r"\s+\d+ \| .*", re.DOTALL)


def grammar_of(sampling: Sampling, *, llguidance: bool) -> str | None:
    """The grammar that ``sampling`` asks for, checked, as llama.cpp takes it; None if none.

    Raises:
        JobRefused: ``invalid_parameters``, with what is wrong; ``unsupported_option`` for what
            needs llguidance where it can't be used.
    """
    grammar: str | None
    if sampling.json_schema is not None:
        option, grammar = "jsonSchema", _HEADER + "%json " + _schema_text(sampling.json_schema)
    elif sampling.regex is not None:
        option, grammar = "regex", _HEADER + _regex_literal(sampling.regex)
    else:
        option, grammar = "grammar", sampling.grammar
    if grammar is None or not grammar.lstrip().startswith(LLGUIDANCE):
        return None if grammar is None else checked_gbnf(grammar)
    if not llguidance:
        message = f"this model's tokenizer allows no {option}"
        raise JobRefused("unsupported_option", message, field=f"options.{option}")
    return _checked(option, grammar)


def matcher_grammar(sampling: Sampling) -> str | None:
    """The grammar that ``sampling`` asks for, checked, as llguidance's own matcher takes it.

    For engines that sample by themselves; GBNF becomes llguidance's kind.

    Raises:
        JobRefused: ``invalid_parameters``, with what is wrong.
    """
    grammar = grammar_of(sampling, llguidance=True)
    if grammar is None or grammar.lstrip().startswith(LLGUIDANCE):
        return None if grammar is None else grammar_from("lark", grammar)
    try:
        return _checked("grammar", grammar_from("gbnf", grammar))
    except ValueError as error:
        raise unusable("grammar", str(error)) from None


def is_bound(sampling: Sampling) -> bool:
    """Whether a grammar binds the answer."""
    bonds = (sampling.json_schema, sampling.regex, sampling.grammar)
    return any(bond is not None for bond in bonds)


def schema_fault(schema: dict[str, Any]) -> str | None:
    """What llguidance has against a JSON Schema, or None."""
    return LLMatcher.validate_grammar(_HEADER + "%json " + _schema_text(schema)) or None


def _schema_text(schema: dict[str, Any]) -> str:
    own = schema.get("x-guidance")
    spacing = _SPACING | own if isinstance(own, dict) else _SPACING
    return msgspec.json.encode(schema | {"x-guidance": spacing}).decode()


def _regex_literal(regex: str) -> str:
    """``regex`` between slashes: slashes, line ends and NULs escaped, escapes left alone."""
    literal: list[str] = []
    is_escaped = False
    for character in regex:
        if character == "\n":
            literal.append("n" if is_escaped else r"\n")
        elif character == "\0":
            literal.append("x00" if is_escaped else r"\x00")
        elif character == "/" and not is_escaped:
            literal.append(r"\/")
        else:
            literal.append(character)
        is_escaped = character == "\\" and not is_escaped
    return f"/{''.join(literal)}/"


def _checked(option: str, grammar: str) -> str:
    if "\0" in grammar:
        raise unusable(
            option, "NUL can't be part of it"
        )  # llama.cpp reads up to it, and no further
    fault = LLMatcher.validate_grammar(grammar)
    if fault:
        raise unusable(option, " ".join(_PLACE.sub("", _QUOTED.sub("", fault)).split()))
    # What is well-formed may still let nothing begin: a schema that only refers to itself, say.
    matcher = LLMatcher(_bytes(), grammar)
    matcher.compute_bitmask()
    if matcher.is_error():
        raise unusable(option, "no text keeps to it")
    return grammar


@functools.cache
def _bytes() -> LLTokenizer:
    """A tokenizer whose tokens are the bytes: enough to see whether a grammar lets anything in."""
    return LLTokenizer("byte")
