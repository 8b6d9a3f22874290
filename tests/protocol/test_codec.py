"""Requests: both spellings, all bounds, and errors that name the field in the wire's own words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.protocol import strategies
from wsserver_protocol.codec import (
    Encoding,
    decode_frame,
    encode,
    parse_event,
    parse_request,
)
from wsserver_protocol.errors import ErrorCode, UnreadableFrame, WireError
from wsserver_protocol.fields import ChatRole
from wsserver_protocol.options import GenerationOptions
from wsserver_protocol.requests import (
    REQUEST_TYPES,
    ChatMessage,
    Generate,
    ImportSession,
    JoinRoom,
    LoadModel,
    OpenSession,
    Ping,
    Resume,
    RoomMessage,
    RoomPosition,
    Stream,
    UpdateRoom,
    WatchStream,
)
from wsserver_protocol.rules import faults

Fields = dict[str, Any]

EXAMPLES = settings(max_examples=15)
REQUESTS = pytest.mark.parametrize("request_type", REQUEST_TYPES)


def refused(fields: Fields) -> WireError:
    """The error with which ``fields`` are refused."""
    with pytest.raises(WireError) as caught:
        parse_request(fields)
    return caught.value


def problems(fields: Fields) -> dict[str, str]:
    """Field to message of the refusal of ``fields``."""
    return {detail.field: detail.message for detail in refused(fields).details}


def snake(fields: Fields) -> Fields:
    """``fields`` as a client of another language may spell them."""
    renamed = {_snake_key(key): value for key, value in fields.items()}
    if isinstance(renamed.get("options"), dict):
        renamed["options"] = {_snake_key(k): v for k, v in renamed["options"].items()}
    if isinstance(renamed.get("messages"), list):
        renamed["messages"] = [
            {_snake_key(k): v for k, v in item.items()} for item in renamed["messages"]
        ]
    return renamed


def _snake_key(key: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in key)


# --- whole requests


@REQUESTS
@pytest.mark.parametrize("encoding", Encoding)
@EXAMPLES
@given(data=st.data())
def test_every_request_arrives_as_it_was_sent(
    data: st.DataObject, request_type: str, encoding: Encoding
) -> None:
    """What a client encodes is what the server reads, in both encodings."""
    request = data.draw(strategies.nearly_whole(REQUEST_TYPES[request_type]))
    assume(not list(faults(request)))
    assert parse_request(decode_frame(encode(request, encoding))) == request


@REQUESTS
@EXAMPLES
@given(data=st.data())
def test_both_spellings_mean_the_same(data: st.DataObject, request_type: str) -> None:
    """snake_case at the top level, in options and in messages gives the same request."""
    request = data.draw(strategies.nearly_whole(REQUEST_TYPES[request_type]))
    assume(not list(faults(request)))
    fields = decode_frame(encode(request, Encoding.JSON))
    assert parse_request(snake(fields)) == request


@REQUESTS
@EXAMPLES
@given(data=st.data())
def test_any_fields_are_read_or_refused_by_name(data: st.DataObject, request_type: str) -> None:
    """Whatever stands in a request's fields, the refusal names at least one of them."""
    names = [f for s in REQUEST_TYPES[request_type].__struct_fields__ for f in (s, camel(s))]
    fields = data.draw(st.dictionaries(st.sampled_from(names), strategies.JSON, max_size=5))
    try:
        parse_request({**fields, "type": request_type})
    except WireError as error:
        assert error.request_type == request_type
        assert all(detail.field and detail.message for detail in error.details)
        assert error.details
        assert error.code is not ErrorCode.INTERNAL_ERROR


def camel(name: str) -> str:
    """The wire's spelling of an attribute."""
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


@given(st.dictionaries(strategies.TEXT | st.just("type"), strategies.JSON, max_size=4))
def test_any_map_is_read_or_refused(fields: Fields) -> None:
    """A map that is no message is refused, and nothing else is raised."""
    with pytest.raises(WireError) as caught:
        parse_request(fields)
    assert caught.value.code in (ErrorCode.INVALID_MESSAGE, ErrorCode.UNKNOWN_TYPE)


