"""The catalogue: every error code and every close code, what it means and what a client may do.

This room knows no message. Nothing else in the project decides whether an error is worth a
retry or whether a closed client may come back: the tables here do, and the published documents
are made from them.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

import msgspec


class ErrorCode(StrEnum):
    """Machine-readable reason of a refusal or failure; `CATALOGUE` explains each."""

    INVALID_MESSAGE = "invalid_message"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_PARAMETERS = "invalid_parameters"
    UNSUPPORTED_OPTION = "unsupported_option"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_STREAMS = "too_many_streams"
    DUPLICATE_REQUEST = "duplicate_request"
    STREAM_NOT_FOUND = "stream_not_found"
    BATCH_NOT_FOUND = "batch_not_found"
    SESSION_NOT_FOUND = "session_not_found"
    ROOM_NOT_FOUND = "room_not_found"
    ROOM_FULL = "room_full"
    NOT_IN_ROOM = "not_in_room"
    BATCH_TOO_LARGE = "batch_too_large"
    MODEL_NOT_FOUND = "model_not_found"
    MODEL_NOT_READY = "model_not_ready"
    MODEL_LOAD_FAILED = "model_load_failed"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    OVERLOADED = "overloaded"
    GENERATION_FAILED = "generation_failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    RESUME_EXPIRED = "resume_expired"
    DRAINING = "draining"
    STORE_UNAVAILABLE = "store_unavailable"
    INTERNAL_ERROR = "internal_error"


class ErrorInfo(NamedTuple):
    """What a code means.

    ``retryable`` is whether the same request, sent again later, may succeed with nothing changed
    by its sender. ``http_status`` is the status an HTTP interface would answer with.
    """

    meaning: str
    retryable: bool
    http_status: int


CATALOGUE: Final[dict[ErrorCode, ErrorInfo]] = {
    ErrorCode.INVALID_MESSAGE: ErrorInfo(
        "The frame cannot be decoded, is not a map, or has no readable type.", False, 400
    ),
    ErrorCode.UNKNOWN_TYPE: ErrorInfo("The server does not know this message type.", False, 400),
    ErrorCode.INVALID_PARAMETERS: ErrorInfo(
        "A field is missing, has the wrong kind or is out of its bounds; details name it.",
        False,
        422,
    ),
    ErrorCode.UNSUPPORTED_OPTION: ErrorInfo(
        "The engine of this model cannot honour an option; details name it.", False, 422
    ),
    ErrorCode.PAYLOAD_TOO_LARGE: ErrorInfo(
        "A field is larger than the server takes; details name it.", False, 413
    ),
    ErrorCode.UNAUTHORIZED: ErrorInfo(
        "The proof of identity is missing, wrong or expired.", False, 401
    ),
    ErrorCode.FORBIDDEN: ErrorInfo("The caller's scopes or role do not allow this.", False, 403),
    ErrorCode.RATE_LIMITED: ErrorInfo(
        "Too many requests, tokens or frames; retryAfter says when to try again.", True, 429
    ),
    ErrorCode.TOO_MANY_STREAMS: ErrorInfo(
        "The caller has as many requests in flight as it may have; wait until one ends.", True, 429
    ),
    ErrorCode.DUPLICATE_REQUEST: ErrorInfo(
        "This requestId was used a short while ago for a different request.", False, 409
    ),
    ErrorCode.STREAM_NOT_FOUND: ErrorInfo(
        "No such stream for this caller, or it ended too long ago. With sessionId and messageId: "
        "the text is kept there.",
        False,
        404,
    ),
    ErrorCode.BATCH_NOT_FOUND: ErrorInfo("No such running batch for this caller.", False, 404),
    ErrorCode.SESSION_NOT_FOUND: ErrorInfo("No such session for this caller.", False, 404),
    ErrorCode.ROOM_NOT_FOUND: ErrorInfo("No such room for this caller.", False, 404),
    ErrorCode.ROOM_FULL: ErrorInfo("The room has as many members as it takes.", True, 409),
    ErrorCode.NOT_IN_ROOM: ErrorInfo("Only a member of the room can do this.", False, 403),
    ErrorCode.BATCH_TOO_LARGE: ErrorInfo("The batch has more prompts than allowed.", False, 422),
    ErrorCode.MODEL_NOT_FOUND: ErrorInfo("No model has this id, name or source.", False, 404),
    ErrorCode.MODEL_NOT_READY: ErrorInfo(
        "The model is known but is unloaded, has failed or was unloaded meanwhile.", True, 503
    ),
    ErrorCode.MODEL_LOAD_FAILED: ErrorInfo(
        "The model did not load; the message says why.", False, 500
    ),
    ErrorCode.CONTEXT_LENGTH_EXCEEDED: ErrorInfo(
        "The input leaves no room in the model's context for a single token.", False, 413
    ),
    ErrorCode.OVERLOADED: ErrorInfo("The server has more work than it can queue.", True, 503),
    ErrorCode.GENERATION_FAILED: ErrorInfo("The engine failed while it answered.", True, 500),
    ErrorCode.TIMEOUT: ErrorInfo("The request's time ran out before its first token.", True, 504),
    ErrorCode.CANCELLED: ErrorInfo("Someone ended it before it was done.", False, 499),
    ErrorCode.RESUME_EXPIRED: ErrorInfo(
        "The resume token is unknown or too old; the connection goes on as a new client.",
        False,
        410,
    ),
    ErrorCode.DRAINING: ErrorInfo(
        "The server is going away and takes no new work; reconnect and ask again.", True, 503
    ),
    ErrorCode.STORE_UNAVAILABLE: ErrorInfo("The server's store does not answer.", True, 503),
    ErrorCode.INTERNAL_ERROR: ErrorInfo("The server failed; its log says how.", True, 500),
}


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one field.

    Attributes:
        field: Path of the field as the wire spells it, such as ``options.maxTokens``,
            ``prompts[3]`` or ``messages[0].role``.
        message: What it must be, in words for people.
    """

    field: str
    message: str


