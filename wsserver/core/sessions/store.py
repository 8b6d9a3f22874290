"""The port through which histories are kept.

Rules that every implementation holds, and that the contract suite in tests/contracts checks:

1. an append is atomic, costs the same however long the history is, and is idempotent by message
   id: what is there already is not added again;
2. all readers see the messages of a session in one order, that of their appends;
3. what is another owner's is answered as if it did not exist;
4. an owner's list and count of sessions change in the same step as the sessions themselves;
5. a session unused for the TTL is gone, at the same moment for every operation; use prolongs it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Protocol

from wsserver.core.sessions.model import Branch, Changes, Link, Message, Session, SessionPage


class SessionError(Exception):
    """Base of what a session store raises."""


class StoreUnavailable(SessionError):
    """The store can't be reached or can't write. Whether the step took place is not known."""


class StoreUntouched(StoreUnavailable):
    """The store can't be reached, and was not asked: the step has not taken place."""


class SessionNotFound(SessionError):
    """There is no such session, or it is someone else's."""


class MessageNotFound(SessionError):
    """The session has no such message. ``str(error)`` is its id."""


class TakenUp(SessionError):
    """Another answer writes the message by now."""


class TooManySessions(SessionError):
    """The owner has as many sessions as are allowed: ``limit``."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"at most {limit} sessions")
        self.limit = limit


class TooMuchText(SessionError):
    """A session, or all of an owner's together, would hold more than ``limit`` bytes."""

    def __init__(self, limit: int, *, is_session: bool) -> None:
        super().__init__(f"at most {limit} bytes")
        self.limit = limit
        self.is_session = is_session


class SessionStore(Protocol):
    """Sessions of all owners. Every method may raise `StoreUnavailable`.

    Those that name a session raise `SessionNotFound`, those that name a message in it
    `MessageNotFound`. ``now`` is the time of day in milliseconds.
    """

    async def create(self, session: Session) -> tuple[Session, bool]:
        """Add a session, or return the one that is there under its id.

        Returns:
            The session as it stands, and whether it was made now.

        Raises:
            TooManySessions: If it would be one too many.
        """
        ...

    async def get(self, owner: str, session_id: str) -> Session:
        """The session. This is a use."""
        ...

    async def update(self, owner: str, session_id: str, changes: Changes, now: int) -> Session:
        """Change what is given. This is a use."""
        ...

    async def list_sessions(
        self, owner: str, *, cursor: str | None, limit: int, query: str | None
    ) -> SessionPage:
        """A page of the owner's sessions, last changed first; this is no use of them.

        Args:
            owner: Whose.
            cursor: `SessionPage.cursor` of the page before, None for the first.
            limit: Most sessions of the page. With a query there may be fewer, and more pages.
            query: Only those whose title or text contains this; ASCII letters in any case.

        Raises:
            ValueError: If the cursor is not one of these pages.
        """
        ...

    async def append(
        self,
        owner: str,
        session_id: str,
        messages: Sequence[Message],
        now: int,
        *,
        title: str | None = None,
        after_newest: bool = False,
    ) -> Session:
        """Add messages, all or none; skip each whose id the session has already.

        Args:
            owner: Whose.
            session_id: Where.
            messages: Each after its parent.
            now: When the session has changed.
            title: The session's title if it has none.
            after_newest: The first message's parent is whatever is the newest at that moment.

        Raises:
            MessageNotFound: If a parent is not there.
            TooMuchText: If a cap on bytes would be passed.
        """
        ...

    async def revise(
        self,
        owner: str,
        session_id: str,
        message: Message,
        *,
        instead_of: Collection[str] | None = None,
    ) -> None:
        """Write a message anew that is there: text, model, tokens, finish reason, stream, lease.

        Its place in the tree stays. Caps are not looked at: what was begun is kept whole. Nothing
        is changed where its stream has ended it already and says now that it goes on: a process
        that slept says so while another has ended it.

        Args:
            owner: Whose.
            session_id: Where.
            message: As it is to stand there.
            instead_of: Streams whose place the message's own takes. Whoever writes for one that
                another has taken the place of is refused. None: whatever wrote it.

        Raises:
            TakenUp: If the last stream that wrote it is neither the message's own nor one of these.
        """
        ...

    async def branch(
        self,
        owner: str,
        session_id: str,
        *,
        end: str | None = None,
        limit: int,
        max_bytes: int = 0,
    ) -> Branch:
        """The messages that lead to ``end``, itself included, at most ``limit`` of them.

        Args:
            owner: Whose.
            session_id: Where.
            end: The last message; None: the newest one of all.
            limit: Most messages.
            max_bytes: Stop before a message that would pass this, but return at least one.
                0: no limit.
        """
        ...

    async def messages(
        self, owner: str, session_id: str, *, start: int, limit: int, max_bytes: int = 0
    ) -> Branch:
        """Messages of all branches in the order of their appends, from number ``start`` (from 0).

        ``has_more`` of the result: there are later ones.
        """
        ...

    async def links(self, owner: str, session_id: str) -> list[Link]:
        """The whole tree without its texts, in the order of the appends."""
        ...

    async def find(self, owner: str, session_id: str, message_id: str) -> Message:
        """One message."""
        ...

    async def find_stream(self, owner: str, stream_id: str) -> tuple[str, str] | None:
        """Session and message that keep a stream's text; None if there are none."""
        ...

    async def clear(self, owner: str, session_id: str, now: int) -> None:
        """Delete a session's messages, keep the session."""
        ...

    async def delete(self, owner: str, session_id: str) -> None:
        """Delete a session with its messages."""
        ...

    async def delete_owner(self, owner: str) -> int:
        """Delete all of an owner's sessions. Returns how many there were."""
        ...

    async def expire(self) -> int:
        """Free what is past its TTL. Returns how many sessions that were."""
        ...

    def all_sessions(self) -> AsyncIterator[Session]:
        """Every session of every owner, least recently changed first within an owner.

        For tools, never in the path of a request.
        """
        ...

    async def close(self) -> None:
        """Let go of files and connections. Idempotent."""
        ...
