"""Grammars that bind an answer: JSON schemas, regular expressions, GBNF.

Decides whether one can be honoured, before the model sees it. llama.cpp must not be left to find
out: a schema or expression that it can't compile it ignores, with a line on stderr and free text
for the client. So both are put as a grammar of llguidance, the library that llama.cpp was built
with, and that library checks the very text that is sent.

For one kind of model llguidance can't be used at all. Where a tokenizer puts a space before a text
(SentencePiece's of Llama 2, say), llama.cpp tells it each token without its leading space, and
what it lets through has spaces where the grammar has none. Such a model has only GBNF.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from llguidance import LLMatcher

from wsserver.core.engine import Sampling
from wsserver.engines.contract import JobRefused
from wsserver.engines.llamacpp.gguf import Metadata

_LLGUIDANCE: Final = "%llguidance"
_HEADER: Final = f"{_LLGUIDANCE} {{}}\nstart: "

# What needs llguidance, as names of the wire's options.
LLGUIDANCE_OPTIONS: Final = frozenset(("json_schema", "regex"))
# Tokenizers that put a space before a text unless the model file says otherwise.
_SPACE_PREFIXING: Final = frozenset(("llama", "t5"))

# Free white space lets a small model write blank lines until its tokens end; this is how JSON
# looks on one line.
_SPACING: Final = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
_PLACE: Final = re.compile(r"^(?:at )?\d+\(\d+\): ")
_QUOTED: Final = re.compile(r"\s+\d+ \| .*", re.DOTALL)


def has_llguidance(metadata: Metadata) -> bool:
    """Whether a model's tokenizer is one that llguidance is told rightly of."""
    is_default = metadata.text("tokenizer.ggml.model") in _SPACE_PREFIXING
    return not metadata.values.get("tokenizer.ggml.add_space_prefix", is_default)


def grammar_of(sampling: Sampling, *, llguidance: bool) -> str | None:
    """The grammar that ``sampling`` asks for, checked, as llama.cpp's ``grammar``; None if none.

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
    if grammar is None or not grammar.lstrip().startswith(_LLGUIDANCE):
        return grammar  # GBNF: llama.cpp refuses a bad one aloud
    if not llguidance:
        raise JobRefused("unsupported_option", f"this model's tokenizer allows no {option}")
    return _checked(option, grammar)


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
    """``regex`` between slashes: its own slashes and line ends escaped, escapes left alone."""
    literal: list[str] = []
    is_escaped = False
    for character in regex:
        if character == "\n":
            literal.append("n" if is_escaped else r"\n")
        elif character == "/" and not is_escaped:
            literal.append(r"\/")
        else:
            literal.append(character)
        is_escaped = character == "\\" and not is_escaped
    return f"/{''.join(literal)}/"


def _checked(option: str, grammar: str) -> str:
    fault = LLMatcher.validate_grammar(grammar)
    if fault:
        reason = " ".join(_PLACE.sub("", _QUOTED.sub("", fault)).split())
        raise JobRefused("invalid_parameters", f"{option} can't be used: {reason}")
    return grammar
