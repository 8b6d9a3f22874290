"""One SQLite file, worked on from threads of its own.

Decides how the file is opened, guarded and brought up to date, and that each piece of work is one
transaction in one thread. That is why this is `sqlite3` and not a wrapper that awaits statement
by statement: a request that is cancelled between two awaits would leave a transaction open, and
two requests would share one. It knows nothing of sessions.

WAL with ``synchronous=NORMAL``: a commit is in the operating system's hands when it returns, so
that a killed process loses nothing; a power cut may lose the last commits and never the file.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from wsserver.core.sessions.store import StoreUnavailable

Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], Result]

VERSION = 2
"""Of the schema. A step to the next one goes into `MIGRATIONS`."""

MIGRATIONS: dict[int, str] = {0: "schema.sql", 1: "asked.sql"}
"""Version to the script that leads to the next one."""

BUSY_MS = 1000
"""How long a write waits for another process that shares the file."""


class NewerSchema(Exception):
    """The file was written by a newer version of this program."""


class Database:
    """A file with a thread for writes, one for reads, one for long reads: a write that waits for
    another process holds up no read, a search no history. Open with `Database.open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.was_alone = False  # at the opening: nobody else had the file open
        self._lock: int | None = None
        self._db: sqlite3.Connection | None = None
        self._writer = ThreadPoolExecutor(1, "sqlite-writer")
        self._reader = _Reader(path, "sqlite-reader")
        self._long_reader = _Reader(path, "sqlite-long-reader")

    @classmethod
    async def open(cls, path: Path, on_alone: Work[object]) -> Database:
        """Open the file, made if need be, and bring its schema up to date.

        Args:
            path: The file.
            on_alone: Run once where no other process has the file open: what a dead one left
                unfinished can be told from the work of a living one only then.

        Raises:
            OSError: If the file can't be made or opened.
            StoreUnavailable: If it can be opened and not used.
            NewerSchema: If it is from a newer version.
        """
        database = cls(path)
        try:
            await database._in(database._writer, lambda: database._open(on_alone))
        except BaseException:
            await database.close()
            raise
        return database

    async def write(self, work: Work[Result]) -> Result:
        """Run ``work`` as one transaction that may write. It runs to its end, also if nobody
        waits for it any more."""
        return await self._in(self._writer, lambda: _transact(self._open_db(), "IMMEDIATE", work))

    async def read(self, work: Work[Result]) -> Result:
        """Run ``work`` on one state of the file: that of the last write that has returned."""
        return await self._in(self._reader.pool, lambda: self._reader.run(work))

    async def read_long(self, work: Work[Result]) -> Result:
        """The same for what may take seconds."""
        return await self._in(self._long_reader.pool, lambda: self._long_reader.run(work))

    async def close(self) -> None:
        """Wait for what runs, then close the file. Idempotent."""
        loop = asyncio.get_running_loop()
        for pool in (self._reader.pool, self._long_reader.pool, self._writer):
            await loop.run_in_executor(None, pool.shutdown)
        for db in (self._reader.db, self._long_reader.db, self._db):
            if db is not None:
                db.close()
        self._db = self._reader.db = self._long_reader.db = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, work)
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # a fault of ours
        except (sqlite3.Error, RuntimeError) as error:  # RuntimeError: the pool is shut down
            raise StoreUnavailable(f"{self.path.name}: {error}") from error

    def _open_db(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.OperationalError("the file is closed")
        return self._db

    def _open(self, on_alone: Work[object]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made here and not by SQLite: it would be readable by all, and its errors name no reason.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self._lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        self.was_alone = _lock_alone(self._lock)
        try:
            self._db = _connect(self.path)
            _migrate(self._db)
            if self.was_alone:
                _transact(self._db, "IMMEDIATE", on_alone)
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_SH)


class _Reader:
    """A thread with a connection of its own, opened when it is first needed."""

    def __init__(self, path: Path, name: str) -> None:
        self.pool = ThreadPoolExecutor(1, name)
        self.db: sqlite3.Connection | None = None
        self._path = path

    def run(self, work: Work[Result]) -> Result:
        if self.db is None:
            self.db = _connect(self._path)
        return _transact(self.db, "DEFERRED", work)


def _connect(path: Path) -> sqlite3.Connection:
    # Each connection is used by one thread; which one, the check can't know before the first use.
    db = sqlite3.connect(
        path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
    )
    db.row_factory = sqlite3.Row
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        db.execute(f"PRAGMA {pragma}")
    return db


def _transact(db: sqlite3.Connection, mode: str, work: Work[Result]) -> Result:
    db.execute(f"BEGIN {mode}")
    try:
        result = work(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return result


def _migrate(db: sqlite3.Connection) -> None:
    def step(db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise NewerSchema(
                f"the database is of version {version}, this program knows {VERSION} at most"
            )
        while version < VERSION:
            script = files(__package__).joinpath(MIGRATIONS[version]).read_text("utf-8")
            # Not executescript: that commits first, and a migration is all or nothing.
            for statement in script.split(";"):
                db.execute(statement)
            version += 1
            db.execute(f"PRAGMA user_version = {version}")

    _transact(db, "IMMEDIATE", step)


def _lock_alone(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        fcntl.flock(lock, fcntl.LOCK_SH)
        return False
    return True
