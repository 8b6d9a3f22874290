"""What callers pass as keywords, and the messages that are made of it.

Names are those of the wire in snake_case. The server checks values; this room checks only what
the server cannot know to be a mistake: it ignores fields that it does not know, so a misspelt
option would silently do nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, TypedDict

from wsserver_client.calls import Message, new_request_id
from wsserver_client.results import ToolCall
from wsserver_protocol.options import GenerationOptions


class Options(TypedDict, total=False):
    """Sampling and delivery options; `wsserver_protocol.options.GenerationOptions` has their
    bounds. ``timeout`` and ``token_interval`` are milliseconds, as on the wire."""

    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    typical_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    seed: int
    stop: str | Sequence[str]
    banned_strings: Sequence[str]
    logit_bias: Mapping[str, float]
    json_schema: Mapping[str, Any]
    grammar: str
    regex: str
    tools: Sequence[Mapping[str, Any]]
    tool_choice: Literal["auto", "none", "required"] | Mapping[str, str]
    logprobs: int
    cache: bool
    priority: int
    timeout: int
    progress_every: int
    token_interval: int
    on_disconnect: Literal["cancel", "detach"]


class ChatMessage(TypedDict, total=False):
    """One turn: ``role`` (system, user, assistant, tool) and ``content``, perhaps a ``name``.

    An assistant's may have ``tool_calls``, as its result had them; a tool's turn names the call
    that it is the result of by ``tool_call_id``.
    """

    role: str
    content: str
    name: str
    tool_calls: Sequence[ToolCall]
    tool_call_id: str


OPTION_NAMES = dict(
    zip(
        GenerationOptions.__struct_fields__, GenerationOptions.__struct_encode_fields__, strict=True
    )
)


def wire_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the wire spells them; those that are None are left to the server.

    Raises:
        TypeError: If there is no such option.
    """
    unknown = [name for name in options if name not in OPTION_NAMES]
    if unknown:
        raise TypeError(f"unknown option: {', '.join(sorted(unknown))}")
    return {
        OPTION_NAMES[name]: list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if value is not None
    }


def request(kind: str, request_id: str | None = None, /, **fields: Any) -> Message:
    """A message of this type; snake_case names, fields that are None are left out."""
    message: Message = {"type": kind, "requestId": request_id or new_request_id()}
    for name, value in fields.items():
        if value is not None:
            message[camel(name)] = value
    return message


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def wire_turn(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A turn as the wire has it."""
    wire = dict(turn)
    calls = wire.get("tool_calls")
    if calls is not None:
        wire["tool_calls"] = [
            asdict(call) if isinstance(call, ToolCall) else dict(call) for call in calls
        ]
    return wire


def generation_request(
    kind: str,
    prompt: str | None,
    messages: Sequence[ChatMessage] | None,
    options: Mapping[str, Any],
    **fields: Any,
) -> Message:
    """A ``generate`` or ``stream``.

    Raises:
        TypeError: If there is an unknown option, or both a prompt and messages.
    """
    if prompt is not None and messages is not None:
        raise TypeError("give either a prompt or messages, not both")
    message = request(kind, **fields)
    if prompt is not None:
        message["prompt"] = prompt
    if messages is not None:
        message["messages"] = [wire_turn(entry) for entry in messages]
    chosen = wire_options(options)
    if chosen:
        message["options"] = chosen
    return message
