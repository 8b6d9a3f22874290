"""What it means for a step that Redis refuses it, or can't be reached."""

from __future__ import annotations

from typing import Any

from redis.exceptions import (
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from wsserver.core.sessions.store import StoreUnavailable, StoreUntouched
from wsserver.stores.redis.lane import Lost

NOT_DONE = (ClusterDownError, OutOfMemoryError, ReadOnlyError)
"""Refusals before anything was done: no host for the key, no room, or a replica. What else a script
fails with may come from its midst."""


def granted(reply: Any) -> Any:
    """The reply, if it is no refusal.

    Raises:
        StoreUnavailable: If it is.
    """
    if isinstance(reply, ResponseError):
        raise refused(reply) from reply
    return reply


def away(error: Lost) -> StoreUnavailable:
    """What is raised for a step that had no reply."""
    return (StoreUnavailable if error.was_sent else StoreUntouched)(f"Redis: {error}")


def refused(error: ResponseError) -> StoreUnavailable:
    """What is raised for a step that Redis has refused."""
    kind = StoreUntouched if isinstance(error, NOT_DONE) else StoreUnavailable
    return kind(f"Redis: {error}")
