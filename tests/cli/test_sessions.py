"""``wsserver sessions``: out of a store, into one, and from SQLite to Redis."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contracts.session_samples import ALICE, BOB, chain, message, session
from tests.support.redis import redis_is_installed, running_redis
from wsserver.cli import main
from wsserver.core.sessions.model import Bounds, Link
from wsserver.core.wallclock import wall_ms
from wsserver.stores.sqlite import SqliteSessionStore

DAY_MS = 86_400_000


@pytest.fixture
async def data(tmp_path: Path) -> AsyncIterator[Path]:
    """A data folder with two sessions of Alice, one of Bob, one of a client alone."""
    folder = tmp_path / "data"
    now = wall_ms()
    store = await SqliteSessionStore.open(folder / "sessions.db", Bounds())
    await store.create(session("old", updated_at=now - 100 * DAY_MS, title="Old 🎻"))
    await store.create(session("new", updated_at=now, metadata={"k": [1]}))
    await store.append(ALICE, "new", [*chain("a", "b"), message("b2", "a", tokens=3)], now)
    await store.create(session("bobs", BOB, updated_at=now))
    await store.close()
    yield folder


async def open_data(folder: Path) -> SqliteSessionStore:
    """The store of a data folder."""
    return await SqliteSessionStore.open(folder / "sessions.db", Bounds())


def run(*arguments: str, data: Path) -> int:
    """Run ``wsserver sessions``, with nothing but a data folder set."""
    action, *rest = arguments
    return main(["sessions", action, "--data-dir", str(data), *rest])


async def ids(folder: Path) -> list[str]:
    """Ids of all sessions in a data folder."""
    store = await open_data(folder)
    found = [s.session_id async for s in store.all_sessions()]
    await store.close()
    return found


def test_export_and_import_keep_everything(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of all sessions, taken in twice by an empty store, gives the same sessions once."""
    import asyncio

    file = tmp_path / "all.jsonl"
    assert run("export", "--output", str(file), data=data) == 0
    assert "3 sessions exported" in capsys.readouterr().err
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["session"]["session_id"] for line in lines] == ["old", "new", "bobs"]
    other = tmp_path / "other"
    for _ in range(2):
        assert run("import", str(file), data=other) == 0

    async def compare() -> None:
        before, after = await open_data(data), await open_data(other)
        async for one in before.all_sessions():
            assert await after.get(one.owner, one.session_id) == one
        found = await after.messages(ALICE, "new", start=0, limit=10)
        assert found == await before.messages(ALICE, "new", start=0, limit=10)
        await before.close()
        await after.close()

    asyncio.run(compare())


def test_export_of_one_user_goes_to_standard_output(
    data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Sessions on standard output, the count on standard error."""
    assert run("export", "--user", "bob", data=data) == 0
    out, err = capfd.readouterr()
    assert [json.loads(line)["session"]["session_id"] for line in out.splitlines()] == ["bobs"]
    assert err == "1 session exported\n"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("no json", "line 1: "),
        ('{"session": {"owner": "x"}}', "missing required field"),
        (
            '{"session": {"owner": "x", "session_id": "s", "user_id": "x", "created_at": 1,'
            ' "updated_at": 1}, "messages": [{"message_id": "b", "parent_id": "a", "role":'
            ' "user", "content": "", "timestamp": 1}]}',
            "'b' comes twice or before its parent",
        ),
    ],
)
def test_wrong_file_is_named_by_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, fault: str
) -> None:
    """A file that is none of ours ends with one sentence and exit code 1."""
    file = tmp_path / "wrong.jsonl"
    file.write_text(line)
    assert run("import", str(file), data=tmp_path / "data") == 1
    assert fault in capsys.readouterr().err


def test_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback for a path that is not there."""
    assert run("import", str(tmp_path / "none"), data=tmp_path / "data") == 1
    assert "No such file" in capsys.readouterr().err


async def test_purge_deletes_what_was_said(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing without a condition; then by age, by user, and everything."""
    import asyncio

    async def purge(*arguments: str) -> int:
        return await asyncio.to_thread(run, "purge", *arguments, data=data)

    assert await purge() == 2
    assert await ids(data) == ["old", "new", "bobs"]
    assert await purge("--older-than", "30") == 0
    assert await ids(data) == ["new", "bobs"]
    assert await purge("--user", "alice", "--older-than", "30") == 0
    assert await purge("--user", "alice") == 0
    assert await ids(data) == ["bobs"]
    assert await purge("--all") == 0
    assert await ids(data) == []
    assert "1 session deleted" in capsys.readouterr().err


@pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)
async def test_migration_copies_everything_once(data: Path, tmp_path: Path) -> None:
    """From SQLite to Redis in one command, and again: the same sessions, in the same order."""
    import asyncio

    from wsserver.stores.redis import RedisSessionStore

    folder = tmp_path / "redis"
    folder.mkdir()
    with running_redis(folder) as redis:
        for _ in range(2):
            code = await asyncio.to_thread(run, "migrate", "--to", redis.url, data=data)
            assert code == 0
        target, source = RedisSessionStore.open(redis.url, Bounds()), await open_data(data)
        async for one in source.all_sessions():
            assert await target.get(one.owner, one.session_id) == one
        links = await target.links(ALICE, "new")
        assert links == [Link("a", None), Link("b", "a"), Link("b2", "a")]
        page = await target.list_sessions(ALICE, cursor=None, limit=5, query=None)
        assert [s.session_id for s in page.sessions] == ["new", "old"]
        await target.close()
        await source.close()


async def test_second_migration_brings_what_came_between(data: Path, tmp_path: Path) -> None:
    """An answer that ran during the first copy is whole after the second."""
    import asyncio

    source = await open_data(data)
    await source.append(
        ALICE, "new", [message("run", "b", role="assistant", content="so", lease=1)], 1
    )
    target = str(tmp_path / "other" / "sessions.db")
    assert await asyncio.to_thread(run, "migrate", "--to", target, data=data) == 0
    whole = message("run", "b", role="assistant", content="so far and on")
    await source.revise(ALICE, "new", whole)
    assert await asyncio.to_thread(run, "migrate", "--to", target, data=data) == 0
    copied = await open_data(tmp_path / "other")
    assert (await copied.find(ALICE, "new", "run")).content == "so far and on"
    await copied.close()
    await source.close()


def test_target_that_is_none_is_said_to_be_none(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An address of something else is refused in one sentence."""
    assert run("migrate", "--to", "http://example.org", data=data) == 1
    assert "http://example.org" in capsys.readouterr().err
