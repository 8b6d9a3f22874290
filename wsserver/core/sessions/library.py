"""Work on sessions besides their turns: opening, listing, reading, changing, copying, moving.

Decides what a page holds, so that every reply fits into a frame, and what a document of a session
looks like. It does not know the wire's events. Everything is asked for by an owner, and what is
not his is answered as unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wsserver.core.identity import Identity
from wsserver.core.ids import new_id
from wsserver.core.sessions import tree
from wsserver.core.sessions.conversations import Conversations
from wsserver.core.sessions.model import Branch, Changes, Message, Session, SessionPage
from wsserver.core.sessions.placing import MAX_MESSAGE_BYTES, json_size
from wsserver.core.sessions.refusals import (
    LONG_DEADLINE,
    in_time,
    or_refused,
    refusal,
    unknown_message,
)
from wsserver.core.sessions.store import MessageNotFound, SessionError, SessionStore
from wsserver.core.sessions.turns import read_now
from wsserver.core.wallclock import wall_ms
from wsserver_protocol.errors import ErrorCode, FieldError, WireError

PAGE_BYTES = 900 * 1024
"""JSON text of one page; the rest of a 1 MiB frame is for the fields around it."""

MESSAGE_FRAME = 700
"""Bytes of a message besides its text: ids of 128 characters and all."""

MAX_PROMPT_BYTES = 256 * 1024
"""A system prompt as JSON."""

PAGE = 50
"""Items of a page where the client names no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a client says of a session that it opens or changes; None: nothing."""

    title: str | None = None
    system_prompt: str | None = None
    model: str | None = None
    metadata: dict[str, object] | None = None


class Library:
    """All that clients do with sessions, but for asking in them.

    Args:
        store: Where they are.
        conversations: The turns that run in them.
    """

    def __init__(self, store: SessionStore, conversations: Conversations) -> None:
        self._store = store
        self._conversations = conversations

    async def open(self, owner: Identity, session_id: str | None, settings: Settings) -> Session:
        """The session of that id, made with these settings if it is new.

        Raises:
            WireError: If it can't be made, or the store is away.
        """
        _check_prompt(settings.system_prompt)
        now = wall_ms()
        session = Session(
            owner=owner.key,
            session_id=session_id or new_id("ses"),
            user_id=owner.user_id,
            created_at=now,
            updated_at=now,
            title=settings.title or None,
            system_prompt=settings.system_prompt or None,
            model=settings.model,
            metadata=settings.metadata,
            is_ephemeral=owner.is_anonymous,
        )
        opened, is_new = await or_refused(self._store.create(session))
        return opened if is_new else await self.get(owner.key, session.session_id)

    async def get(self, owner: str, session_id: str) -> Session:
        """A session that is there."""
        return await or_refused(self._store.get(owner, session_id))

    async def list_sessions(
        self, owner: str, *, cursor: str | None, limit: int | None, query: str | None
    ) -> SessionPage:
        """A page of the owner's sessions, last used first."""
        try:
            read = self._store.list_sessions(
                owner, cursor=cursor, limit=limit or PAGE, query=query or None
            )
            page = await or_refused(read, LONG_DEADLINE)
        except ValueError:
            raise bad_cursor() from None
        kept = fitting([_session_size(session) for session in page.sessions])
        if kept == len(page.sessions):
            return page
        # The page is cut by reading it again, shorter: the store alone makes cursors.
        return await or_refused(
            self._store.list_sessions(owner, cursor=cursor, limit=kept, query=query or None),
            LONG_DEADLINE,
        )

    async def history(
        self,
        owner: str,
        session_id: str,
        *,
        before: str | None = None,
        limit: int | None = None,
        branch: str | None = None,
    ) -> Branch:
        """A page of one branch: the newest, or the one that ends before ``before``."""
        end: str | None = None
        if before is not None:
            end = (await self.find(owner, session_id, before, "before")).parent_id
            if end is None:
                return Branch([], False)
        elif branch is not None:
            links = await or_refused(self._store.links(owner, session_id), LONG_DEADLINE)
            try:
                end = tree.newest_leaf(links, branch)
            except KeyError:
                raise unknown_message("branch") from None
        read = self._store.branch(
            owner, session_id, end=end, limit=limit or PAGE, max_bytes=2 * PAGE_BYTES
        )
        page = await or_refused(read)
        shown = self.shown(owner, session_id, page.messages)
        kept = fitting([message_size(message) for message in reversed(shown)])
        return Branch(shown[len(shown) - kept :], page.has_more or kept < len(shown))

    async def update(self, owner: str, session_id: str, settings: Settings) -> Session:
        """Change what is given."""
        _check_prompt(settings.system_prompt)
        changes = Changes(
            title=settings.title,
            system_prompt=settings.system_prompt,
            model=settings.model,
            metadata=settings.metadata,
        )
        return await or_refused(self._store.update(owner, session_id, changes, wall_ms()))

    async def clear(self, owner: str, session_id: str, by: str) -> None:
        """Delete a session's messages; what runs in it is stopped."""
        await self.get(owner, session_id)
        await self._conversations.stop(owner, session_id, by)
        await or_refused(self._store.clear(owner, session_id, wall_ms()), LONG_DEADLINE)

    async def delete(self, owner: str, session_id: str, by: str) -> None:
        """Delete a session; what runs in it is stopped."""
        await self.get(owner, session_id)
        await self._conversations.stop(owner, session_id, by)
        await or_refused(self._store.delete(owner, session_id), LONG_DEADLINE)

    async def delete_all(self, owner: str, by: str) -> int:
        """Delete all of an owner's sessions: he is gone for good.

        Raises:
            StoreUnavailable: If the store is away.
        """
        return await in_time(self._store.delete_owner(owner), LONG_DEADLINE)

    async def find_stream(self, owner: str, stream_id: str) -> tuple[str, str] | None:
        """Session and message that keep the text of a stream; None also if the store is away."""
        try:
            return await in_time(self._store.find_stream(owner, stream_id))
        except SessionError:
            return None

    async def find(self, owner: str, session_id: str, message_id: str, field: str) -> Message:
        """One message, named by a field of the request."""
        try:
            return await in_time(self._store.find(owner, session_id, message_id))
        except MessageNotFound:
            raise unknown_message(field) from None
        except SessionError as error:
            raise refusal(error) from error

    def standing(self, owner: str, session_id: str, messages: Sequence[Message]) -> list[Message]:
        """Messages as they stand at this moment: running answers with the text they have."""
        live, now = self._conversations.live(owner, session_id), wall_ms()
        return [live.get(m.message_id) or read_now(m, now) for m in messages]

    def shown(self, owner: str, session_id: str, messages: Sequence[Message]) -> list[Message]:
        """The same, each small enough for a frame."""
        return [_small(message) for message in self.standing(owner, session_id, messages)]