# --- type and requestId


@pytest.mark.parametrize("value", [None, 1, True, [], {}, ["ping"]])
def test_a_type_that_is_no_name_is_an_invalid_message(value: Any) -> None:
    """Without a readable type there is no message, but its requestId is answered."""
    error = refused({"type": value, "requestId": "q"})
    assert (error.code, error.request_id, error.request_type) == (
        ErrorCode.INVALID_MESSAGE,
        "q",
        None,
    )
    assert error.details[0].field == "type"


def test_a_missing_type_is_an_invalid_message() -> None:
    """A map without a type names the type as what is missing."""
    assert "type" in problems({})


def test_an_unknown_type_is_named() -> None:
    """The message shows the type, on one line and clipped."""
    error = refused({"type": "explode\n" * 50, "requestId": "q"})
    assert error.code is ErrorCode.UNKNOWN_TYPE
    assert error.message.startswith("unknown message type explode")
    assert len(error.message) < 100
    assert error.message.isprintable()
    assert error.request_id == "q"


@pytest.mark.parametrize("spelling", ["requestId", "request_id"])
def test_a_refusal_carries_what_could_be_read(spelling: str) -> None:
    """requestId, in either spelling, and type go with the error."""
    error = refused({"type": "stream", spelling: "q"})
    assert (error.request_id, error.request_type) == ("q", "stream")


@pytest.mark.parametrize("bad", ["", 5, True, ["q"], {}, "x" * 129, "a\nb", "a\n", "\x00", "\x85"])
def test_an_unreadable_request_id_is_named_and_not_answered(bad: Any) -> None:
    """The error names requestId and carries none."""
    error = refused({"type": "ping", "requestId": bad})
    assert [detail.field for detail in error.details] == ["requestId"]
    assert error.request_id is None


def test_an_unreadable_request_id_hides_no_other_error() -> None:
    """Other wrong fields are named beside it."""
    fields = {"type": "stream", "requestId": 5, "options": {"maxTokens": 0}}
    assert set(problems(fields)) == {"requestId", "options.maxTokens"}


@pytest.mark.parametrize("good", ["q", "x" * 128, "a b", "ünï", "👩‍👩‍👧", "日本", "."])
def test_an_id_is_any_printable_characters(good: str) -> None:
    """Ids are the client's own: 1 to 128 printable characters of any kind."""
    assert parse_request({"type": "ping", "requestId": good}) == Ping(request_id=good)


# --- spellings, nulls, unknown fields


def test_camel_case_wins() -> None:
    """Of both spellings the wire's own counts, in whatever order they come."""
    expected = WatchStream(stream_id="a", from_offset=1)
    one = {"type": "watch_stream", "stream_id": "b", "streamId": "a", "fromOffset": 1}
    other = {"type": "watch_stream", "streamId": "a", "stream_id": "b", "fromOffset": 1}
    assert parse_request(one) == expected
    assert parse_request(other) == expected


def test_a_null_is_absent_in_either_spelling() -> None:
    """null for an optional field is as if it were not there; the other spelling counts then."""
    fields = {
        "type": "stream",
        "prompt": "x",
        "raw": None,
        "sessionId": None,
        "options": {"maxTokens": None, "max_tokens": 3, "stop": None, "cache": None},
        "requestId": None,
    }
    assert parse_request(fields) == Stream(prompt="x", options=GenerationOptions(max_tokens=3))


def test_a_null_for_a_required_field_is_missing() -> None:
    """null does not fill a field that must be there."""
    assert problems({"type": "watch_stream", "streamId": None}) == {"streamId": "is required"}


def test_nulls_in_maps_one_level_down_are_absent() -> None:
    """Settings of a room and imported documents treat null alike."""
    room = parse_request(
        {"type": "update_room", "roomId": "r", "settings": {"title": None, "locked": True}}
    )
    assert isinstance(room, UpdateRoom)
    assert (room.settings.title, room.settings.locked) == (None, True)
    session = parse_request({"type": "import_session", "data": {"messages": None, "title": "t"}})
    assert isinstance(session, ImportSession)
    assert session.data.messages == ()


