"""Calls of tools, joined from parts."""

from __future__ import annotations

import pytest

from wsserver.core.engine import ChatMessage
from wsserver.engines.calls import CallAssembler, CallPart, FunctionPart, as_turns
from wsserver_protocol.tools import ToolCall


def part(index: int = 0, text: str | None = None, **fields: str) -> CallPart:
    """A part of a call."""
    function = FunctionPart(name=fields.get("name"), arguments=text)
    return CallPart(index=index, id=fields.get("id"), function=function)


def test_parts_are_joined_by_their_index() -> None:
    """Calls come in the order of their indexes, the parts of each in the order they came."""
    calls = CallAssembler()
    assert not calls.has_begun
    calls.push([part(1, "{}", id="b", name="now")])
    calls.push([part(0, '{"city": ', id="a", name="weather"), part(0, '"Rome"}')])
    assert calls.has_begun
    assert calls.finish() == (
        ToolCall(id="a", name="weather", arguments='{"city": "Rome"}'),
        ToolCall(id="b", name="now", arguments="{}"),
    )


def test_what_a_server_leaves_out_is_made_up_for() -> None:
    """A call without arguments has none, one without an id gets one; without a name it is none."""
    calls = CallAssembler()
    calls.push([part(name="now"), CallPart(index=1, function=FunctionPart(name="now"))])
    first, second = calls.finish()
    assert first.arguments == "{}"
    assert first.id != second.id
    calls.push([CallPart(index=2)])
    with pytest.raises(ValueError, match="no tool"):
        calls.finish()


def test_calls_are_bounded() -> None:
    """More than a frame may tell ends the answer, also where it is many small calls."""
    with pytest.raises(ValueError, match="too long"):
        CallAssembler().push([part(text="x" * 300_000, name="f")])
    with pytest.raises(ValueError, match="too long"):
        CallAssembler().push([part(index, name="f") for index in range(129)])


def test_turns_have_openais_form() -> None:
    """Calls and results of tools are turns; what was said goes through the given hand."""
    messages = (
        ChatMessage(role="user", content="hi", name="Ann"),
        ChatMessage(
            role="assistant", content="", tool_calls=(ToolCall(id="c", name="f", arguments="{}"),)
        ),
        ChatMessage(role="tool", content="sunny", tool_call_id="c"),
    )
    assert as_turns(messages, str.upper) == [
        {"role": "user", "content": "HI", "name": "Ann"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "content": "SUNNY", "tool_call_id": "c"},
    ]
