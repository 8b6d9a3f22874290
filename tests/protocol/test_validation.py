"""The words of an error: the field's path on the wire, and what it must be, for people."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver_protocol.codec import parse_request
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.validation import free_errors, is_plain

Fields = dict[str, Any]


def refused(fields: Fields) -> WireError:
    """The error with which ``fields`` are refused."""
    with pytest.raises(WireError) as caught:
        parse_request(fields)
    return caught.value


def problems(fields: Fields) -> dict[str, str]:
    """Field to message of the refusal of ``fields``."""
    return {detail.field: detail.message for detail in refused(fields).details}


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        (
            {"type": "stream", "prompt": "x", "options": {"max_tokens": 0}},
            "options.maxTokens",
            "must be an integer from 1 to 1,000,000, not 0",
        ),
        (
            {"type": "stream", "prompt": "x", "options": {"temperature": "hot"}},
            "options.temperature",
            "must be a number from 0 to 2, not a string",
        ),
        (
            {"type": "stream", "prompt": "x", "options": []},
            "options",
            "must be a map, not a list",
        ),
        (
            {"type": "stream", "prompt": "x", "options": {"cache": 1}},
            "options.cache",
            "must be true or false, not 1",
        ),
        (
            {"type": "stream", "prompt": "x", "options": {"onDisconnect": "explode"}},
            "options.onDisconnect",
            "must be one of cancel, detach",
        ),
        (
            {"type": "stream", "prompt": "x", "options": {"stop": ["a", ""]}},
            "options.stop[1]",
            "must be a string of 1 to 256 characters",
        ),
        (
            {"type": "stream", "prompt": "x", "options": {"stop": ["a"] * 17}},
            "options.stop",
            "must be a list of at most 16 items",
        ),
        (
            {"type": "stream", "prompt": "x", "options": {"logit_bias": {"7": 101}}},
            "options.logitBias.7",
            "must be a number from -100 to 100, not 101",
        ),
        ({"type": "stream", "prompt": ""}, "prompt", "must be a string that is not empty"),
        (
            {"type": "stream", "prompt": b"x"},
            "prompt",
            "must be a string that is not empty, not binary data",
        ),
        (
            {"type": "stream", "messages": []},
            "messages",
            "must be a list of 1 to 10,000 items",
        ),
        (
            {"type": "stream", "messages": [{"role": "boss", "content": "x"}]},
            "messages[0].role",
            "must be one of system, user, assistant, tool",
        ),
        (
            {"type": "stream", "messages": [{"role": "user", "content": "x"}, {"role": "user"}]},
            "messages[1].content",
            "is required",
        ),
        (
            {"type": "stream", "messages": [None]},
            "messages[0]",
            "must be a map, not null",
        ),
        (
            {"type": "batch", "prompts": ["a", "b", "c", 4]},
            "prompts[3]",
            "must be a string that is not empty, not 4",
        ),
        (
            {"type": "batch", "prompts": []},
            "prompts",
            "must be a list of 1 to 20 items",
        ),
        (
            {"type": "resume", "resumeToken": "t", "streams": {"s": -1}},
            "streams.s",
            "must be an integer of at least 0, not -1",
        ),
        (
            {"type": "resume", "resumeToken": "t", "streams": {"": 1}},
            "streams.",
            "must be a string of 1 to 128 printable characters",
        ),
        (
            {"type": "resume", "resumeToken": "t", "rooms": {"r": {"seq": 1}}},
            "rooms.r.epoch",
            "is required",
        ),
        (
            {"type": "resume", "resumeToken": "t", "rooms": {"r": "x"}},
            "rooms.r",
            "must be an integer of at least 0 or a map, not a string",
        ),
        (
            {"type": "update_room", "roomId": "r", "settings": {"whenBusy": "panic"}},
            "settings.whenBusy",
            "must be one of queue, reject, parallel, steer",
        ),
        (
            {"type": "set_role", "roomId": "r", "userId": "u", "role": "king"},
            "role",
            "must be one of owner, moderator, member, viewer",
        ),
        (
            {"type": "import_session", "data": {"messages": [{"messageId": "m", "role": "user"}]}},
            "data.messages[0].content",
            "is required",
        ),
        (
            {"type": "unload_model", "id": "m", "force": "yes"},
            "force",
            "must be true or false, not a string",
        ),
        (
            {"type": "stream", "prompt": "x", "options": {"seed": 2**60}},
            "options.seed",
            f"must be an integer within ±2^53, not {2**60}",
        ),
        (
            {"type": "stream", "prompt": "x", "options": {"seed": 10**400}},
            "options.seed",
            "must be an integer within ±2^53, not one that large",
        ),
    ],
)
def test_an_error_names_the_field_in_words(fields: Fields, field: str, message: str) -> None:
    """The path is the wire's, whatever the spelling that came, and the words are for people."""
    error = refused(fields)
    assert {detail.field: detail.message for detail in error.details} == {field: message}
    assert error.message == f"{field} {message}"


