"""Sessions, messages and a clock for the tests of session stores."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from wsserver.core.sessions.model import Message, Session
from wsserver.core.sessions.store import SessionStore

ALICE, BOB = "named:alice", "named:bob"
MakeStore = Callable[..., Awaitable[SessionStore]]


class Clock:
    """A time of day that moves when told."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


def session(session_id: str, owner: str = ALICE, **fields: object) -> Session:
    """A session to create."""
    defaults = {"user_id": owner.partition(":")[2], "created_at": 1000, "updated_at": 1000}
    return Session(owner=owner, session_id=session_id, **{**defaults, **fields})  # type: ignore[arg-type]  # by name


def message(message_id: str, parent_id: str | None = None, **fields: object) -> Message:
    """A message to append."""
    defaults = {"role": "user", "content": f"text of {message_id}", "timestamp": 1000}
    return Message(message_id=message_id, parent_id=parent_id, **{**defaults, **fields})  # type: ignore[arg-type]  # by name


def chain(*ids: str) -> list[Message]:
    """Messages each of which follows the one before."""
    return [message(own, before) for own, before in zip(ids, [None, *ids], strict=False)]
