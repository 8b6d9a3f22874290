"""A session store that fails when told, around a real one: SQLite, worked on in the loop's thread.

Nothing of what the store does is imitated; only its calls are counted and, at chosen ones, the
error of a lost connection is raised before the work, after it, or instead of an answer.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, cast

from wsserver.core.sessions.model import Bounds
from wsserver.core.sessions.store import SessionStore, StoreUnavailable
from wsserver.stores.sqlite.database import Database, Result
from wsserver.stores.sqlite.sessions import SqliteSessionStore

Fault = Literal["before", "after", "hang"]
"""Whether the work is done when the call fails; a hanging call never returns, its work is done."""


class InlineDatabase(Database):
    """A file that is worked on without threads, so that virtual time need not wait for them."""

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        await asyncio.sleep(0)
        try:
            return work()
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(str(error)) from error

    async def close(self) -> None:
        for db in (self._reader.db, self._long_reader.db, self._db):
            if db is not None:
                db.close()
        if self._lock is not None:
            os.close(self._lock)


class FaultyStore:
    """Passes every call on, and counts it."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self.calls: list[str] = []
        self.faults: dict[int, Fault] = {}  # by number of the call, from 0
        self.is_down = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            fault = self.faults.get(len(self.calls))
            self.calls.append(name)
            if self.is_down or fault == "before":
                raise StoreUnavailable("down, by the test")
            done: Awaitable[Any] = method(*args, **kwargs)
            result = await done
            if fault == "after":
                raise StoreUnavailable("the answer was lost, by the test")
            if fault == "hang":
                await asyncio.get_running_loop().create_future()
            return result

        return call


async def faulty_store(
    path: Path, bounds: Bounds | None = None
) -> tuple[FaultyStore, SessionStore]:
    """A store that can be told to fail, and the real one behind it."""
    database = await InlineDatabase.open(path, lambda db: None)
    real = SqliteSessionStore(database, bounds or Bounds(), lambda: 1_800_000_000_000)
    return FaultyStore(real), cast(SessionStore, real)
