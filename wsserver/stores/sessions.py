"""Which store of sessions a configuration or an address means."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from wsserver.config import Config
from wsserver.core.sessions.model import Bounds
from wsserver.core.sessions.store import SessionStore, StoreUnavailable
from wsserver.stores.sqlite import SqliteSessionStore

FILE = "sessions.db"
"""Name of the SQLite file in the data folder."""


async def open_session_store(config: Config) -> SessionStore:
    """The store that ``sessions.redis_url`` or ``redis.url`` names, else the file in ``data.dir``.

    Raises:
        OSError: If the file can't be made or opened.
        StoreUnavailable: If the file can't be used. A Redis that is away is no reason not to
            start: what needs it is refused until it is there.
        NewerSchema: If it is from a newer version of this program.
    """
    sessions = config.sessions
    redis_url = sessions.redis_url or config.redis.url
    ttl = sessions.redis_ttl_seconds if redis_url else sessions.ttl_seconds
    bounds = Bounds(
        max_sessions=sessions.max_per_user,
        max_session_bytes=sessions.max_bytes,
        max_owner_bytes=sessions.max_bytes_per_user,
        ttl=ttl,
    )
    return await open_store_at(redis_url or str(Path(config.data.dir) / FILE), bounds)


async def open_store_at(place: str, bounds: Bounds) -> SessionStore:
    """The store at an address of Redis, or at the path of a SQLite file.

    Raises:
        ValueError: If it is an address of something else.
        OSError, StoreUnavailable, NewerSchema: As for `open_session_store`.
    """
    if "://" not in place:
        return await SqliteSessionStore.open(Path(place), bounds)
    # Imported only where it is used: it would double the time that the server takes to start.
    from wsserver.stores.redis import RedisSessionStore

    store = RedisSessionStore.open(place, bounds)
    with suppress(StoreUnavailable):
        # Now, while the host that the address names is there: it tells of the others, should it be
        # a cluster's, and they are asked when it has gone.
        await store.ping()
    return store
