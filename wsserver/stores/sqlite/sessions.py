"""The session store on SQLite.

Decides what each operation of the port is in SQL; each is one transaction. It does not decide
when a session may be used or by whom, beyond the owner that stands in every query.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from wsserver.core.sessions.model import (
    Bounds,
    Branch,
    Changes,
    Link,
    Message,
    Session,
    SessionPage,
)
from wsserver.core.sessions.store import MessageNotFound, SessionNotFound
from wsserver.core.wallclock import wall_ms
from wsserver.stores.sqlite import appends
from wsserver.stores.sqlite.database import Database
from wsserver.stores.sqlite.rows import (
    SESSION,
    message_of,
    metadata_text,
    session_of,
    sessions_after,
    within,
)

USE_STEP = 60_000
"""A use is noted at most once in so many milliseconds (or a tenth of a shorter TTL)."""

CLOSE_UNFINISHED = """
    UPDATE messages SET finish_reason = coalesce(finish_reason, 'error'), lease = NULL
    WHERE lease IS NOT NULL"""


class SqliteSessionStore:
    """Sessions in one file. Open with `SqliteSessionStore.open`.

    Args:
        database: The open file.
        bounds: The caps and the TTL.
        clock: The time of day in milliseconds.
    """

    def __init__(self, database: Database, bounds: Bounds, clock: Callable[[], int]) -> None:
        self._database = database
        self._bounds = bounds
        self._clock = clock
        self._ttl = round(bounds.ttl * 1000)
        self._use_step = min(USE_STEP, self._ttl // 10)

    @classmethod
    async def open(
        cls, path: Path, bounds: Bounds, clock: Callable[[], int] = wall_ms
    ) -> SqliteSessionStore:
        """Open or make the file at ``path``.

        Where no other process has it open, answers that a dead one was writing get the finish
        reason ``error``, and sessions of clients that are gone with it are deleted.

        Raises:
            OSError: If the file can't be made or opened.
            StoreUnavailable: If it can't be used.
            NewerSchema: If it is from a newer version.
        """

        def settle(db: sqlite3.Connection) -> None:
            db.execute(CLOSE_UNFINISHED)
            db.execute("DELETE FROM sessions WHERE is_ephemeral")

        return cls(await Database.open(path, settle), bounds, clock)

    async def create(self, session: Session) -> tuple[Session, bool]:
        def work(db: sqlite3.Connection) -> tuple[Session, bool]:
            self._expire(db)
            row = self._row(db, session.owner, session.session_id)
            if row is not None:
                return session_of(row), False
            appends.check_count(db, session.owner, self._bounds.max_sessions)
            db.execute(
                "INSERT INTO sessions (owner, session_id, user_id, title, system_prompt, model,"
                " metadata, created_at, updated_at, used_at, touched, is_ephemeral)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    session.owner,
                    session.session_id,
                    session.user_id,
                    session.title or None,
                    session.system_prompt or None,
                    session.model or None,
                    metadata_text(session.metadata),
                    session.created_at,
                    session.updated_at,
                    self._clock(),
                    appends.next_touch(db),
                    session.is_ephemeral,
                ),
            )
            return session_of(self._require(db, session.owner, session.session_id)), True

        return await self._database.write(work)

    async def get(self, owner: str, session_id: str) -> Session:
        row = await self._database.read(lambda db: self._require(db, owner, session_id))
        await self._use(row)
        return session_of(row)

    async def update(self, owner: str, session_id: str, changes: Changes, now: int) -> Session:
        def work(db: sqlite3.Connection) -> Session:
            key = self._require(db, owner, session_id)["id"]
            given: dict[str, str | None] = {
                "title": changes.title,
                "system_prompt": changes.system_prompt,
                "model": changes.model,
            }
            if changes.metadata is not None:
                given["metadata"] = metadata_text(changes.metadata) or ""
            for column, value in given.items():
                if value is not None:
                    db.execute(
                        f"UPDATE sessions SET {column} = ? WHERE id = ?", (value or None, key)
                    )
            appends.touch(db, key, now, self._clock())
            return session_of(self._require(db, owner, session_id))

        return await self._database.write(work)

    async def list_sessions(
        self, owner: str, *, cursor: str | None, limit: int, query: str | None
    ) -> SessionPage:
        before = 2**62 if cursor is None else int(cursor)

        def work(db: sqlite3.Connection) -> SessionPage:
            rows = db.execute(
                f"SELECT {SESSION} FROM sessions s WHERE owner = :owner AND touched < :before"
                " AND used_at >= :oldest AND (:query IS NULL"
                "  OR instr(lower(coalesce(s.title, '')), lower(:query))"
                "  OR EXISTS (SELECT 1 FROM messages m WHERE m.session = s.id"
                "             AND instr(lower(m.content), lower(:query))))"
                " ORDER BY touched DESC LIMIT :limit",
                {
                    "owner": owner,
                    "before": before,
                    "oldest": self._oldest(),
                    "query": query or None,
                    "limit": limit + 1,
                },
            ).fetchall()
            page = rows[:limit]
            more = str(page[-1]["touched"]) if len(rows) > limit else None
            return SessionPage([session_of(row) for row in page], more)

        # A search reads all of an owner's text: it must not hold up anyone's append.
        return await (self._database.read_long if query else self._database.read)(work)

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
        def work(db: sqlite3.Connection) -> Session:
            row = self._require(db, owner, session_id)
            appends.append(db, row, messages, self._bounds, after_newest=after_newest, title=title)
            appends.touch(db, row["id"], now, self._clock())
            return session_of(self._require(db, owner, session_id))

        return await self._database.write(work)

    async def revise(
        self,
        owner: str,
        session_id: str,
        message: Message,
        *,
        instead_of: Collection[str] | None = None,
    ) -> None:
        def work(db: sqlite3.Connection) -> None:
            row = self._require(db, owner, session_id)
            appends.revise(db, row["id"], message, self._clock(), instead_of)

        await self._database.write(work)

    async def branch(
        self,
        owner: str,
        session_id: str,
        *,
        end: str | None = None,
        limit: int,
        max_bytes: int = 0,
    ) -> Branch:
        def work(db: sqlite3.Connection) -> tuple[sqlite3.Row, Branch]:
            row = self._require(db, owner, session_id)
            if end is not None:
                self._require_message(db, row["id"], end)
            rows = db.execute(
                "WITH RECURSIVE up (position, parent_id, depth) AS ("
                " SELECT position, parent_id, 1 FROM messages"
                "  WHERE session = :session AND message_id = :end"
                " UNION ALL SELECT m.position, m.parent_id, depth + 1 FROM up"
                "  JOIN messages m ON m.session = :session AND m.message_id = up.parent_id"
                "  WHERE depth < :limit)"
                " SELECT m.* FROM up JOIN messages m"
                "  ON m.session = :session AND m.position = up.position ORDER BY depth",
                {"session": row["id"], "end": end or row["newest"], "limit": limit},
            )
            found = within(rows, max_bytes)
            found.reverse()
            return row, Branch(found, bool(found) and found[0].parent_id is not None)

        row, branch = await self._database.read(work)
        await self._use(row)
        return branch

    async def messages(
        self, owner: str, session_id: str, *, start: int, limit: int, max_bytes: int = 0
    ) -> Branch:
        def work(db: sqlite3.Connection) -> tuple[sqlite3.Row, Branch]:
            row = self._require(db, owner, session_id)
            rows = db.execute(
                "SELECT * FROM messages WHERE session = ? AND position >= ?"
                " ORDER BY position LIMIT ?",
                (row["id"], start, limit),
            )
            found = within(rows, max_bytes)
            return row, Branch(found, start + len(found) < row["messages"])

        row, page = await self._database.read_long(work)
        await self._use(row)
        return page

    async def links(self, owner: str, session_id: str) -> list[Link]:
        def work(db: sqlite3.Connection) -> list[Link]:
            row = self._require(db, owner, session_id)
            rows = db.execute(
                "SELECT message_id, parent_id FROM messages WHERE session = ? ORDER BY position",
                (row["id"],),
            )
            return [Link(*row) for row in rows]

        return await self._database.read(work)

    async def find(self, owner: str, session_id: str, message_id: str) -> Message:
        def work(db: sqlite3.Connection) -> Message:
            key = self._require(db, owner, session_id)["id"]
            return message_of(self._require_message(db, key, message_id))

        return await self._database.read(work)

    async def find_stream(self, owner: str, stream_id: str) -> tuple[str, str] | None:
        def work(db: sqlite3.Connection) -> tuple[str, str] | None:
            row = db.execute(
                "SELECT s.session_id, m.message_id FROM messages m JOIN sessions s"
                " ON s.id = m.session WHERE m.stream_id = ? AND s.owner = ? AND s.used_at >= ?",
                (stream_id, owner, self._oldest()),
            ).fetchone()
            return None if row is None else (row[0], row[1])

        return await self._database.read(work)

    async def clear(self, owner: str, session_id: str, now: int) -> None:
        def work(db: sqlite3.Connection) -> None:
            key = self._require(db, owner, session_id)["id"]
            db.execute("DELETE FROM messages WHERE session = ?", (key,))
            db.execute("UPDATE sessions SET messages = 0, size = 0 WHERE id = ?", (key,))
            appends.touch(db, key, now, self._clock())

        await self._database.write(work)

    async def delete(self, owner: str, session_id: str) -> None:
        def work(db: sqlite3.Connection) -> None:
            key = self._require(db, owner, session_id)["id"]
            db.execute("DELETE FROM sessions WHERE id = ?", (key,))

        await self._database.write(work)

    async def delete_owner(self, owner: str) -> int:
        return await self._database.write(
            lambda db: db.execute("DELETE FROM sessions WHERE owner = ?", (owner,)).rowcount
        )

    async def expire(self) -> int:
        return await self._database.write(self._expire)

    async def all_sessions(self) -> AsyncIterator[Session]:
        last = -1
        while True:
            rows = await self._database.read_long(partial(sessions_after, touched=last))
            if not rows:
                return
            for row in rows:
                yield session_of(row)
            last = rows[-1]["touched"]

    async def close(self) -> None:
        await self._database.close()

    def _oldest(self) -> int:
        """Sessions last used before this are expired."""
        return self._clock() - self._ttl if self._ttl else -(2**62)

    def _expire(self, db: sqlite3.Connection) -> int:
        if not self._ttl:
            return 0
        return db.execute("DELETE FROM sessions WHERE used_at < ?", (self._oldest(),)).rowcount

    async def _use(self, row: sqlite3.Row) -> None:
        now = self._clock()
        if self._ttl and row["used_at"] < now - self._use_step:
            await self._database.write(
                lambda db: db.execute(
                    "UPDATE sessions SET used_at = ? WHERE id = ?", (now, row["id"])
                )
            )

    def _row(self, db: sqlite3.Connection, owner: str, session_id: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = db.execute(
            f"SELECT {SESSION} FROM sessions s WHERE owner = ? AND session_id = ? AND used_at >= ?",
            (owner, session_id, self._oldest()),
        ).fetchone()
        return row

    def _require(self, db: sqlite3.Connection, owner: str, session_id: str) -> sqlite3.Row:
        row = self._row(db, owner, session_id)
        if row is None:
            raise SessionNotFound(session_id)
        return row

    def _require_message(
        self, db: sqlite3.Connection, session: int, message_id: str
    ) -> sqlite3.Row:
        row: sqlite3.Row | None = db.execute(
            "SELECT * FROM messages WHERE session = ? AND message_id = ?", (session, message_id)
        ).fetchone()
        if row is None:
            raise MessageNotFound(message_id)
        return row
