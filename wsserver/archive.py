"""Sessions out of a store, into one, and from one to another: the work of ``wsserver sessions``.

A file holds one session a line, as JSON, with all its branches. Whatever is written can be
written again: messages are known by their ids, so that a broken-off import or move is finished by
starting it once more. Caps are not looked at here: the operator is moving what is there already.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import BinaryIO

import msgspec

from wsserver.config import Config
from wsserver.core.sessions import tree
from wsserver.core.sessions.model import Bounds, Link, Message, Session
from wsserver.core.sessions.store import SessionError, SessionStore
from wsserver.core.wallclock import wall_ms
from wsserver.stores.sessions import open_session_store, open_store_at
from wsserver.stores.sqlite.database import NewerSchema
from wsserver_protocol.lifecycle import FinishReason

COPIED_AT_ONCE, BYTES_AT_ONCE = 500, 4 * 1024 * 1024
"""Messages and bytes of text that are held at a time."""

DAY_MS = 86_400_000


class ArchiveError(Exception):
    """The work can't be done; ``str(error)`` says why, for people."""


class Record(msgspec.Struct, frozen=True):
    """One line of a file."""

    session: Session
    messages: list[Message] = []


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions are meant: all that fit every condition that is set."""

    user: str | None = None
    older_than_days: float | None = None

    def has(self, session: Session, now: int) -> bool:
        """Whether a session is meant."""
        if self.user is not None and session.user_id != self.user:
            return False
        age = now - session.updated_at
        return self.older_than_days is None or age > self.older_than_days * DAY_MS


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[SessionStore]:
    """The store of a configuration, for the length of the block.

    Raises:
        ArchiveError: If it can't be used.
    """
    try:
        store = await open_session_store(config)
    except (SessionError, NewerSchema) as error:
        raise ArchiveError(f"the store of sessions can't be used: {error}") from error
    try:
        yield store
    except SessionError as error:
        raise ArchiveError(f"the store of sessions can't be used: {error}") from error
    finally:
        await store.close()


async def export(store: SessionStore, selection: Selection, file: BinaryIO) -> int:
    """Write the selected sessions to a file, a line each. Returns how many."""
    count, now = 0, wall_ms()
    async for session in store.all_sessions():
        if session.is_ephemeral or not selection.has(session, now):
            continue
        messages: list[Message] = []
        async for page in _pages(store, session):
            messages += page
        file.write(msgspec.json.encode(Record(session, messages)) + b"\n")
        count += 1
    return count


async def take_in(store: SessionStore, file: BinaryIO) -> int:
    """Add the sessions of a file. Returns how many lines were read.

    Raises:
        ArchiveError: Naming the first line that is wrong; those before it are in the store.
    """
    number = 0
    for number, line in enumerate(file, start=1):
        try:
            record = msgspec.json.decode(line, type=Record)
        except msgspec.MsgspecError as error:
            raise ArchiveError(f"line {number}: {error}") from error
        wrong = tree.out_of_order([Link(m.message_id, m.parent_id) for m in record.messages])
        if wrong is not None:
            raise ArchiveError(f"line {number}: message {wrong!r} comes twice or before its parent")
        await _add(store, record.session, record.messages)
    return number


async def purge(store: SessionStore, selection: Selection) -> int:
    """Delete the selected sessions. Returns how many."""
    now = wall_ms()
    # All first, then delete: a store need not bear changes while it is gone through.
    wanted = [s async for s in store.all_sessions() if selection.has(s, now)]
    for session in wanted:
        await store.delete(session.owner, session.session_id)
    return len(wanted)


async def move(source: SessionStore, target: str, ttl: float, told: Callable[[int], None]) -> int:
    """Copy every session to the store at an address. Returns how many.

    Args:
        source: Where they are; nothing is taken out of it.
        target: A redis://, rediss:// or unix:// address, or the path of a SQLite file.
        ttl: Seconds after which the target forgets what is not used; 0: never.
        told: Called now and then with the number so far.

    Raises:
        ArchiveError: If the target can't be used.
    """
    try:
        store = await open_store_at(target, Bounds(ttl=ttl))
    except (SessionError, NewerSchema, ValueError) as error:
        raise ArchiveError(f"{target}: {error}") from error
    count = 0
    try:
        async for session in source.all_sessions():
            if session.is_ephemeral:
                continue
            is_new = await _add(store, session, [])
            async for page in _pages(source, session):
                await store.append(session.owner, session.session_id, page, session.updated_at)
                if not is_new:
                    await _finish(store, session, page)
            count += 1
            if count % 100 == 0:
                told(count)
    finally:
        await store.close()
    return count


async def _finish(store: SessionStore, session: Session, messages: list[Message]) -> None:
    """Write anew what was still being written when it was copied before."""
    for message in messages:
        if message.role != "assistant":
            continue
        kept = await store.find(session.owner, session.session_id, message.message_id)
        # Opening the target may have ended it as an error meanwhile.
        is_unfinished = kept.finish_reason in (None, FinishReason.ERROR)
        if is_unfinished and kept != message and message.content.startswith(kept.content):
            await store.revise(session.owner, session.session_id, message)


async def _add(store: SessionStore, session: Session, messages: list[Message]) -> bool:
    """Add what is not there yet. Returns whether the session is new."""
    _, is_new = await store.create(session)
    for start in range(0, len(messages), COPIED_AT_ONCE):
        page = messages[start : start + COPIED_AT_ONCE]
        await store.append(session.owner, session.session_id, page, session.updated_at)
    return is_new


async def _pages(store: SessionStore, session: Session) -> AsyncIterator[list[Message]]:
    start = 0
    while True:
        page = await store.messages(
            session.owner,
            session.session_id,
            start=start,
            limit=COPIED_AT_ONCE,
            max_bytes=BYTES_AT_ONCE,
        )
        if page.messages:
            yield page.messages
        if not page.has_more:
            return
        start += len(page.messages)
