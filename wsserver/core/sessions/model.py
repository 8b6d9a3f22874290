"""What a session and its messages are, whoever stores them.

Messages form a tree: each knows the one before it, nothing is overwritten by an edit or another
try. The order in which they were appended is kept, and the newest one is the leaf of the active
branch. An owner's ids are his own: to others a session does not exist, and two owners may use the
same id for different sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from wsserver_protocol.lifecycle import FinishReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a session's tree. Times are milliseconds since the epoch.

    ``lease`` is set while someone writes the message: until then the writer is taken to live. A
    message whose lease is over and that has no finish reason was cut off by the writer's death.
    """

    message_id: str
    parent_id: str | None
    role: str  # system | user | assistant | tool
    content: str
    timestamp: int
    author_id: str | None = None
    model: str | None = None
    tokens: int | None = None
    finish_reason: FinishReason | None = None
    stream_id: str | None = None  # the last stream that wrote it
    lease: int | None = None
    asked: str | None = None  # JSON: how an answer was asked for, for what goes on with it

    @property
    def size(self) -> int:
        """What it counts against the caps: its text in UTF-8 bytes."""
        return len(self.content.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session without its messages. Times are milliseconds since the epoch."""

    owner: str  # identity key
    session_id: str
    user_id: str  # the owner as people see it
    created_at: int
    updated_at: int
    title: str | None = None
    system_prompt: str | None = None
    model: str | None = None
    metadata: dict[str, Any] | None = None
    message_count: int = 0  # over all branches
    size: int = 0  # of all messages, in UTF-8 bytes
    newest: str | None = None  # the message appended last: the leaf of the active branch
    is_ephemeral: bool = False  # ends with its owner's resume window


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What an update sets; None leaves a field as it is, an empty text removes it."""

    title: str | None = None
    system_prompt: str | None = None
    model: str | None = None
    metadata: dict[str, Any] | None = None


class Link(NamedTuple):
    """A message's place in the tree, without its text."""

    message_id: str
    parent_id: str | None


class Branch(NamedTuple):
    """A stretch of one branch, oldest message first."""

    messages: list[Message]
    has_more: bool  # there are older ones


class SessionPage(NamedTuple):
    """A page of an owner's sessions, last used first."""

    sessions: list[Session]
    cursor: str | None  # of the next page; None: this is the last one


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is kept, and for how long. 0 means no limit."""

    max_sessions: int = 0  # of one owner
    max_session_bytes: int = 0
    max_owner_bytes: int = 0
    ttl: float = 0.0  # seconds since the last use
