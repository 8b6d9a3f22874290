"""The published documents: current, whole, and true to what is sent."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from protocol_documents import docstrings, examples, files
from protocol_documents import schema as schema_module
from wsserver_protocol.catalogue import CATALOGUE, CLOSE_CATALOGUE
from wsserver_protocol.codec import Encoding, decode_frame, encode, parse_request
from wsserver_protocol.errors import WireError, error_event
from wsserver_protocol.events import EVENT_TYPES
from wsserver_protocol.replies import REPLIES, TERMINAL_EVENTS
from wsserver_protocol.requests import REQUEST_TYPES

Json = dict[str, Any]

MESSAGES = [*REQUEST_TYPES.values(), *EVENT_TYPES.values()]
PROTOCOL = files.ROOT / "protocol"

# What AsyncAPI 3.0 asks of the parts that this document uses. The whole official schema is a
# file of 400 KB; the document passed it when this was written.
REFERENCE = {
    "type": "object",
    "properties": {"$ref": {"type": "string", "pattern": "^#/"}},
    "required": ["$ref"],
    "additionalProperties": False,
}
ASYNCAPI: Json = {
    "$defs": {"reference": REFERENCE},
    "type": "object",
    "required": ["asyncapi", "info", "servers", "channels", "operations", "components"],
    "properties": {
        "asyncapi": {"const": "3.0.0"},
        "info": {"type": "object", "required": ["title", "version"]},
        "defaultContentType": {"type": "string"},
        "servers": {"additionalProperties": {"required": ["host", "protocol"]}},
        "channels": {
            "additionalProperties": {
                "required": ["address", "messages"],
                "properties": {"messages": {"additionalProperties": {"$ref": "#/$defs/reference"}}},
            }
        },
        "operations": {
            "additionalProperties": {
                "required": ["action", "channel", "messages"],
                "properties": {
                    "action": {"enum": ["send", "receive"]},
                    "channel": {"$ref": "#/$defs/reference"},
                    "messages": {"items": {"$ref": "#/$defs/reference"}, "minItems": 1},
                    "reply": {
                        "required": ["channel", "messages"],
                        "properties": {
                            "channel": {"$ref": "#/$defs/reference"},
                            "messages": {"items": {"$ref": "#/$defs/reference"}, "minItems": 1},
                        },
                        "additionalProperties": False,
                    },
                },
            }
        },
        "components": {
            "properties": {
                "messages": {"additionalProperties": {"required": ["name", "payload"]}},
                "schemas": {"additionalProperties": {"type": "object"}},
            },
            "propertyNames": {"enum": ["messages", "schemas"]},
        },
    },
    "patternProperties": {"^x-": {}},
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def asyncapi() -> Json:
    """The AsyncAPI file of the repository."""
    document: Json = json.loads((PROTOCOL / "asyncapi.json").read_bytes())
    return document


@pytest.fixture(scope="module")
def schema() -> Json:
    """The JSON Schema file of the repository."""
    document: Json = json.loads((PROTOCOL / "schema.json").read_bytes())
    return document


def structs() -> list[type[msgspec.Struct]]:
    """Every message and every part of one."""
    return schema_module.all_structs(MESSAGES)


def references(value: Any) -> Iterator[str]:
    """Every `$ref` within a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def resolve(document: Json, reference: str) -> Any:
    """What a local reference points at; KeyError if nothing is there."""
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_generated_files_are_current() -> None:
    """After a change of a struct, scripts/generate_protocol must be run."""
    assert files.stale() == []


def test_stale_and_missing_files_are_named_and_written(tmp_path: Path) -> None:
    """The check names what differs, and writing mends just that."""
    assert set(files.stale(tmp_path)) == set(files.documents())
    files.write(tmp_path)
    assert files.stale(tmp_path) == []
    (tmp_path / "protocol/schema.json").write_text("{}")
    assert files.stale(tmp_path) == ["protocol/schema.json"]
    assert files.write(tmp_path) == ["protocol/schema.json"]


