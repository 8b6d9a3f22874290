"""Rules between fields: each broken one has its code and names its field."""

from __future__ import annotations

from typing import Any

import pytest

from wsserver_protocol.codec import parse_request
from wsserver_protocol.errors import ErrorCode, WireError

MESSAGES = [{"role": "user", "content": "x"}]
LONG = {"role": "user", "content": "x" * 262_144}
MANY = {"grammar": "x" * 60_000, "bannedStrings": ["x" * 200] * 250}
DEEP: dict[str, Any] = {}
for _ in range(100):
    DEEP = {"deeper": DEEP}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"type": "stream"}, "prompt"),
        ({"type": "generate"}, "prompt"),
        ({"type": "stream", "prompt": "x", "messages": MESSAGES}, "messages"),
        ({"type": "stream", "messages": MESSAGES, "raw": True}, "raw"),
        ({"type": "stream", "prompt": "x", "parentId": "m"}, "parentId"),
        ({"type": "stream", "regenerate": "m"}, "regenerate"),
        ({"type": "stream", "sessionId": "s", "regenerate": "m", "prompt": "x"}, "prompt"),
        ({"type": "stream", "sessionId": "s", "regenerate": "m", "messages": MESSAGES}, "messages"),
        ({"type": "stream", "sessionId": "s", "regenerate": "m", "parentId": "m"}, "parentId"),
        ({"type": "stream", "prompt": "x", "sessionId": "s", "roomId": "r"}, "roomId"),
        ({"type": "continue"}, "streamId"),
        ({"type": "continue", "streamId": "s", "sessionId": "s"}, "sessionId"),
        (
            {"type": "continue", "streamId": "s", "options": {"grammar": "x", "regex": "x"}},
            "options.regex",
        ),
        (
            {"type": "batch", "prompts": ["x"], "options": {"grammar": "x", "regex": "x"}},
            "options.regex",
        ),
        ({"type": "count_tokens"}, "text"),
        ({"type": "count_tokens", "text": "x", "messages": MESSAGES}, "messages"),
        ({"type": "stop_stream"}, "streamId"),
        ({"type": "stop_batch"}, "batchId"),
        ({"type": "room_message", "roomId": "r"}, "text"),
        ({"type": "room_message", "roomId": "r", "data": {"a": DEEP}}, "data.a"),
        ({"type": "room_message", "roomId": "r", "data": {"a": [1, 2**53]}}, "data.a[1]"),
        ({"type": "room_message", "roomId": "r", "data": {"a": float("nan")}}, "data.a"),
        ({"type": "room_message", "roomId": "r", "data": b"x"}, "data"),
        ({"type": "update_presence", "roomId": "r", "state": {"a": {"b": b"x"}}}, "state.a.b"),
        ({"type": "join_room", "roomId": "r", "state": {"a": 2**60}}, "state.a"),
        ({"type": "open_session", "metadata": {"a": -(2**60)}}, "metadata.a"),
        ({"type": "update_session", "sessionId": "s", "metadata": {"a": b""}}, "metadata.a"),
        ({"type": "import_session", "data": {"metadata": {"a": 2**60}}}, "data.metadata.a"),
        ({"type": "load_model", "source": "x", "options": {"a": b""}}, "options.a"),
        (
            {"type": "stream", "prompt": "x", "options": {"jsonSchema": {"a": DEEP}}},
            "options.jsonSchema.a",
        ),
        (
            {
                "type": "update_room",
                "roomId": "r",
                "settings": {"options": {"grammar": "x", "regex": "x"}},
            },
            "settings.options.regex",
        ),
    ],
)
def test_a_broken_rule_names_its_field(fields: dict[str, Any], field: str) -> None:
    """What cannot stand together or alone is refused by the field to change."""
    with pytest.raises(WireError) as caught:
        parse_request(fields)
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS
    (detail,) = caught.value.details
    assert detail.field.startswith(field)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"type": "join_room", "roomId": "r", "state": {"a": "x" * 8192}}, "state"),
        ({"type": "update_presence", "roomId": "r", "state": {"a": "x" * 8192}}, "state"),
        ({"type": "open_session", "metadata": {"a": "x" * 16384}}, "metadata"),
        (
            {"type": "stream", "prompt": "x", "options": {"jsonSchema": {"a": "x" * 65536}}},
            "options.jsonSchema",
        ),
        ({"type": "load_model", "source": "x", "options": {"a": "x" * 16384}}, "options"),
        ({"type": "room_message", "roomId": "r", "text": "x" * 262144}, "text"),
        ({"type": "room_message", "roomId": "r", "data": "x" * 262144}, "data"),
        (
            {"type": "room_message", "roomId": "r", "text": "x" * 131072, "data": "x" * 131072},
            "text",
        ),
        ({"type": "stream", "roomId": "r", "prompt": "x" * 262144}, "prompt"),
        (
            {"type": "stream", "roomId": "r", "messages": [*MESSAGES, LONG]},
            f"messages[{len(MESSAGES)}].content",
        ),
        (
            {"type": "update_room", "roomId": "r", "settings": {"systemPrompt": "x" * 65536}},
            "settings.systemPrompt",
        ),
        (
            {"type": "update_room", "roomId": "r", "settings": {"options": MANY}},
            "settings.options",
        ),
    ],
)
def test_a_field_that_would_make_frames_too_large_is_refused(
    fields: dict[str, Any], field: str
) -> None:
    """What the server has to send on to others in one frame has a size of its own."""
    with pytest.raises(WireError) as caught:
        parse_request(fields)
    assert caught.value.code is ErrorCode.PAYLOAD_TOO_LARGE
    assert [detail.field for detail in caught.value.details] == [field]


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "stream", "messages": [LONG]},
        {"type": "generate", "prompt": "x", "raw": True},
        {"type": "stream", "prompt": "x" * 500_000},
        {"type": "stream", "messages": MESSAGES, "sessionId": "s"},
        {"type": "stream", "sessionId": "s", "parentId": "m", "prompt": "x"},
        {"type": "stream", "sessionId": "s", "regenerate": "m"},
        {"type": "stream", "prompt": "x", "roomId": "r"},
        {"type": "continue", "streamId": "s"},
        {"type": "continue", "sessionId": "s", "options": {"maxTokens": 5}},
        {"type": "stop_stream", "requestId": "q"},
        {"type": "stop_stream", "streamId": "s"},
        {"type": "stop_batch", "requestId": "q"},
        {"type": "leave_room"},
        {"type": "count_tokens", "text": ""},
        {"type": "room_message", "roomId": "r", "data": False},
        {"type": "room_message", "roomId": "r", "data": {}},
        {"type": "update_presence", "roomId": "r", "state": {}},
        {"type": "authenticate"},
        {"type": "load_model", "source": "synthetic:?tps=50&slots=2"},
    ],
)
def test_what_keeps_the_rules_is_read(fields: dict[str, Any]) -> None:
    """The plain uses of each message pass."""
    assert type(parse_request(fields)).__struct_config__.tag == fields["type"]