def test_unknown_fields_are_ignored() -> None:
    """Fields of a later version, also in options and messages, do no harm."""
    fields = {
        "type": "generate",
        "messages": [{"role": "user", "content": "x", "mood": 1}],
        "options": {"sparkle": True},
        "sparkle": [1],
    }
    assert parse_request(fields) == Generate(
        messages=(ChatMessage(role=ChatRole.USER, content="x"),)
    )


def test_keys_of_the_clients_own_maps_are_left_alone() -> None:
    """Nothing inside metadata, state, data, jsonSchema is renamed or dropped."""
    own = {"snake_key": None, "camelKey": {"max_tokens": 1, "maxTokens": None}}
    session = parse_request({"type": "open_session", "metadata": own})
    assert isinstance(session, OpenSession)
    assert session.metadata == own
    room = parse_request({"type": "join_room", "roomId": "r", "state": own})
    assert isinstance(room, JoinRoom)
    assert room.state == own
    message = parse_request({"type": "room_message", "roomId": "r", "data": own})
    assert isinstance(message, RoomMessage)
    assert message.data == own
    schema = parse_request({"type": "stream", "prompt": "x", "options": {"json_schema": own}})
    assert isinstance(schema, Stream)
    assert schema.options.json_schema == own


def test_settings_of_an_engine_arrive_in_its_own_spelling() -> None:
    """load_model's options reach the engine in snake_case; camelCase wins."""
    options = {"contextLength": 5, "context_length": 6, "slots": 2, "gone": None}
    request = parse_request({"type": "load_model", "source": "x", "options": options})
    assert isinstance(request, LoadModel)
    assert request.options == {"context_length": 5, "slots": 2}


def test_a_stop_string_may_stand_alone() -> None:
    """A string is a list of one, also in a room's options."""
    stream = parse_request({"type": "stream", "prompt": "x", "options": {"stop": "END"}})
    assert isinstance(stream, Stream)
    assert stream.options.stop == ("END",)
    settings_ = {"options": {"stop": "END"}}
    room = parse_request({"type": "update_room", "roomId": "r", "settings": settings_})
    assert isinstance(room, UpdateRoom)
    assert room.settings.options == GenerationOptions(stop=("END",))


def test_resume_takes_positions_of_both_kinds() -> None:
    """A room's position is a seq alone, or with its epoch."""
    request = parse_request(
        {"type": "resume", "resumeToken": "t", "rooms": {"a": 4, "b": {"epoch": "e", "seq": 0}}}
    )
    assert request == Resume(resume_token="t", rooms={"a": 4, "b": RoomPosition(epoch="e", seq=0)})


def test_the_input_is_not_changed() -> None:
    """Parsing leaves the frame's map as it was: it may be compared with a repeat."""
    options = {"max_tokens": 1, "stop": "x", "seed": None}
    fields = {"type": "stream", "prompt": "x", "options": options, "model": None}
    parse_request(fields)
    assert fields == {"type": "stream", "prompt": "x", "options": options, "model": None}
    assert options == {"max_tokens": 1, "stop": "x", "seed": None}


# --- events, for clients


def test_an_event_of_a_newer_server_is_ignored() -> None:
    """A type that this version does not know is no error."""
    assert parse_event({"type": "confetti"}) is None
    assert parse_event({}) is None


def test_fields_of_a_newer_server_are_ignored() -> None:
    """Known events may have grown."""
    event = parse_event({"type": "pong", "timestamp": 5, "mood": "good"})
    assert event is not None
    assert event.__class__.__name__ == "Pong"


def test_an_event_that_lacks_what_it_must_have_is_unreadable() -> None:
    """A client never sees a half-filled event."""
    with pytest.raises(UnreadableFrame, match="pong"):
        parse_event({"type": "pong"})
