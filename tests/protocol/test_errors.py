"""Errors: each refusal becomes the one event that its request ends with."""

from __future__ import annotations

import pytest

from wsserver_protocol.errors import (
    ERROR_EVENT_BY_REQUEST,
    ErrorCode,
    FieldError,
    UnreadableFrame,
    WireError,
    error_event,
)
from wsserver_protocol.events import (
    EVENT_TYPES,
    BatchError,
    ErrorEvent,
    GenerationError,
    ModelLoadFailed,
    StreamError,
)
from wsserver_protocol.requests import REQUEST_TYPES

OWN_EVENT = {
    "generate": GenerationError,
    "stream": StreamError,
    "continue": StreamError,
    "batch": BatchError,
    "load_model": ModelLoadFailed,
}


@pytest.mark.parametrize("request_type", [*REQUEST_TYPES, "explode", None])
def test_each_request_is_refused_by_its_own_event(request_type: str | None) -> None:
    """Five requests end in events of their own, all others in `error`."""
    event = error_event(WireError(ErrorCode.DRAINING, "going"), request_type, "q")
    assert type(event) is OWN_EVENT.get(request_type or "", ErrorEvent)
    assert event.request_id == "q"


def test_the_table_names_every_request_and_real_events() -> None:
    """Nothing is missing, nothing is misspelt."""
    assert set(ERROR_EVENT_BY_REQUEST) == set(REQUEST_TYPES)
    assert set(ERROR_EVENT_BY_REQUEST.values()) <= set(EVENT_TYPES)


def test_an_event_carries_all_that_the_error_knows() -> None:
    """Code, words, details, times and places arrive."""
    error = WireError(
        ErrorCode.RATE_LIMITED,
        "slowly",
        details=(FieldError(field="f", message="m"),),
        retry_after=250,
    )
    assert error_event(error, "stream", "q", stream_id="s", offset=7) == StreamError(
        request_id="q",
        code="rate_limited",
        error="slowly",
        retryable=True,
        details=(FieldError(field="f", message="m"),),
        retry_after=250,
        stream_id="s",
        offset=7,
    )


def test_a_stream_that_is_gone_says_where_its_text_is() -> None:
    """stream_not_found carries the session and the message that keep the text."""
    error = WireError(ErrorCode.STREAM_NOT_FOUND, "gone")
    assert error_event(error, "watch_stream", None, session_id="s", message_id="m") == ErrorEvent(
        code="stream_not_found", error="gone", retryable=False, session_id="s", message_id="m"
    )


def test_retryable_is_the_catalogues_word_unless_the_case_differs() -> None:
    """A code has a default; the raiser may know better."""
    assert WireError(ErrorCode.OVERLOADED, "x").retryable
    assert not WireError(ErrorCode.OVERLOADED, "x", retryable=False).retryable
    assert not WireError(ErrorCode.FORBIDDEN, "x").retryable


def test_an_unreadable_frame_is_an_invalid_message() -> None:
    """It is a refusal like others, of its own class so that it can be counted."""
    error = UnreadableFrame("no map")
    assert (error.code, error.message, str(error)) == (
        ErrorCode.INVALID_MESSAGE,
        "no map",
        "no map",
    )
    assert repr(error) == "UnreadableFrame('invalid_message', 'no map')"
