"""Conversations with tools in OpenAI's form: turns on their way in, calls on their way out.

Decides when a call is whole. It knows no engine. The rule: a call is told whole or not at all, so
that a job which begins anew repeats nothing that anyone has seen.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from wsserver.core.engine import ChatMessage
from wsserver_protocol.fields import MAX_ID_LENGTH
from wsserver_protocol.tools import MAX_TOOL_CALLS, ToolCall

_MAX_ARGUMENTS: Final = 256 * 1024  # characters of all calls: they are told in one frame


class FunctionPart(msgspec.Struct):
    """A part of what is called."""

    name: str | None = None
    arguments: str | None = None


class CallPart(msgspec.Struct):
    """A part of the call number ``index``; of name and id the first one counts."""

    index: int = 0
    id: str | None = None
    function: FunctionPart | None = None


@dataclass
class _Call:
    id: str = ""
    name: str = ""
    arguments: str = ""


class CallAssembler:
    """The calls of one answer."""

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}
        self._size = 0

    @property
    def has_begun(self) -> bool:
        """Whether anything of a call has come."""
        return bool(self._calls)

    def push(self, parts: Sequence[CallPart]) -> None:
        """Take the next parts.

        Raises:
            ValueError: If there are more, or longer, calls than one frame may tell.
        """
        for part in parts:
            call = self._calls.setdefault(part.index, _Call())
            call.id = call.id or part.id or ""
            if part.function is not None:
                call.name = call.name or part.function.name or ""
                call.arguments += part.function.arguments or ""
                self._size += len(part.function.arguments or "")
        if len(self._calls) > MAX_TOOL_CALLS or self._size > _MAX_ARGUMENTS:
            raise ValueError("the model's calls of tools are too long")

    def finish(self) -> tuple[ToolCall, ...]:
        """All calls, in order.

        Raises:
            ValueError: If one names no tool.
        """
        calls = [self._calls[index] for index in sorted(self._calls)]
        if not all(0 < len(call.name) <= MAX_ID_LENGTH for call in calls):
            raise ValueError("the model's call names no tool")
        return tuple(
            ToolCall(id=_fit(call.id), name=call.name, arguments=call.arguments or "{}")
            for call in calls
        )


def as_turns(
    messages: Sequence[ChatMessage], defuse: Callable[[str], str] = str
) -> list[dict[str, Any]]:
    """The messages in OpenAI's form, what was said as ``defuse`` makes it."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        turn: dict[str, Any] = {"role": message.role, "content": defuse(message.content)}
        if message.name:
            turn["name"] = message.name
        if message.tool_call_id is not None:
            turn["tool_call_id"] = message.tool_call_id
        if message.tool_calls:
            turn["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": defuse(call.arguments)},
                }
                for call in message.tool_calls
            ]
        turns.append(turn)
    return turns


def _fit(call_id: str) -> str:
    """The id, or a new one where there is none that every client could read."""
    is_fit = 0 < len(call_id) <= MAX_ID_LENGTH and call_id.isprintable()
    return call_id if is_fit else f"call_{secrets.token_hex(8)}"
