"""Frames: any bytes end as a map or as one error; any message as a frame that clients can read."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol import strategies
from wsserver_protocol.codec import parse_event
from wsserver_protocol.errors import ErrorCode, UnreadableFrame
from wsserver_protocol.events import (
    EVENT_TYPES,
    Interrupted,
    Pong,
    RoomEntryEvent,
    StreamToken,
    TokenLogprob,
    TopLogprob,
)
from wsserver_protocol.frames import SUBPROTOCOLS, Encoding, decode_frame, encode, encode_token

ENCODINGS = pytest.mark.parametrize("encoding", Encoding)


def entry(data: Any, text: str = "") -> RoomEntryEvent:
    """An event that carries a value of a client's own."""
    return RoomEntryEvent(
        room_id="r",
        seq=1,
        message_id="m",
        role="user",
        client_id="c",
        user_id="u",
        name=None,
        text=text,
        data=data,
        timestamp=1,
    )


def read(frame: bytes, encoding: Encoding) -> Any:
    """What a client of another language makes of a frame, strictly."""
    if encoding is Encoding.JSON:
        return json.loads(frame.decode("utf-8"), parse_constant=pytest.fail)
    return msgpack.unpackb(frame, strict_map_key=True, raw=False, ext_hook=pytest.fail)


def test_subprotocols() -> None:
    """The names are those of the contract, and only JSON goes out as text."""
    assert list(SUBPROTOCOLS) == ["wsserver.v1.json", "wsserver.v1.msgpack"]
    assert {name: encoding.is_text for name, encoding in SUBPROTOCOLS.items()} == {
        "wsserver.v1.json": True,
        "wsserver.v1.msgpack": False,
    }
    assert [encoding.subprotocol for encoding in Encoding] == list(SUBPROTOCOLS)


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"ping"}',
        b'{"type":"ping"}',
        b' \t\r\n{"type":"ping"}',
        b"\x81\xa4type\xa4ping",
    ],
)
def test_a_frame_of_either_opcode_is_read(frame: str | bytes) -> None:
    """JSON in text and binary frames, and MessagePack, give the same map."""
    assert decode_frame(frame) == {"type": "ping"}


def test_of_a_repeated_key_the_last_value_counts() -> None:
    """Both encodings agree, so that nothing can mean two things."""
    assert decode_frame('{"type":"a","type":"b"}') == {"type": "b"}
    assert decode_frame(b"\x82\xa4type\xa1a\xa4type\xa1b") == {"type": "b"}


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "   ",
        "nonsense",
        "[]",
        '"text"',
        "null",
        "1",
        '{"type":"ping"',
        '{"type":"ping"} {}',
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":1e999}',
        '{"a":"\\ud800"}',
        "\ufeff{}",
        "\ud800",
        "[" * 5000,
        '{"a":' * 5000,
        '{"a":' + "[" * 5000 + "]" * 5000 + "}",
        b"",
        b"{",
        b'{"type":"\xff"}',
        b"\xc1",
        b"\x80\x80",
        b"\x91\x01",
        b"\x81\xa4type",
        b"\x81\xa1a\xa1\xff",
        b"\x81\x01\x02",
        b"\x81\xc0\x02",
        b"\x81\xc4\x01a\x02",
        b"\x81\xa1a\x81\x01\x02",
        b"\x81\xa1a\xd4\x05\x00",
        b"\x81\xa1a\x91\xd4\x05\x00",
        b"\x81\xa1a\xd6\xff\x00\x00\x00\x01",
        b"\x91" * 5000,
        b"\x81\xa1a" * 5000,
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x81\xa1a\xdb\xff\xff\xff\xff",
    ],
)
def test_what_is_no_message_is_unreadable(frame: str | bytes) -> None:
    """Every kind of broken frame ends in the one error that counts as unreadable."""
    with pytest.raises(UnreadableFrame) as caught:
        decode_frame(frame)
    assert caught.value.code is ErrorCode.INVALID_MESSAGE
    assert caught.value.request_id is None


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ('"a\\ud800b"', "data"),
        ('{"x":[1,{"y":"\\udfff"}]}', "data.x[1].y"),
        ('{"x":{"\\ud83d":1}}', "data.x"),
        ("[NaN]", "data[0]"),
        ("1e999", "data"),
    ],
)
def test_a_value_that_breaks_its_frame_is_named(value: str, field: str) -> None:
    """JavaScript writes half of a surrogate pair, Python NaN: the sender learns where, and the
    request of it gets its end."""
    frame = f'{{"type":"stream","requestId":"r","prompt":"x","data":{value}}}'
    for data in (frame, frame.encode()):
        with pytest.raises(UnreadableFrame) as caught:
            decode_frame(data)
        error = caught.value
        assert (error.request_id, error.request_type) == ("r", "stream")
        assert [detail.field for detail in error.details] == [field]
        assert error.message.startswith(f"{field} must ")


@pytest.mark.parametrize("name", ['"\\ud800"', '"a\\nb"', '""', "5", f'"{"x" * 129}"'])
def test_a_broken_frame_is_answered_under_no_broken_name(name: str) -> None:
    """What could not be told back is not: neither a requestId nor a type."""
    with pytest.raises(UnreadableFrame) as caught:
        decode_frame(f'{{"type":{name},"requestId":{name},"data":NaN}}')
    assert (caught.value.request_id, caught.value.request_type) == (None, None)


