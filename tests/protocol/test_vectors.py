"""The golden files, read as a client of another language reads them."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest

from protocol_documents import files
from wsserver_protocol.codec import Encoding, decode_frame, encode, parse_event, parse_request
from wsserver_protocol.cursor import Added, AnswerText, Ask, Shortened, Take, Verdict, merge
from wsserver_protocol.errors import UnreadableFrame, WireError
from wsserver_protocol.events import StreamRewind, StreamSnapshot, StreamToken

Json = dict[str, Any]


def load(name: str) -> Json:
    """One golden file."""
    content: Json = json.loads((files.ROOT / "protocol/vectors" / name).read_text())
    return content


def label(vector: Json) -> str:
    """Name of a vector in the test report."""
    return "-".join(str(vector[key]) for key in ("type", "name") if key in vector)


REQUESTS = load("requests.json")["vectors"]
EVENTS = load("events.json")["vectors"]
INVALID = load("invalid.json")
SPELLINGS = load("spellings.json")["vectors"]
MERGE = load("merge.json")


@pytest.mark.parametrize("vector", [*REQUESTS, *EVENTS], ids=label)
def test_both_encodings_of_a_message_are_the_same_map(vector: Json) -> None:
    """A plain MessagePack decoder gives what the JSON says."""
    assert msgpack.unpackb(bytes.fromhex(vector["msgpack"])) == vector["json"]
    assert decode_frame(bytes.fromhex(vector["msgpack"])) == vector["json"]
    assert vector["json"]["type"] == vector["type"]


@pytest.mark.parametrize("vector", REQUESTS, ids=label)
def test_a_golden_request_is_read_and_written_again(vector: Json) -> None:
    """What the server reads, a client writes the same way."""
    request = parse_request(vector["json"])
    assert decode_frame(encode(request, Encoding.JSON)) == vector["json"]
    assert encode(request, Encoding.MSGPACK).hex() == vector["msgpack"]


@pytest.mark.parametrize("vector", EVENTS, ids=label)
def test_a_golden_event_is_read_and_written_again(vector: Json) -> None:
    """What a client reads, the server writes the same way."""
    event = parse_event(vector["json"])
    assert event is not None
    assert decode_frame(encode(event, Encoding.JSON)) == vector["json"]
    assert encode(event, Encoding.MSGPACK).hex() == vector["msgpack"]


@pytest.mark.parametrize("vector", INVALID["messages"], ids=label)
def test_a_bad_message_is_refused_as_written(vector: Json) -> None:
    """Code, field and words are part of the contract's tests."""
    with pytest.raises(WireError) as caught:
        parse_request(vector["json"])
    error = caught.value
    field = error.details[0].field if error.details else None
    assert (error.code, field, error.message) == (
        vector["code"],
        vector["field"],
        vector["error"],
    )


@pytest.mark.parametrize("frame", INVALID["text"])
def test_an_unreadable_text_frame(frame: str) -> None:
    """Text frames that are no map."""
    with pytest.raises(UnreadableFrame):
        decode_frame(frame)


@pytest.mark.parametrize("frame", INVALID["binary"])
def test_an_unreadable_binary_frame(frame: str) -> None:
    """Binary frames that are no map."""
    with pytest.raises(UnreadableFrame):
        decode_frame(bytes.fromhex(frame))


@pytest.mark.parametrize("vector", SPELLINGS)
def test_a_spelling_means_the_wires_own(vector: Json) -> None:
    """Either spelling, nulls and unknown fields come to the same message."""
    assert parse_request(vector["input"]) == parse_request(vector["means"])
    sent = encode(parse_request(vector["input"]), Encoding.JSON)
    assert decode_frame(sent) == vector["means"]


@pytest.mark.parametrize("vector", MERGE["rule"])
def test_the_merge_rule(vector: Json) -> None:
    """Each case of the cursor rule."""
    match merge(vector["have"], vector["offset"], vector["length"]):
        case Take(skip):
            assert (vector["verdict"], vector["skip"]) == ("take", skip)
        case Verdict() as verdict:
            assert vector["verdict"] == verdict.value


@pytest.mark.parametrize("story", MERGE["stories"], ids=label)
def test_a_story_of_a_stream(story: Json) -> None:
    """Events of one stream, and what a client shows and asks after each."""
    answer = AnswerText()
    for step in story["steps"]:
        if "end" in step:
            outcome = answer.finish(step["end"]["offset"])
        else:
            event = parse_event(step["event"])
            assert isinstance(event, StreamToken | StreamSnapshot | StreamRewind)
            outcome = answer.apply(event)
        assert (answer.text, answer.have) == (step["text"], step["have"])
        assert isinstance(outcome, Added | Shortened) == step["changed"]
        assert (outcome.from_offset if isinstance(outcome, Ask) else None) == step["ask"]
