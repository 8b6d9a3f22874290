"""Inputs that are refused, with the code and the field that the refusal must name."""

from __future__ import annotations

from typing import Any, NamedTuple

Json = dict[str, Any]

USER = [{"role": "user", "content": "x"}]
TOOL = {"type": "function", "function": {"name": "f"}}
_STRINGS = {"name": "f", "parameters": {"type": "string"}}


class Invalid(NamedTuple):
    """A map that is no request; ``field`` is None where no field is to blame."""

    name: str
    fields: Json
    code: str
    field: str | None


def _bad(name: str, field: str | None, **fields: Any) -> Invalid:
    return Invalid(name, fields, "invalid_parameters", field)


def _option(name: str, value: Any) -> Invalid:
    fields = {"type": "stream", "prompt": "x", "options": {name: value}}
    return Invalid(f"options: {name}", fields, "invalid_parameters", f"options.{name}")


INVALID: tuple[Invalid, ...] = (
    Invalid("no type", {"requestId": "r-1"}, "invalid_message", "type"),
    Invalid("type is no string", {"type": 5, "requestId": "r-1"}, "invalid_message", "type"),
    Invalid("unknown type", {"type": "explode", "requestId": "r-1"}, "unknown_type", None),
    _bad("requestId is empty", "requestId", type="ping", requestId=""),
    _bad("requestId is a number", "requestId", type="ping", requestId=5),
    _bad("requestId is too long", "requestId", type="ping", requestId="x" * 129),
    _bad("requestId has a line feed", "requestId", type="ping", requestId="a\n"),
    _bad("a required field is missing", "streamId", type="watch_stream"),
    _bad("a required field is null", "streamId", type="watch_stream", streamId=None),
    _bad("no input", "prompt", type="stream"),
    _bad("empty prompt", "prompt", type="generate", prompt=""),
    _bad("prompt of another kind", "prompt", type="generate", prompt=["x"]),
    _bad("prompt and messages", "messages", type="stream", prompt="x", messages=USER),
    _bad("no messages", "messages", type="stream", messages=[]),
    _bad(
        "unknown role", "messages[0].role", type="stream", messages=[{"role": "x", "content": ""}]
    ),
    _bad("no content", "messages[1].content", type="stream", messages=[*USER, {"role": "user"}]),
    _bad("raw without prompt", "raw", type="stream", messages=USER, raw=True),
    _bad("room and session", "roomId", type="stream", prompt="x", roomId="r", sessionId="s"),
    _bad("parentId without session", "parentId", type="stream", prompt="x", parentId="m"),
    _bad("regenerate without session", "regenerate", type="stream", regenerate="m"),
    _bad("options are a list", "options", type="stream", prompt="x", options=[]),
    _bad(
        "a user calls a tool",
        "messages[0].toolCalls",
        type="stream",
        messages=[USER[0] | {"toolCalls": [{"id": "c", "name": "f", "arguments": "{}"}]}],
    ),
    _bad(
        "a user brings a tool's result",
        "messages[0].toolCallId",
        type="stream",
        messages=[USER[0] | {"tool_call_id": "c"}],
    ),
    _bad(
        "tools of a raw prompt",
        "options.tools",
        type="stream",
        prompt="x",
        raw=True,
        options={"tools": [TOOL]},
    ),
    _bad(
        "a tool's name has a space",
        "options.tools[0].function.name",
        type="stream",
        prompt="x",
        options={"tools": [{"type": "function", "function": {"name": "a b"}}]},
    ),
    _bad(
        "a tool's arguments are no map",
        "options.tools[0].function.parameters",
        type="stream",
        prompt="x",
        options={"tools": [{"type": "function", "function": _STRINGS}]},
    ),
    _bad(
        "a tool that is none of the tools",
        "options.toolChoice.name",
        type="stream",
        prompt="x",
        options={"tools": [TOOL], "tool_choice": {"name": "g"}},
    ),
    _bad(
        "tools and a schema",
        "options.tools",
        type="stream",
        prompt="x",
        options={"tools": [TOOL], "jsonSchema": {}},
    ),
    _option("toolChoice", "auto"),
    _bad(
        "snake_case option",
        "options.maxTokens",
        type="stream",
        prompt="x",
        options={"max_tokens": 0},
    ),
    _option("maxTokens", 0),
    _option("maxTokens", 1_000_001),
    _option("maxTokens", 1.5),
    _option("maxTokens", True),
    _option("temperature", 2.1),
    _option("temperature", "hot"),
    _option("topP", -0.1),
    _option("topK", -1),
    _option("repetitionPenalty", 0),
    _option("presencePenalty", -2.1),
    _option("seed", 2**53),
    _option("stop", ["x"] * 17),
    _option("logprobs", 21),
    _option("cache", 1),
    _option("priority", 11),
    _option("timeout", 0),
    _option("tokenInterval", 1001),
    _option("onDisconnect", "explode"),
    _bad(
        "two constraints",
        "options.regex",
        type="stream",
        prompt="x",
        options={"jsonSchema": {}, "regex": "a"},
    ),
    _bad(
        "a banned string is empty",
        "options.bannedStrings[1]",
        type="stream",
        prompt="x",
        options={"bannedStrings": ["a", ""]},
    ),
    _bad("empty batch", "prompts", type="batch", prompts=[]),
    _bad("empty prompt of a batch", "prompts[1]", type="batch", prompts=["a", ""]),
    Invalid("batch of 21", {"type": "batch", "prompts": ["x"] * 21}, "batch_too_large", "prompts"),
    _bad("continue nothing", "streamId", type="continue"),
    _bad("continue two things", "sessionId", type="continue", streamId="s", sessionId="s"),
    _bad("count nothing", "text", type="count_tokens"),
    _bad("stop nothing", "streamId", type="stop_stream"),
    _bad("stop no batch", "batchId", type="stop_batch"),
    _bad("negative offset", "fromOffset", type="watch_stream", streamId="s", fromOffset=-1),
    _bad("bad offset in resume", "streams.s", type="resume", resumeToken="t", streams={"s": "x"}),
    _bad(
        "room position without epoch",
        "rooms.r.epoch",
        type="resume",
        resumeToken="t",
        rooms={"r": {"seq": 1}},
    ),
    _bad("room without id", "roomId", type="join_room"),
    _bad("empty room message", "text", type="room_message", roomId="r"),
    _bad("state is no map", "state", type="update_presence", roomId="r", state="typing"),
    _bad("unknown room role", "role", type="set_role", roomId="r", userId="u", role="king"),
    _bad(
        "unknown setting value",
        "settings.access",
        type="update_room",
        roomId="r",
        settings={"access": "secret"},
    ),
    _bad("page too large", "limit", type="list_sessions", limit=201),
    Invalid(
        "state too large",
        {"type": "join_room", "roomId": "r", "state": {"a": "x" * 8192}},
        "payload_too_large",
        "state",
    ),
    _bad("model without source", "source", type="load_model"),
    _bad("unload nothing", "id", type="unload_model"),
    _bad("unknown export format", "format", type="export_session", sessionId="s", format="pdf"),
)

UNREADABLE_TEXT: tuple[str, ...] = (
    "",
    "nonsense",
    "[]",
    "null",
    '{"type":"ping"',
    '{"type":"ping"} {}',
    '{"a":NaN}',
    '{"a":"\\ud800"}',
)
"""Text frames that are no map."""

UNREADABLE_BINARY: tuple[str, ...] = (
    "",
    "c1",
    "8080",
    "9101",
    "81a474797065",
    "81a161a1ff",
    "810102",
    "81a161d40500",
    "81a161d6ff00000001",
)
"""Binary frames (hex) that are no map."""
