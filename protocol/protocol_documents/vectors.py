"""Golden files: messages in both encodings, refused inputs, spellings, and the merge rule.

Each file is a map with a ``description`` and lists, so that a test in any language is a loop.
"""

from __future__ import annotations

from typing import Any

import msgspec

from protocol_documents import examples
from protocol_documents.invalid import INVALID, UNREADABLE_BINARY, UNREADABLE_TEXT
from wsserver_protocol.codec import Encoding, encode, parse_request
from wsserver_protocol.cursor import Added, AnswerText, Ask, Shortened, Take, Verdict, merge
from wsserver_protocol.errors import WireError
from wsserver_protocol.events import EVENT_TYPES, StreamRewind, StreamSnapshot, StreamToken
from wsserver_protocol.lifecycle import StreamState
from wsserver_protocol.requests import REQUEST_TYPES

Json = dict[str, Any]


def documents() -> dict[str, Json]:
    """File name to content."""
    return {
        "requests.json": _messages("of clients", REQUEST_TYPES),
        "events.json": _messages("of the server", EVENT_TYPES),
        "invalid.json": _invalid(),
        "spellings.json": _spellings(),
        "merge.json": _merge(),
    }


def _messages(whose: str, types: dict[str, Any]) -> Json:
    vectors = [
        {
            "type": wire_type,
            "name": name,
            "json": fields,
            "msgpack": encode(examples.message(fields, struct), Encoding.MSGPACK).hex(),
        }
        for wire_type, struct in types.items()
        for name, fields in examples.of(struct).items()
    ]
    return {
        "description": f"Messages {whose}: the map as JSON, and one MessagePack frame of it (hex). "
        "A decoder must read both as the same map; an encoder may order keys otherwise.",
        "vectors": vectors,
    }


def _invalid() -> Json:
    return {
        "description": "Inputs that the server refuses. messages: maps, with the code and the "
        "first field that details names (null: none). Frames that are no map are invalid_message.",
        "messages": [
            {
                "name": invalid.name,
                "json": invalid.fields,
                "code": invalid.code,
                "field": invalid.field,
                "error": _refusal(invalid.fields).message,
            }
            for invalid in INVALID
        ],
        "text": list(UNREADABLE_TEXT),
        "binary": list(UNREADABLE_BINARY),
    }


def _refusal(fields: Json) -> WireError:
    try:
        parse_request(fields)
    except WireError as error:
        return error
    raise AssertionError(f"not refused: {fields}")


SPELLINGS: tuple[Json, ...] = (
    {"type": "watch_stream", "stream_id": "s", "from_offset": 3, "request_id": "r-1"},
    {"type": "watch_stream", "stream_id": "snake", "streamId": "camel"},
    {"type": "stream", "prompt": "x", "options": {"max_tokens": 5, "top_p": 1, "stop": "END"}},
    {"type": "stream", "prompt": "x", "options": {"max_tokens": 5, "maxTokens": 6}},
    {"type": "stream", "prompt": "x", "options": {"maxTokens": None, "max_tokens": 7}},
    {"type": "stream", "prompt": "x", "model": None, "options": None, "sessionId": None},
    {"type": "stream", "prompt": "x", "sparkle": True, "options": {"sparkle": 1}},
    {"type": "open_session", "system_prompt": "s", "metadata": {"snake_key": {"max_tokens": None}}},
    {
        "type": "stream",
        "prompt": "x",
        "options": {"json_schema": {"properties": {"max_tokens": {}}}, "logit_bias": {"5": 1}},
    },
    {
        "type": "stream",
        "messages": [{"role": "tool", "content": "rain", "tool_call_id": "c"}],
        "options": {
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "f", "parameters": {"properties": {"tool_call_id": {}}}},
                }
            ],
            "tool_choice": {"name": "f"},
        },
    },
    {"type": "room_message", "room_id": "r", "data": {"snake_key": None, "camelKey": 1}},
)


def _spellings() -> Json:
    return {
        "description": "Maps that the server accepts, and the same message in the wire's own "
        "spelling.",
        "vectors": [{"input": fields, "means": _meaning(fields)} for fields in SPELLINGS],
    }


def _meaning(fields: Json) -> Json:
    meaning: Json = msgspec.to_builtins(parse_request(fields))
    return meaning


MERGES: tuple[tuple[int, int, int], ...] = (
    (0, 5, 5),
    (5, 9, 4),
    (5, 9, 9),
    (7, 9, 4),
    (9, 9, 4),
    (12, 9, 4),
    (5, 5, 0),
    (4, 9, 4),
    (0, 9, 4),
)

STORIES: dict[str, tuple[tuple[str, Any, int], ...]] = {
    "in order, with characters of several bytes": (
        ("token", "Hello", 5),
        ("token", " wörld", 12),
        ("token", " 👋", 17),
        ("end", None, 17),
    ),
    "a repeat is dropped": (("token", "Hello", 5), ("token", "Hello", 5), ("end", None, 5)),
    "an overlap adds its end": (
        ("token", "Hello wö", 9),
        ("token", " wörld", 12),
        ("end", None, 12),
    ),
    "a gap asks once and a snapshot closes it": (
        ("token", "Hello", 5),
        ("token", "ld", 12),
        ("token", "!", 13),
        ("snapshot", " wörld!", 13),
        ("end", None, 13),
    ),
    "a snapshot from the beginning adds only what is new": (
        ("token", "Hello", 5),
        ("snapshot", "Hello wörld", 12),
        ("end", None, 12),
    ),
    "a rewind drops the end and other text follows": (
        ("token", "Hello wörld", 12),
        ("rewind", None, 6),
        ("token", "there", 11),
        ("end", None, 11),
    ),
    "an end beyond the text asks": (("token", "Hello", 5), ("end", None, 12)),
}


def _merge() -> Json:
    return {
        "description": "The cursor rule. rule: what a client that has `have` bytes does with a "
        "piece of `length` bytes that ends at `offset`. stories: events of one stream, and after "
        "each what is shown and, where something is to be asked, the fromOffset to ask with.",
        "rule": [
            {"have": have, "offset": offset, "length": length, **_verdict(have, offset, length)}
            for have, offset, length in MERGES
        ],
        "stories": [{"name": name, "steps": _tell(story)} for name, story in STORIES.items()],
    }


def _verdict(have: int, offset: int, length: int) -> Json:
    match merge(have, offset, length):
        case Take(skip):
            return {"verdict": "take", "skip": skip}
        case Verdict() as verdict:
            return {"verdict": verdict.value}


def _tell(story: tuple[tuple[str, Any, int], ...]) -> list[Json]:
    answer = AnswerText()
    return [_step(answer, kind, text, offset) for kind, text, offset in story]


def _step(answer: AnswerText, kind: str, text: Any, offset: int) -> Json:
    match kind:
        case "token":
            event: Any = StreamToken(
                stream_id="s", token=text, position=1, count=1, offset=offset, timestamp=0
            )
        case "snapshot":
            event = StreamSnapshot(
                stream_id="s",
                text=text,
                from_offset=offset - len(text.encode()),
                offset=offset,
                position=1,
                state=StreamState.RUNNING,
            )
        case "rewind":
            event = StreamRewind(stream_id="s", offset=offset)
        case _:
            event = None
    outcome = answer.finish(offset) if event is None else answer.apply(event)
    sent = {"end": {"offset": offset}} if event is None else {"event": msgspec.to_builtins(event)}
    asked = outcome.from_offset if isinstance(outcome, Ask) else None
    changed = isinstance(outcome, Added | Shortened)
    return {**sent, "text": answer.text, "have": answer.have, "changed": changed, "ask": asked}
