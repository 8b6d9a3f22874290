"""Sessions copied: into a new one, out as a document, in from one.

Decides how a document is paged and what of one is taken in. A copy that can't be finished leaves
no new session behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wsserver.core.identity import Identity
from wsserver.core.sessions import tree
from wsserver.core.sessions.library import (
    PAGE_BYTES,
    Library,
    Settings,
    bad_cursor,
    fitting,
    message_size,
)
from wsserver.core.sessions.model import Link, Message, Session
from wsserver.core.sessions.refusals import LONG_DEADLINE, in_time, or_refused, unknown_message
from wsserver.core.sessions.store import SessionError, SessionStore
from wsserver.core.wallclock import wall_ms
from wsserver_protocol.errors import ErrorCode, FieldError, WireError
from wsserver_protocol.lifecycle import FinishReason

COPIED_AT_ONCE = 200
"""Messages that are read and written in one step."""


class Documents:
    """Copies of sessions.

    Args:
        store: Where they are.
        library: Opens and reads them.
    """

    def __init__(self, store: SessionStore, library: Library) -> None:
        self._store = store
        self._library = library

    async def fork(self, owner: Identity, session_id: str, message_id: str) -> Session:
        """A new session with a copy of the branch that ends at a message."""
        source = await self._library.get(owner.key, session_id)
        links = await or_refused(self._store.links(owner.key, session_id), LONG_DEADLINE)
        if message_id not in dict(links):
            raise unknown_message("messageId")
        ids = tree.path(links, message_id)
        settings = Settings(
            title=source.title,
            system_prompt=source.system_prompt,
            model=source.model,
            metadata=source.metadata,
        )
        copy = await self._library.open(owner, None, settings)
        try:
            done = 0
            while done < len(ids):
                wanted = ids[done : done + COPIED_AT_ONCE]
                reads = (self._store.find(owner.key, session_id, own) for own in wanted)
                messages = [await or_refused(read) for read in reads]
                standing = self._library.standing(owner.key, session_id, messages)
                copies = [_copied(message) for message in standing]
                copy = await self._append(owner.key, copy.session_id, copies)
                done += len(wanted)
        except WireError:
            await self._discard(owner.key, copy.session_id)
            raise
        return copy

    async def everything(
        self, owner: str, session_id: str, cursor: str | None
    ) -> tuple[Session, list[Message], str | None]:
        """A page of all branches, each message after its parent, and the next page's cursor."""
        start = _number(cursor)
        session = await self._library.get(owner, session_id)
        read = self._store.messages(
            owner, session_id, start=start, limit=1000, max_bytes=PAGE_BYTES
        )
        page = await or_refused(read, LONG_DEADLINE)
        shown = self._library.shown(owner, session_id, page.messages)
        kept = fitting([message_size(message) for message in shown])
        has_more = page.has_more or kept < len(shown)
        return session, shown[:kept], str(start + kept) if has_more else None

    async def active_branch(
        self, owner: str, session_id: str, cursor: str | None
    ) -> tuple[Session, list[Message], str | None]:
        """A page of the active branch from its beginning, and the next page's cursor."""
        start = _number(cursor)
        session = await self._library.get(owner, session_id)
        links = await or_refused(self._store.links(owner, session_id), LONG_DEADLINE)
        ids = tree.path(links, links[-1].message_id) if links else []
        messages: list[Message] = []
        size = 0
        for message_id in ids[start : start + COPIED_AT_ONCE]:
            message = await self._library.find(owner, session_id, message_id, "cursor")
            shown = self._library.shown(owner, session_id, [message])
            size += message_size(shown[0])
            if messages and size > PAGE_BYTES:
                break
            messages += shown
        following = start + len(messages)
        return session, messages, str(following) if following < len(ids) else None

    async def take_in(
        self,
        owner: Identity,
        session_id: str | None,
        settings: Settings,
        messages: Sequence[Message],
    ) -> Session:
        """A session made of a document, or a further page of one into a session that is there.

        Raises:
            WireError: ``invalid_parameters`` if a message comes before its parent or twice; the
                caps' refusals. A new session is not left behind then.
        """
        known: set[str] = set()
        is_there = session_id is not None and await self._is_there(owner.key, session_id)
        if is_there and session_id is not None:
            links = await or_refused(self._store.links(owner.key, session_id), LONG_DEADLINE)
            known = {link.message_id for link in links}
        wrong = tree.out_of_order([Link(m.message_id, m.parent_id) for m in messages], known)
        if wrong is not None:
            index = next(i for i, m in enumerate(messages) if m.message_id == wrong)
            raise WireError(
                ErrorCode.INVALID_PARAMETERS,
                "Each message must come once, and after its parent.",
                details=(
                    FieldError(
                        field=f"data.messages[{index}]", message="comes twice, or before its parent"
                    ),
                ),
            )
        session = await self._library.open(owner, session_id, settings)
        try:
            return await self._append(owner.key, session.session_id, messages)
        except WireError:
            if not is_there:
                await self._discard(owner.key, session.session_id)
            raise

    async def _append(self, owner: str, session_id: str, messages: Sequence[Message]) -> Session:
        append = self._store.append(owner, session_id, messages, wall_ms())
        return await or_refused(append, LONG_DEADLINE)

    async def _discard(self, owner: str, session_id: str) -> None:
        """Take back a session that was made for nothing; if that fails, it stays empty."""
        try:
            await in_time(self._store.delete(owner, session_id), LONG_DEADLINE)
        except SessionError:
            return

    async def _is_there(self, owner: str, session_id: str) -> bool:
        try:
            await self._library.get(owner, session_id)
        except WireError as error:
            if error.code is not ErrorCode.SESSION_NOT_FOUND:
                raise
            return False
        return True


def _copied(message: Message) -> Message:
    """A message for another session; of an answer that is being made, what it has said so far."""
    reason = message.finish_reason if message.lease is None else FinishReason.STOPPED
    return replace(message, finish_reason=reason, stream_id=None, lease=None)


def _number(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 15:
        raise bad_cursor()
    return int(cursor)