class CloseCode(IntEnum):
    """WebSocket close codes that the server sends; `CLOSE_CATALOGUE` explains each.

    The ranges are the policy: a client that knows only them behaves well. 4000 to 4499: come
    back, with jitter, and resume. 4500 to 4999: do not come back unchanged.
    """

    NORMAL = 1000
    GOING_AWAY = 1001
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL = 1011
    SLOW_READER = 4001
    NO_PONG = 4002
    AUTHENTICATION_TIMEOUT = 4003
    CREDENTIALS_EXPIRED = 4004
    OVERLOADED = 4005
    UNAUTHORIZED = 4501
    FORBIDDEN = 4503
    KICKED = 4505
    ABUSE = 4506
    RESUMED_ELSEWHERE = 4507


class CloseInfo(NamedTuple):
    """What a close code means; ``reconnect`` is whether a client may come back unchanged."""

    meaning: str
    reconnect: bool


CLOSE_CATALOGUE: Final[dict[CloseCode, CloseInfo]] = {
    CloseCode.NORMAL: CloseInfo("normal end", False),
    CloseCode.GOING_AWAY: CloseInfo("the server is going away", True),
    CloseCode.POLICY_VIOLATION: CloseInfo("too many unreadable frames", False),
    CloseCode.MESSAGE_TOO_BIG: CloseInfo("a frame was larger than maxMessageBytes", False),
    CloseCode.INTERNAL: CloseInfo("the server failed", True),
    CloseCode.SLOW_READER: CloseInfo("the client reads too slowly", True),
    CloseCode.NO_PONG: CloseInfo("the client did not answer a ping", True),
    CloseCode.AUTHENTICATION_TIMEOUT: CloseInfo("no authentication in time", True),
    CloseCode.CREDENTIALS_EXPIRED: CloseInfo("the credentials expired; renew them first", True),
    CloseCode.OVERLOADED: CloseInfo("the server is overloaded", True),
    CloseCode.UNAUTHORIZED: CloseInfo("the credentials were wrong too often", False),
    CloseCode.FORBIDDEN: CloseInfo("a forbidden origin, or banned", False),
    CloseCode.KICKED: CloseInfo("kicked", False),
    CloseCode.ABUSE: CloseInfo("far over the limits", False),
    CloseCode.RESUMED_ELSEWHERE: CloseInfo("resumed on another connection", False),
}

RECONNECT_CODES: Final = frozenset({1001, 1005, 1006, 1011, 1012, 1013})
"""Codes below 4000 after which a client comes back; 1005 and 1006 are seen, never sent."""


def may_reconnect(code: int) -> bool:
    """Whether a client that was closed with ``code`` comes back without changing anything.

    Right for codes that this version does not know, too: their range decides.
    """
    return code in RECONNECT_CODES or 4000 <= code <= 4499
