"""The bounds of every option: the last good value passes, the next one does not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from wsserver_protocol.codec import parse_request
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.options import DEFAULT_MAX_TOKENS, DEFAULT_PROGRESS_EVERY, GenerationOptions
from wsserver_protocol.requests import Stream

INF = float("inf")
NAN = float("nan")


def parse(options: dict[str, Any]) -> GenerationOptions:
    """``options`` as a request's; a choice of tools beside a tool."""
    if "toolChoice" in options:
        options = {"tools": [tool("f")], **options}
    request = parse_request({"type": "stream", "prompt": "x", "options": options})
    assert isinstance(request, Stream)
    return request.options


def tool(name: str, **parameters: Any) -> dict[str, Any]:
    """A tool as the wire has it."""
    function = {"name": name, **({"parameters": parameters} if parameters else {})}
    return {"type": "function", "function": function}


BOUNDS: list[tuple[str, list[Any], list[Any]]] = [
    ("maxTokens", [1, 1_000_000], [0, -1, 1_000_001, 1.5, True, "5", NAN]),
    ("temperature", [0, 0.0, 1, 2, 2.0], [-0.1, 2.1, True, "1", NAN, INF, -INF]),
    ("topP", [0, 0.5, 1], [-0.1, 1.1, NAN, False]),
    ("topK", [0, 1, 1_000_000], [-1, 1_000_001, 1.5, True]),
    ("minP", [0, 1], [-0.1, 1.1, NAN]),
    ("typicalP", [0, 1], [-0.1, 1.1, NAN]),
    ("repetitionPenalty", [0.1, 1, 2], [0, -1, 2.1, NAN, INF]),
    ("presencePenalty", [-2, 0, 2], [-2.1, 2.1, NAN]),
    ("frequencyPenalty", [-2, 0, 2], [-2.1, 2.1, NAN]),
    ("seed", [0, -1, 2**53 - 1, -(2**53) + 1], [2**53, -(2**53), 1.5, True, "1"]),
    ("stop", ["x", [], ["x"] * 16, ["x" * 256]], ["", ["x"] * 17, [""], ["x" * 257], 5, [5], {}]),
    ("bannedStrings", [[], ["x"] * 256], ["x", ["x"] * 257, [""], [None]]),
    (
        "logitBias",
        [{}, {"0": -100, "128000": 100.0}],
        [{"0": 101}, {"0": "1"}, {"0": NAN}, {"x": 1}, {"-1": 1}, {"²": 1}, {"1" * 10: 1}, [], 1],
    ),
    ("jsonSchema", [{}, {"type": "object"}], [[], "x", True]),
    ("grammar", ["root ::= x"], ["", 5, {}]),
    ("regex", ["a+"], ["", 5, []]),
    (
        "tools",
        [[], [tool("f")], [tool(f"f{n}") for n in range(128)], [tool("a-b_9", type="object")]],
        [
            *([tool(name)] for name in ("", "a b", "x" * 65, "é", "a\n")),
            *([tool("f"), tool("f")], [tool(f"f{n}") for n in range(129)]),
            *([tool("f", type="string")], [{"type": "function"}], {}, [5]),
        ],
    ),
    (
        "toolChoice",
        ["auto", "none", "required", {"name": "f"}],
        ["", "any", True, {}, {"name": "g"}, {"name": "a b"}],
    ),
    ("logprobs", [0, 20], [-1, 21, True, 1.5]),
    ("cache", [True, False], [0, 1, "true"]),
    ("priority", [-10, 0, 10], [-11, 11, 1.5]),
    ("timeout", [1, 86_400_000], [0, -1, 86_400_001, 1.5]),
    ("progressEvery", [0, 1, 1_000_000], [-1, 1.5, True]),
    ("tokenInterval", [0, 1000], [-1, 1001, 1.5]),
    ("onDisconnect", ["cancel", "detach"], ["", "Cancel", True, 0]),
]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, good, _ in BOUNDS for value in good]
)
def test_a_value_within_its_bounds_is_kept_as_it_is(name: str, value: Any) -> None:
    """Nothing is clamped or rounded."""
    attribute = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
    expected = {"stop": (value,) if isinstance(value, str) else value}.get(name, value)
    kept = msgspec.to_builtins(getattr(parse({name: value}), attribute))
    assert kept == (tuple(expected) if isinstance(kept, tuple) else expected)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, _, bad in BOUNDS for value in bad]
)
def test_a_value_out_of_its_bounds_is_refused_by_name(name: str, value: Any) -> None:
    """Not clamped, not taken for another kind: an error that names the option."""
    with pytest.raises(WireError) as caught:
        parse({name: value})
    (detail,) = caught.value.details
    assert detail.field.startswith(f"options.{name}")


def test_every_option_has_its_bounds_tested() -> None:
    """A new option comes with its row in the table above."""
    assert len(BOUNDS) == len(GenerationOptions.__struct_fields__)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"jsonSchema": {}, "grammar": "x"}, "options.grammar"),
        ({"jsonSchema": {}, "regex": "x"}, "options.regex"),
        ({"grammar": "x", "regex": "x"}, "options.regex"),
        ({"jsonSchema": {}, "grammar": "x", "regex": "x"}, "options.grammar"),
    ],
)
def test_only_one_constraint_can_hold(options: dict[str, Any], field: str) -> None:
    """jsonSchema, grammar and regex exclude each other."""
    with pytest.raises(WireError) as caught:
        parse(options)
    assert [detail.field for detail in caught.value.details] == [field]


@pytest.mark.parametrize("constraint", ["jsonSchema", "grammar", "regex"])
def test_tools_exclude_what_binds_the_answer(constraint: str) -> None:
    """A call and a constraint would each want the whole answer."""
    with pytest.raises(WireError) as caught:
        parse({"tools": [tool("f")], constraint: {} if constraint == "jsonSchema" else "x"})
    assert [detail.field for detail in caught.value.details] == ["options.tools"]


def test_choice_needs_tools() -> None:
    """A choice among nothing is a mistake that the client should see."""
    with pytest.raises(WireError) as caught:
        parse({"tools": [], "toolChoice": "auto"})
    assert [detail.field for detail in caught.value.details] == ["options.toolChoice"]


def test_keys_of_a_schema_are_the_clients_own() -> None:
    """In the parameters of a tool nothing is renamed, whatever the keys look like."""
    parameters = {"type": "object", "properties": {"max_tokens": {}, "maxTokens": None}}
    (kept,) = parse({"tools": [tool("f", **parameters)]}).tools
    assert kept.function.parameters == parameters


@pytest.mark.parametrize(
    ("tools", "field"),
    [
        ([tool("f", x="y" * 65_536)], "options.tools[0].function.parameters"),
        ([tool(f"f{n}", x="y" * 60_000) for n in range(5)], "options.tools"),
    ],
)
def test_tools_have_a_size(tools: list[dict[str, Any]], field: str) -> None:
    """64 KiB for the parameters of each, 256 KiB for all."""
    with pytest.raises(WireError) as caught:
        parse({"tools": tools})
    assert caught.value.code is ErrorCode.PAYLOAD_TOO_LARGE
    assert [detail.field for detail in caught.value.details] == [field]


def test_an_integer_is_a_number() -> None:
    """Clients whose language drops the point of 1.0 are understood."""
    temperature = parse({"temperature": 1}).temperature
    assert temperature == 1.0
    assert isinstance(temperature, float)


def test_defaults() -> None:
    """What is absent is None; the defaults are the contract's."""
    assert GenerationOptions() == parse({})
    assert (DEFAULT_MAX_TOKENS, DEFAULT_PROGRESS_EVERY) == (512, 5)
