"""The session store on SQLite: the contract, and what only a file can do."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import pytest

from tests.contracts.session_keeping import SessionKeepingContract
from tests.contracts.session_samples import ALICE, Clock, MakeStore, chain, message, session
from tests.contracts.session_store import SessionStoreContract
from wsserver.core.sessions.model import Bounds
from wsserver.core.sessions.store import SessionNotFound, StoreUnavailable
from wsserver.stores.sqlite import SqliteSessionStore
from wsserver.stores.sqlite.database import NewerSchema
from wsserver_protocol.lifecycle import FinishReason


class TestSqliteSessionStore(SessionStoreContract, SessionKeepingContract):
    """The contract on a file."""

    @pytest.fixture
    async def make(self, tmp_path: Path, clock: Clock) -> AsyncIterator[MakeStore]:
        """Stores on one file, closed in the end."""
        opened: list[SqliteSessionStore] = []

        async def make(bounds: Bounds) -> SqliteSessionStore:
            opened.append(await SqliteSessionStore.open(tmp_path / "sessions.db", bounds, clock))
            return opened[-1]

        yield make
        for store in opened:
            await store.close()


async def test_history_survives_a_new_opening(tmp_path: Path) -> None:
    """What was appended is there after the file was closed and opened again."""
    path = tmp_path / "sessions.db"
    store = await SqliteSessionStore.open(path, Bounds())
    await store.create(session("s"))
    await store.append(ALICE, "s", chain("a", "b"), 1)
    await store.close()
    store = await SqliteSessionStore.open(path, Bounds())
    assert len(await store.links(ALICE, "s")) == 2
    await store.close()


async def test_first_opener_settles_what_a_dead_process_left(tmp_path: Path) -> None:
    """Leased messages become errors and ephemeral sessions go, but not under a living process."""
    path = tmp_path / "sessions.db"
    first = await SqliteSessionStore.open(path, Bounds())
    await first.create(session("s"))
    await first.create(session("e", is_ephemeral=True))
    await first.append(ALICE, "s", [message("a", role="assistant", lease=1)], 1)
    second = await SqliteSessionStore.open(path, Bounds())
    assert (await second.find(ALICE, "s", "a")).finish_reason is None
    await first.close()
    await second.close()
    third = await SqliteSessionStore.open(path, Bounds())
    left = await third.find(ALICE, "s", "a")
    assert (left.finish_reason, left.lease) == (FinishReason.ERROR, None)
    with pytest.raises(SessionNotFound):
        await third.get(ALICE, "e")
    await third.close()


async def test_two_processes_may_share_the_file(tmp_path: Path) -> None:
    """Two connections append in turn, and each sees the other's messages."""
    path = tmp_path / "sessions.db"
    one = await SqliteSessionStore.open(path, Bounds())
    two = await SqliteSessionStore.open(path, Bounds())
    await one.create(session("s"))
    await asyncio.gather(
        *(
            store.append(ALICE, "s", [message(f"{name}{number}")], 1, after_newest=True)
            for number in range(20)
            for name, store in (("one", one), ("two", two))
        )
    )
    assert await one.links(ALICE, "s") == await two.links(ALICE, "s")
    assert (await one.get(ALICE, "s")).message_count == 40
    await one.close()
    await two.close()


async def test_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """A file from the future is left as it is."""
    path = tmp_path / "sessions.db"
    await (await SqliteSessionStore.open(path, Bounds())).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(NewerSchema, match="99"):
        await SqliteSessionStore.open(path, Bounds())


async def test_file_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """A file made by version 1 keeps its messages and takes new ones."""
    path = tmp_path / "sessions.db"
    script = files("wsserver.stores.sqlite").joinpath("schema.sql").read_text("utf-8")
    db = sqlite3.connect(path)
    db.executescript(script)
    db.execute("PRAGMA user_version = 1")
    db.execute(
        "INSERT INTO sessions (owner, session_id, user_id, created_at, updated_at, used_at,"
        " touched, messages, size) VALUES (?, 's', 'alice', 1, 1, 1, 1, 1, 2)",
        (ALICE,),
    )
    db.execute(
        "INSERT INTO messages (session, position, message_id, role, content, size, timestamp)"
        " VALUES (1, 0, 'a', 'user', 'hi', 2, 1)"
    )
    db.commit()
    db.close()
    store = await SqliteSessionStore.open(path, Bounds())
    await store.append(ALICE, "s", [message("b", "a", asked="{}")], 2)
    found = await store.branch(ALICE, "s", limit=5)
    assert [(m.message_id, m.asked) for m in found.messages] == [("a", None), ("b", "{}")]
    await store.close()


async def test_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    """Someone else's file is neither used nor overwritten."""
    path = tmp_path / "sessions.db"
    path.write_text("These are my notes, please do not touch them. " * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await SqliteSessionStore.open(path, Bounds())
    assert path.read_text().startswith("These are my notes")


async def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The operating system says why, with the path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as refused:
        await SqliteSessionStore.open(tmp_path / "file" / "sessions.db", Bounds())
    assert str(refused.value.filename).startswith(str(tmp_path / "file"))


async def test_other_users_of_the_machine_can_not_read_it(tmp_path: Path) -> None:
    """Conversations are private: the folder and the file are their owner's alone."""
    path = tmp_path / "data" / "sessions.db"
    store = await SqliteSessionStore.open(path, Bounds())
    await store.create(session("s"))
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) & 0o077 for p in path.parent.iterdir()}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert set(modes.values()) == {0}, modes
    await store.close()


async def test_closed_store_is_unavailable(tmp_path: Path) -> None:
    """A call after the end says so, and does not hang."""
    store = await SqliteSessionStore.open(tmp_path / "sessions.db", Bounds())
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.get(ALICE, "s")
