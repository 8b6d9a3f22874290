"""How a session store's errors are told to a client, and how long a store may think.

The one place that turns a `SessionError` into a `WireError`. A store that doesn't answer in time
counts as unavailable: whether the step took place is then unknown, which is why every step can be
repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from wsserver.core.sessions.store import (
    MessageNotFound,
    SessionError,
    SessionNotFound,
    StoreUnavailable,
    TakenUp,
    TooManySessions,
    TooMuchText,
)
from wsserver_protocol.errors import ErrorCode, FieldError, WireError

Result = TypeVar("Result")

STORE_DEADLINE = 2.0
"""Seconds that a turn waits for one step of the store."""

LONG_DEADLINE = 20.0
"""Seconds for a search, a copy, an import."""

RETRY_AFTER_MS = 2000
"""What a client is told to wait when the store is away."""


async def in_time(work: Awaitable[Result], deadline: float = STORE_DEADLINE) -> Result:
    """A step of the store, or `StoreUnavailable` after ``deadline`` seconds."""
    try:
        async with asyncio.timeout(deadline):
            return await work
    except TimeoutError:
        raise StoreUnavailable(f"no answer within {deadline:g} s") from None


async def or_refused(work: Awaitable[Result], deadline: float = STORE_DEADLINE) -> Result:
    """A step of the store in time; what goes wrong is a `WireError`.

    Raises:
        WireError: As `refusal` says.
    """
    try:
        return await in_time(work, deadline)
    except SessionError as error:
        raise refusal(error) from error


def refusal(error: SessionError) -> WireError:
    """What a client is told."""
    match error:
        case SessionNotFound():
            return WireError(
                ErrorCode.SESSION_NOT_FOUND, "There is no such session, or it is not yours."
            )
        case MessageNotFound():
            return WireError(
                ErrorCode.INVALID_PARAMETERS, "The session has no such message.",
                details=(FieldError(field="messageId", message="unknown"),),
            )  # fmt: skip
        case TooManySessions(limit=limit):
            return WireError(
                ErrorCode.INVALID_PARAMETERS,
                f"You have {limit} sessions, as many as this server keeps for one user; "
                "delete one first.",
                details=(FieldError(field="sessionId", message="would be one too many"),),
            )
        case TooMuchText(limit=limit, is_session=is_session):
            whose = "A session" if is_session else "All sessions of one user together"
            return WireError(
                ErrorCode.PAYLOAD_TOO_LARGE,
                f"{whose} may hold at most {limit:,} bytes of text here.",
            )
        case TakenUp():
            return WireError(
                ErrorCode.INVALID_PARAMETERS, "Another answer goes on with this one already."
            )
        case StoreUnavailable():
            return store_unavailable()
        case _:
            raise AssertionError(f"no refusal for {error!r}")


def store_unavailable() -> WireError:
    """The store of sessions can't be used now."""
    return WireError(
        ErrorCode.STORE_UNAVAILABLE,
        "The store of sessions can't be reached.",
        retry_after=RETRY_AFTER_MS,
    )


def unknown_message(field: str) -> WireError:
    """A request names a message that the session does not have."""
    return WireError(
        ErrorCode.INVALID_PARAMETERS,
        f"{field} names no message of this session.",
        details=(FieldError(field=field, message="unknown"),),
    )