def test_the_script_checks() -> None:
    """`scripts/generate_protocol --check` ends in 0 when all is current."""
    done = subprocess.run(
        [files.ROOT / "scripts/generate_protocol", "--check"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_script_refuses_other_arguments() -> None:
    """A misspelt argument writes nothing."""
    done = subprocess.run(
        [files.ROOT / "scripts/generate_protocol", "--chekc"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--check" in done.stdout


@pytest.mark.parametrize("struct", structs(), ids=lambda struct: struct.__name__)
def test_every_message_and_field_is_documented(struct: type[msgspec.Struct]) -> None:
    """Each struct has a summary, each field a description, and no description is left over."""
    described = docstrings.fields(struct)
    assert docstrings.summary(struct)
    assert set(described) == set(struct.__struct_fields__)
    assert all(described.values())


def test_names_of_parts_are_unique() -> None:
    """A schema is found by its struct's name."""
    names = [struct.__name__ for struct in structs()]
    assert sorted(names) == sorted(set(names))


def test_the_schema_is_a_schema(schema: Json) -> None:
    """It is valid JSON Schema 2020-12 and all its references lead somewhere."""
    Draft202012Validator.check_schema(schema)
    assert all(resolve(schema, reference) for reference in references(schema))


@pytest.mark.parametrize("struct", MESSAGES, ids=lambda struct: struct.__name__)
def test_examples_fit_the_schema(struct: type[msgspec.Struct], schema: Json) -> None:
    """Each example is valid as its own message, and as one of all."""
    own = Draft202012Validator({**schema, "anyOf": [{"$ref": f"#/$defs/{struct.__name__}"}]})
    either = Draft202012Validator(schema)
    found = examples.of(struct)
    assert {"full", "minimal"} <= set(found)
    assert [error.message for value in found.values() for error in own.iter_errors(value)] == []
    assert all(either.is_valid(value) for value in found.values())


@pytest.mark.parametrize("struct", MESSAGES, ids=lambda struct: struct.__name__)
def test_every_field_has_an_example(struct: type[msgspec.Struct]) -> None:
    """Together the examples of a message show all its fields, except those at their default."""
    shown = {name for value in examples.of(struct).values() for name in value} - {"type"}
    defaulted = {
        field.encode_name
        for field in msgspec.structs.fields(struct)
        if field.encode_name == "format"
    }
    unasked = {"Connected", "RoomUserJoined", "ServerDraining"}
    expected = {field.encode_name for field in msgspec.structs.fields(struct)}
    assert expected - shown <= defaulted | ({"requestId"} if struct.__name__ in unasked else set())


@pytest.mark.parametrize(
    "message",
    [
        {"type": "explode"},
        {"type": "watch_stream"},
        {"type": "ping", "requestId": ""},
        {"type": "ping", "requestId": "a\n"},
        {"type": "stream", "prompt": "x", "options": {"maxTokens": 0}},
        {"type": "batch", "prompts": []},
        {"type": "pong"},
        {"type": "stream_token", "streamId": "s"},
    ],
)
def test_the_schema_refuses_what_is_no_message(message: Json, schema: Json) -> None:
    """A schema that takes everything would pass the tests above, too."""
    assert not Draft202012Validator(schema).is_valid(message)


def test_asyncapi_has_the_structure_of_its_version(asyncapi: Json) -> None:
    """Version 3.0.0's required parts are there, and where only references may stand they do."""
    errors = [error.message for error in Draft202012Validator(ASYNCAPI).iter_errors(asyncapi)]
    assert errors == []


def test_references_of_asyncapi_lead_somewhere(asyncapi: Json) -> None:
    """No reference is dangling."""
    assert all(resolve(asyncapi, reference) for reference in references(asyncapi))


def test_schemas_of_asyncapi_are_of_the_dialect_that_it_assumes(asyncapi: Json) -> None:
    """AsyncAPI's own dialect extends draft 7."""
    for schema in asyncapi["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)


def test_asyncapi_has_every_message_in_its_direction(asyncapi: Json) -> None:
    """The server receives each request and sends each event."""
    operations = asyncapi["operations"].values()
    received = [o["title"] for o in operations if o["action"] == "receive"]
    sent = [o["title"] for o in operations if o["action"] == "send"]
    assert (received, sent) == (list(REQUEST_TYPES), list(EVENT_TYPES))


def test_asyncapi_carries_the_catalogues(asyncapi: Json) -> None:
    """All error codes and close codes are there with their policy."""
    assert list(asyncapi["x-errors"]) == [code.value for code in CATALOGUE]
    assert list(asyncapi["x-close-codes"]) == [str(int(code)) for code in CLOSE_CATALOGUE]
    assert asyncapi["x-errors"]["rate_limited"]["retryable"] is True
    assert asyncapi["x-close-codes"]["4507"]["reconnect"] is False


def test_the_served_copy_says_the_same(asyncapi: Json) -> None:
    """The package ships the same document."""
    served = PROTOCOL / "wsserver_protocol" / "asyncapi.json"
    assert json.loads(served.read_bytes()) == asyncapi


def test_every_request_has_its_replies() -> None:
    """The table of replies names all requests and real events; each can be refused."""
    assert set(REPLIES) == set(REQUEST_TYPES)
    named = {event for replies in REPLIES.values() for part in replies for event in part}
    assert named <= set(EVENT_TYPES)
    assert set(EVENT_TYPES) >= TERMINAL_EVENTS
    refusable = [any(e.endswith("error") for e in replies.terminal) for replies in REPLIES.values()]
    assert all(refusable)


def test_events_that_answer_nothing_come_unasked() -> None:
    """Every other event is the reply to something."""
    named = {event for replies in REPLIES.values() for part in replies for event in part}
    assert set(EVENT_TYPES) - named == {"connected", "server_draining", "room_user_joined"}


def test_the_page_names_every_message_and_code() -> None:
    """The readable page leaves nothing of the contract out."""
    page = (PROTOCOL / "README.md").read_text()
    codes = [code.value for code in CATALOGUE] + [str(int(code)) for code in CLOSE_CATALOGUE]
    missing = [n for n in [*REQUEST_TYPES, *EVENT_TYPES, *codes] if f"`{n}`" not in page]
    assert missing == []


@pytest.mark.parametrize("struct", MESSAGES, ids=lambda struct: struct.__name__)
def test_the_page_names_every_field(struct: type[msgspec.Struct]) -> None:
    """Each field of each message stands on the page under its wire name."""
    page = (PROTOCOL / "README.md").read_text()
    names = [field.encode_name for field in msgspec.structs.fields(struct)]
    assert [name for name in names if not re.search(rf"\b{name}\b", page)] == []


def transcripts() -> list[Json]:
    """The frames that the page shows in full, each with the arrow of its direction."""
    page = (PROTOCOL / "README.md").read_text()
    blocks = re.findall(r"^```\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    frames = [frame for block in blocks for frame in re.split(r"^(?=[→←])", block, flags=re.M)]
    return [
        {"arrow": frame[0], "fields": json.loads(frame[1:])}
        for frame in frames
        if frame.strip() and "…" not in frame
    ]


@pytest.mark.parametrize("frame", transcripts(), ids=lambda frame: frame["fields"]["type"])
def test_the_pages_transcripts_are_messages(frame: Json, schema: Json) -> None:
    """What the page shows could have been sent so, but for the one that is refused."""
    part = {"→": "Request", "←": "Event"}[frame["arrow"]]
    fits = Draft202012Validator({**schema, "anyOf": [{"$ref": f"#/$defs/{part}"}]})
    assert fits.is_valid(frame["fields"]) != (frame["fields"].get("prompt") == "")


def test_the_page_shows_how_a_refusal_reads() -> None:
    """The example of an error is what the codec says of the request above it."""
    frames = [frame["fields"] for frame in transcripts()]
    (request,) = [fields for fields in frames if fields.get("prompt") == ""]
    (shown,) = [fields for fields in frames if fields.get("code") == "invalid_parameters"]
    with pytest.raises(WireError) as caught:
        parse_request(request)
    event = error_event(caught.value, caught.value.request_type, caught.value.request_id)
    assert decode_frame(encode(event, Encoding.JSON)) == shown


def test_the_page_has_the_catalogues_policy() -> None:
    """Retry and close policy on the page are those of the tables in the code."""
    page = (PROTOCOL / "README.md").read_text()
    for code, info in CATALOGUE.items():
        retry = "yes" if info.retryable else "no"
        assert re.search(rf"^\| `{code}` \|.*\| {retry} \| {info.http_status} \|$", page, re.M)
    for close, policy in CLOSE_CATALOGUE.items():
        back = "yes" if policy.reconnect else "no"
        assert re.search(rf"^\| `{int(close)}` \|.*\| {back} \|$", page, re.M)
