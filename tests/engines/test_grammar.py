"""Grammars as engines get them."""

from __future__ import annotations

import pytest

pytest.importorskip("llguidance", reason="llama.cpp's engine is not installed")

from wsserver.core.engine import Sampling
from wsserver.engines.contract import JobRefused
from wsserver.engines.grammar import grammar_of, is_bound, matcher_grammar


def literal(regex: str) -> str:
    """The expression as it stands in the grammar."""
    grammar = grammar_of(Sampling(regex=regex), llguidance=True)
    assert grammar is not None
    return grammar.partition("start: ")[2]


@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        ("a/b", r"/a\/b/"),
        (r"a\/b", r"/a\/b/"),
        (r"a\\/b", r"/a\\\/b/"),
        ("a\nb", r"/a\nb/"),
        ("[0-9]+", "/[0-9]+/"),
        ("a\0b", r"/a\x00b/"),
        ("\\\0", r"/\x00/"),
    ],
)
def test_expression_stands_between_slashes(regex: str, expected: str) -> None:
    """Slashes, line ends and NULs of an expression are escaped once, its escapes left alone."""
    assert literal(regex) == expected


def test_schema_is_written_on_one_line() -> None:
    """White space is fixed unless the schema says otherwise, and the schema itself is kept."""
    schema = {"type": "object", "properties": {"é": {"type": "integer"}}}
    grammar = grammar_of(Sampling(json_schema=schema), llguidance=True)
    assert grammar is not None
    assert '"whitespace_flexible":false' in grammar
    assert '"é"' in grammar
    assert "x-guidance" not in schema
    own = {"x-guidance": {"whitespace_flexible": True}}
    assert '"whitespace_flexible":true' in (
        grammar_of(Sampling(json_schema=own), llguidance=True) or ""
    )


@pytest.mark.parametrize(
    ("sampling", "words"),
    [
        (Sampling(json_schema={"type": "objekt"}), "jsonSchema.*Invalid type: objekt"),
        (Sampling(regex="[0-9"), "regex.*unclosed character class"),
        (Sampling(grammar="%llguidance {}\nstart: nothing"), "grammar.*nothing"),
        (Sampling(grammar='%llguidance {}\nstart: "a\0"'), "grammar.*NUL"),
        (Sampling(grammar="root ::= ("), "grammar.*line 1"),
        (Sampling(json_schema={"$ref": "#"}), "jsonSchema.*no text keeps to it"),
    ],
)
def test_fault_is_told_in_a_sentence(sampling: Sampling, words: str) -> None:
    """A refusal names the option and the fault, on one line."""
    with pytest.raises(JobRefused, match=words) as caught:
        grammar_of(sampling, llguidance=True)
    assert caught.value.code == "invalid_parameters"
    assert caught.value.field == f"options.{words.partition('.')[0]}"
    assert "\n" not in caught.value.message


def test_gbnf_passes_as_it_is() -> None:
    """llama.cpp's own grammars need no llguidance."""
    assert grammar_of(Sampling(grammar='root ::= "a"'), llguidance=False) == 'root ::= "a"'
    assert grammar_of(Sampling(), llguidance=False) is None
    with pytest.raises(JobRefused) as caught:
        grammar_of(Sampling(regex="a"), llguidance=False)
    assert caught.value.code == "unsupported_option"


def test_gbnf_is_brought_to_the_matcher() -> None:
    """An engine with a matcher of its own gets GBNF as llguidance's kind, and a bad one refused."""
    assert "start" in (matcher_grammar(Sampling(grammar='root ::= "a" | "b"')) or "")
    assert "%json" in (matcher_grammar(Sampling(json_schema={"type": "object"})) or "")
    assert matcher_grammar(Sampling()) is None
    with pytest.raises(JobRefused, match="grammar can't be used"):
        matcher_grammar(Sampling(grammar="root ::= missing"))


def test_bound_is_what_has_a_grammar() -> None:
    """A schema, an expression or a grammar binds; an empty schema, too."""
    assert is_bound(Sampling(json_schema={}))
    assert is_bound(Sampling(regex="a"))
    assert not is_bound(Sampling(stop=("a",)))