def fitting(sizes: Sequence[int]) -> int:
    """How many of the first items fit into a page: at least one."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if count and total > PAGE_BYTES:
            return count
    return len(sizes)


def message_size(message: Message) -> int:
    return json_size(message.content) + MESSAGE_FRAME


def _session_size(session: Session) -> int:
    texts = (session.title, session.system_prompt, session.model, str(session.metadata))
    return sum(json_size(text) for text in texts if text) + MESSAGE_FRAME


def _small(message: Message) -> Message:
    """The message, cut where its text alone would not fit into a frame: the store has it whole."""
    content = message.content
    while (size := json_size(content)) > MAX_MESSAGE_BYTES:
        content = content[: len(content) * MAX_MESSAGE_BYTES // size - 1]
    return message if content is message.content else replace(message, content=content)


def _check_prompt(system_prompt: str | None) -> None:
    if system_prompt is not None and json_size(system_prompt) > MAX_PROMPT_BYTES:
        raise WireError(
            ErrorCode.PAYLOAD_TOO_LARGE,
            f"A system prompt may have at most {MAX_PROMPT_BYTES:,} bytes as JSON.",
            details=(FieldError(field="systemPrompt", message="is too large"),),
        )


def bad_cursor() -> WireError:
    return WireError(
        ErrorCode.INVALID_PARAMETERS,
        "This cursor is of no page.",
        details=(FieldError(field="cursor", message="was not made by this server"),),
    )