@given(st.binary() | st.text() | st.binary().map(lambda tail: b"\x82\xa4type" + tail))
def test_any_bytes_end_as_a_map_or_unreadable(frame: str | bytes) -> None:
    """No input raises anything else."""
    try:
        fields = decode_frame(frame)
    except UnreadableFrame:
        return
    assert isinstance(fields, dict)
    assert all(isinstance(key, str) for key in fields)


@given(st.dictionaries(strategies.TEXT, strategies.JSON, max_size=4))
def test_both_encodings_give_the_same_map(fields: dict[str, Any]) -> None:
    """A map means the same however it was sent."""
    assert decode_frame(orjson.dumps(fields)) == fields
    assert decode_frame(orjson.dumps(fields).decode()) == fields
    assert decode_frame(msgpack.packb(fields)) == fields


@ENCODINGS
@pytest.mark.parametrize("event_type", EVENT_TYPES)
@settings(max_examples=15)
@given(data=st.data())
def test_every_event_arrives_as_it_was_sent(
    data: st.DataObject, event_type: str, encoding: Encoding
) -> None:
    """Encoding, decoding and parsing give the same event."""
    event = data.draw(strategies.of(EVENT_TYPES[event_type]))
    frame = encode(event, encoding)
    assert read(frame, encoding)["type"] == event_type
    assert parse_event(decode_frame(frame)) == event


@ENCODINGS
def test_absent_fields_are_not_sent_and_required_ones_always_are(encoding: Encoding) -> None:
    """Optional fields that are None do not appear; an empty list that is required does."""
    sent = read(encode(Interrupted(stream_ids=(), batch_ids=()), encoding), encoding)
    assert sent == {"type": "interrupted", "streamIds": [], "batchIds": []}


@ENCODINGS
def test_a_token_frame_is_that_of_its_struct(encoding: Encoding) -> None:
    """The fast path writes what the slow one does."""
    logprobs = (TokenLogprob(token="é", logprob=-0.5, top=(TopLogprob(token="e", logprob=-2.0),)),)
    event = StreamToken(
        request_id="q",
        stream_id="s",
        token="é",
        position=3,
        count=2,
        offset=9,
        timestamp=5,
        room_id="r",
        logprobs=logprobs,
    )
    fast = encode_token(encoding, "s", "é", 3, 2, 9, 5, "q", "r", logprobs)
    assert read(fast, encoding) == read(encode(event, encoding), encoding)


@ENCODINGS
def test_a_token_frame_for_watchers_has_only_what_it_needs(encoding: Encoding) -> None:
    """Without requestId, room and logprobs those fields are absent."""
    assert read(encode_token(encoding, "s", "x", 1, 1, 1, 5), encoding) == {
        "type": "stream_token",
        "streamId": "s",
        "token": "x",
        "position": 1,
        "count": 1,
        "offset": 1,
        "timestamp": 5,
    }


@ENCODINGS
@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        ({1: "a", None: "b"}, {"1": "a", "None": "b"}),
        ("\ud800", "�"),
        ({"\udc00": 1}, {"�": 1}),
        ("\ud83d\ude00", "😀"),
        (2**53, float(2**53)),
        (-(2**64), -float(2**64)),
        (10**400, None),
        ([2**53 - 1], [2**53 - 1]),
    ],
)
def test_what_clients_cannot_read_is_sent_as_the_nearest_thing(
    value: Any, arrives: Any, encoding: Encoding
) -> None:
    """No value that the server was given stops a frame."""
    sent = read(encode(entry({"value": value}), encoding), encoding)
    assert sent["data"] == {"value": arrives}


@ENCODINGS
def test_numbers_that_json_lacks_arrive_as_null(encoding: Encoding) -> None:
    """NaN and infinity have no place on the wire."""
    sent = read(encode(entry([float("nan"), float("inf"), 1.5]), encoding), encoding)
    assert sent["data"] == [None, None, 1.5]


@ENCODINGS
def test_a_value_nested_too_deep_is_cut_off(encoding: Encoding) -> None:
    """Deep nesting loses its innermost part, not the frame."""
    deep: Any = "bottom"
    for _ in range(400):
        deep = [deep]
    assert read(encode(entry(deep), encoding), encoding)["seq"] == 1


@ENCODINGS
def test_half_a_character_in_a_token_does_not_stop_the_stream(encoding: Encoding) -> None:
    """A lone surrogate arrives as a replacement character."""
    sent = read(encode_token(encoding, "s", "a\ud800", 1, 1, 4, 5), encoding)
    assert sent["token"] == "a�"


@ENCODINGS
def test_a_frame_after_a_failed_one_is_whole(encoding: Encoding) -> None:
    """What could not be written leaves nothing behind in the next frame."""
    encode_token(encoding, "s", "\ud800", 1, 1, 4, 5)
    assert read(encode(Pong(timestamp=1), encoding), encoding) == {"type": "pong", "timestamp": 1}
