"""How fast messages are kept: both session stores beside the bare library each stands on."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvloop
from redis.asyncio import Redis

from wsserver.core.sessions.model import Bounds, Message, Session
from wsserver.core.sessions.store import SessionStore
from wsserver.stores.redis import RedisSessionStore
from wsserver.stores.sqlite import SqliteSessionStore

APPENDS, TEXT = 3000, "x" * 400
LONG_HISTORY = 20_000
OWNER = "named:bench"
Append = Callable[[int], Awaitable[object]]


def history_appends() -> dict[str, Any]:
    """Appends a second to one session: new, long, and by 16 writers; and a bare write likewise.

    Baselines, in the same loop: one INSERT a transaction in a thread (SQLite), one RPUSH awaited
    (Redis). A store's append checks the owner, the parent and the caps besides, and keeps the
    list of sessions in step.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure_all())


async def _measure_all() -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        store = await SqliteSessionStore.open(Path(folder) / "sessions.db", Bounds())
        figures["sqlite"] = await _measure(store)
        await store.close()
        figures["sqlite"]["bare_insert"] = await _bare_sqlite(Path(folder) / "bare.db")
    if shutil.which("redis-server") is None:
        figures["redis"] = "redis-server is not installed"
        return figures
    with TemporaryDirectory() as folder, _redis(folder) as url:
        shared = RedisSessionStore.open(url, Bounds(ttl=2_592_000.0))
        while True:
            try:
                await shared.ping()
                break
            except Exception:  # it is starting
                await asyncio.sleep(0.05)
        figures["redis"] = await _measure(shared)
        await shared.close()
        figures["redis"]["bare_rpush"] = await _bare_redis(url)
    return figures


async def _measure(store: SessionStore) -> dict[str, float]:
    async def session(name: str) -> Append:
        await store.create(
            Session(owner=OWNER, session_id=name, user_id="bench", created_at=1, updated_at=1)
        )
        return lambda n: store.append(OWNER, name, [_message(f"{name}{n}")], 1, after_newest=True)

    new, shared, long = await session("new"), await session("shared"), await session("long")
    figures = {"new_session": await _rate(new), "sixteen_writers": await _rate(shared, 16)}
    for start in range(0, LONG_HISTORY, 1000):
        page = [_message(f"old{start + n}") for n in range(1000)]
        await store.append(OWNER, "long", page, 1)
    figures["after_20000_messages"] = await _rate(long)
    return figures


async def _rate(append: Append, writers: int = 1) -> float:
    async def write(first: int) -> None:
        for number in range(first, APPENDS, writers):
            await append(number)

    begin = time.perf_counter()
    await asyncio.gather(*(write(first) for first in range(writers)))
    return round(APPENDS / (time.perf_counter() - begin))


def _message(message_id: str) -> Message:
    return Message(message_id=message_id, parent_id=None, role="user", content=TEXT, timestamp=1)


async def _bare_sqlite(path: Path) -> float:
    loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("CREATE TABLE messages (id TEXT PRIMARY KEY, content TEXT)")

    def insert(number: int) -> None:
        db.execute("INSERT INTO messages VALUES (?, ?)", (str(number), TEXT))

    rate = await _rate(lambda number: loop.run_in_executor(pool, insert, number))
    pool.shutdown()
    db.close()
    return rate


async def _bare_redis(url: str) -> float:
    redis = Redis.from_url(url)
    rate = await _rate(lambda number: redis.rpush("bare", TEXT))
    await redis.aclose()
    return rate


@contextmanager
def _redis(folder: str) -> Iterator[str]:
    path = f"{folder}/redis.sock"
    options = ["--port", "0", "--unixsocket", path, "--dir", folder, "--appendonly", "yes"]
    process = subprocess.Popen(["redis-server", *options, "--save", ""], stdout=subprocess.DEVNULL)
    try:
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait()