def test_all_wrong_fields_are_named_at_once() -> None:
    """A client that made three mistakes need not ask three times."""
    fields = {"type": "stream", "prompt": 5, "options": {"topP": 2, "topK": -1}, "model": ""}
    assert set(problems(fields)) == {"prompt", "options.topP", "options.topK", "model"}


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        (
            {"type": "stream", "messages": [{"role": "user", "content": ""}] * 10_001},
            "messages",
            "must be a list of 1 to 10,000 items",
        ),
        (
            {"type": "resume", "resumeToken": "t", "streams": {str(n): 0 for n in range(1001)}},
            "streams",
            "must be a map of at most 1,000 entries",
        ),
        (
            {"type": "resume", "resumeToken": "t", "rooms": {str(n): -1 for n in range(50_000)}},
            "rooms.0",
            "must be an integer of at least 0 or a map, not -1",
        ),
        (
            {"type": "load_model", "source": "x", "options": {f"k{n}": 0 for n in range(257)}},
            "options",
            "must be a map of at most 256 entries",
        ),
        (
            {"type": "stream", "prompt": "x", "options": {"stop": ["x"] * 100_000}},
            "options.stop",
            "must be a list of at most 16 items",
        ),
    ],
    ids=["messages", "streams", "rooms", "settings", "stop"],
)
def test_what_has_too_many_parts_is_refused(fields: Fields, field: str, message: str) -> None:
    """A frame full of parts is not looked at part by part for ever."""
    first = refused(fields).details[0]
    assert (first.field, first.message) == (field, message)


def test_the_number_of_details_is_bounded() -> None:
    """A list of mistakes does not make a larger answer than question."""
    error = refused({"type": "batch", "prompts": [None] * 20, "requestId": 5})
    assert len(error.details) == 8


def test_an_error_never_shows_what_was_sent() -> None:
    """A secret in the wrong place does not come back, nor go into a log."""
    error = refused(
        {"type": "authenticate", "apiKey": {"secret": "hunter2"}, "userId": "hun\nter2"}
    )
    assert "hunter2" not in error.message
    assert "hun" not in error.message


def test_more_prompts_than_a_batch_takes_have_a_code_of_their_own() -> None:
    """21 prompts are too many, not malformed."""
    error = refused({"type": "batch", "prompts": ["x"] * 21})
    assert error.code is ErrorCode.BATCH_TOO_LARGE
    assert [detail.field for detail in error.details] == ["prompts"]


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        (None, []),
        ({"a": [1, "x", None, True, 1.5, {"b": {}}]}, []),
        (2**53 - 1, []),
        (2**53, ["data"]),
        (float("inf"), ["data"]),
        (b"x", ["data"]),
        ({1: 2}, ["data"]),
        ({"a": {2: 3}, "b": [0, b""]}, ["data.a", "data.b[1]"]),
        ({"a": [{"c": 2**60}]}, ["data.a[0].c"]),
    ],
)
def test_the_quick_look_and_the_slow_one_agree(value: Any, paths: list[str]) -> None:
    """What is fit has no errors, what is not has one for each place."""
    assert is_plain(value) == (not paths)
    assert [error.field for error in free_errors(value, "data")] == paths


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.binary(), inner)
        ),
    )
)
def test_the_quick_look_and_the_slow_one_always_agree(value: Any) -> None:
    """Two ways to one question, whatever the value."""
    assert is_plain(value) == (next(free_errors(value, "data"), None) is None)


@pytest.mark.parametrize(("levels", "fit"), [(63, True), (64, True), (65, False), (200, False)])
@pytest.mark.parametrize("innermost", [[], [0], {}])
def test_nesting_has_a_limit(levels: int, fit: bool, innermost: Any) -> None:
    """64 levels of lists and maps are fit, more are not, for either look."""
    value = innermost
    for _ in range(levels - 1):
        value = [value]
    assert is_plain(value) is fit
    assert (not list(free_errors(value, "data"))) is fit
