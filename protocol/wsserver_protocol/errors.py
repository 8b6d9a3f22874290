"""What a refusal is in the code, and which event tells the client.

Tree of the exceptions of this package::

    WireError                  a refusal or failure with a code of the catalogue
    └── UnreadableFrame        a frame that is no message at all (counts towards close 1008)
    lifecycle.IllegalStep      a fault of the caller's own code, never told to a client

This room does not decide what is refused. It decides that whatever is refused is told in exactly
one way: `error_event` is the only place that turns a `WireError` into an event.
"""

from __future__ import annotations

from typing import Any, Final

from wsserver_protocol.catalogue import (
    CATALOGUE,
    CLOSE_CATALOGUE,
    RECONNECT_CODES,
    CloseCode,
    CloseInfo,
    ErrorCode,
    ErrorInfo,
    FieldError,
    may_reconnect,
)
from wsserver_protocol.events import EVENT_TYPES, ErrorEvent, Event, StreamError
from wsserver_protocol.requests import REQUEST_TYPES


class WireError(Exception):
    """A request is refused, or has failed.

    Attributes:
        code: What happened, for programs.
        message: What happened, for people; shown to the client, so free of host paths, stacks
            and other users' data.
        details: Which fields are wrong, and how.
        retry_after: Milliseconds to wait before trying again.
        retryable: Whether the same request may succeed later; the catalogue's word by default.
        request_id: requestId of the refused message, where it could be read.
        request_type: Type of the refused message, where it could be read.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        details: tuple[FieldError, ...] = (),
        retry_after: int | None = None,
        retryable: bool | None = None,
        request_id: str | None = None,
        request_type: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.retry_after = retry_after
        self.retryable = CATALOGUE[code].retryable if retryable is None else retryable
        self.request_id = request_id
        self.request_type = request_type

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code.value!r}, {self.message!r})"


class UnreadableFrame(WireError):
    """The frame cannot be decoded or is not a map: but for a value that breaks it (``details``)
    there is no request to answer."""

    def __init__(
        self,
        message: str,
        details: tuple[FieldError, ...] = (),
        request_id: str | None = None,
        request_type: str | None = None,
    ) -> None:
        super().__init__(
            ErrorCode.INVALID_MESSAGE,
            message,
            details=details,
            request_id=request_id,
            request_type=request_type,
        )


ERROR_EVENT_BY_REQUEST: Final[dict[str, str]] = {
    **dict.fromkeys(REQUEST_TYPES, "error"),
    "generate": "generation_error",
    "stream": "stream_error",
    "continue": "stream_error",
    "batch": "batch_error",
    "load_model": "model_load_error",
}
"""Request type to the type of the event that refuses it; for unknown types it is ``error``."""


def error_event(
    error: WireError,
    request_type: str | None,
    request_id: str | None,
    *,
    stream_id: str | None = None,
    offset: int | None = None,
    session_id: str | None = None,
    message_id: str | None = None,
) -> Event:
    """The one event that tells a client of ``error``.

    Args:
        error: What happened.
        request_type: Type of the message that it answers; None if it could not be read.
        request_id: requestId that the event carries.
        stream_id: The stream that it is about or that it ends.
        offset: Length of that stream's answer so far, in UTF-8 bytes.
        session_id: With ``stream_not_found``: the session that keeps the text.
        message_id: With ``stream_not_found``: the message that keeps the text.
    """
    common: dict[str, Any] = {
        "request_id": request_id,
        "code": error.code.value,
        "error": error.message,
        "retryable": error.retryable,
        "details": error.details or None,
        "retry_after": error.retry_after,
    }
    struct = EVENT_TYPES[ERROR_EVENT_BY_REQUEST.get(request_type or "", "error")]
    if struct is StreamError or struct is ErrorEvent:
        return struct(
            **common,
            stream_id=stream_id,
            offset=offset,
            session_id=session_id,
            message_id=message_id,
        )
    return struct(**common)


__all__ = [
    "CATALOGUE",
    "CLOSE_CATALOGUE",
    "ERROR_EVENT_BY_REQUEST",
    "RECONNECT_CODES",
    "CloseCode",
    "CloseInfo",
    "ErrorCode",
    "ErrorInfo",
    "FieldError",
    "UnreadableFrame",
    "WireError",
    "error_event",
    "may_reconnect",
]
