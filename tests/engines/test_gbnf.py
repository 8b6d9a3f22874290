"""Grammars of llama.cpp's form, read before llama.cpp reads them."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.engines.driver import running
from tests.tiny_models import TinyModel, TinyModels
from wsserver.core.engine import Finished, ModelSpec, Sampling
from wsserver.engines.gbnf import fault_of

# The whole of JSON, as people write it for llama.cpp.
JSON = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= # a map
  "{" ws (
     string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [1-9] [0-9]{0,2})? ws
ws ::= | " " | "\n" [ \t]{0,20}
"""
GOOD = (
    JSON,
    'root ::= "a" # why',
    "\n\nroot::=.{2}\r\n",
    'root ::= x+ | "\\U0001F600é"\nx ::= [^\\n\\]-]',
    'root ::= ("(" root ")")?',
    'root ::= "a" |',
    'root ::= ""',
    'root ::= "a"{0,100000}',
    "root ::= [\\u0041-\\u0043a-]",
    'root ::= !<[5]> "a"',
    'root ::= "b"\nroot ::= "a"',
    "root ::= " + " | ".join(f'"word {number}"' for number in range(2_000)),
    'root ::= ("a"{1000}){1000}',
    "root ::= " + " ".join(f'("key {number}" ",")?' for number in range(100)) + '"."',
)
CHAIN = "\n".join(f"r{number} ::= r{number + 1}" for number in range(3_000))
BAD = (
    ("", "no rule 'root'"),
    ("root", "line 1: expected '::='"),
    ('root ::= "a"\n| "b"', "line 2: expected the name"),
    ("root ::= foo", "no rule 'foo'"),
    ('root ::= b_c\nb ::= "a"', "line 1: did not expect '_'"),
    ('root ::= "a', "does not end"),
    ("root ::= [a", "does not end"),
    ("root ::= []", "no characters"),
    ("root ::= [b-a]", "runs backwards"),
    ("root ::= (", "line 1: expected '[)]'"),
    ('root ::= "\\d"', "no escape"),
    ('root ::= "\\x4g"', "2 hexadecimal digits"),
    ('root ::= "\\uD800"', "D800 is no character"),
    ('root ::= "a\0"', "NUL"),
    ("root ::= <", "expected a token"),
    ('root ::= !"a"', "expected a token"),
    ('root ::= "a"{,2}', "expected a number"),
    ('root ::= "a"{2', "expected '}'"),
    ('root ::= "a"{3,1}', "less than its smaller"),
    ('root ::= "a"{2001}', "more than 2000"),
    ('root ::= "a"{99999999999999}', "too large"),
    ('root ::= "' + "a" * 1_000 + '"{1000}', "too large"),
    ("root ::= " + "(" * 32_000 + '"a"' + ")" * 32_000, "more than 64 brackets"),
    ('root ::= ("")*', "nothing at all is repeated"),
    ('root ::= x+\nx ::= "a"? | "b"', "nothing at all is repeated"),
    ('root ::= "a"? root', "line 1: a rule begins with itself"),
    ('root ::= "x" a\na ::= b\nb ::= c\nc ::= b "x" | "y"', "line [34]: a rule begins with itself"),
    ('root ::= (("a"?){0,40}){0,40}', "too many ways"),
    ("root ::= " + '"a"? ' * 500, "too many ways"),
    ('root ::= ("a"?){0,2000}', "too many ways"),
    (f'root ::= r0\n{CHAIN}\nr3000 ::= r7 "a"', "begins with itself"),
)


@pytest.mark.parametrize("grammar", GOOD)
def test_grammar_that_can_be_used(grammar: str) -> None:
    """All that llama.cpp's form has is read."""
    assert fault_of(grammar) is None


@pytest.mark.parametrize(("grammar", "words"), BAD, ids=lambda text: text[:24])
def test_fault_is_told_with_its_line(grammar: str, words: str) -> None:
    """What can't be used is refused, with the reason."""
    fault = fault_of(grammar)
    assert fault is not None
    assert re.search(words, fault), fault


def test_largest_grammar_is_read_in_a_moment() -> None:
    """The time grows with the length of the text, not with its square."""
    grammar = f'root ::= r0\n{CHAIN}\nr3000 ::= "a"?'
    start = time.process_time()
    assert fault_of(grammar) is None
    assert time.process_time() - start < 2


async def test_llama_cpp_reads_what_is_let_through(tiny_models: TinyModels) -> None:
    """No grammar found good is refused by llama.cpp itself; a bad one never gets there."""
    pytest.importorskip("xllamacpp", reason="llama.cpp's binding is not installed")
    path: Path = tiny_models.path(TinyModel(mode="bigram", tokenizer="byte-level"))
    spec = ModelSpec(id="tiny", engine="llamacpp", source=path.name, path=str(path))
    async with running(spec) as driver:
        for number, grammar in enumerate(GOOD):
            result = await driver.run(f"good {number}", sampling=Sampling(grammar=grammar))
            assert isinstance(result.end, Finished), (grammar, result.end)
        for number, (grammar, _) in enumerate(BAD):
            sampling = Sampling(grammar=grammar)
            failure = (await driver.run(f"bad {number}", sampling=sampling)).failure
            assert (failure.code, failure.field) == ("invalid_parameters", "options.grammar")
