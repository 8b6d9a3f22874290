"""The embedded store of sessions: one SQLite file."""

from wsserver.stores.sqlite.sessions import SqliteSessionStore

__all__ = ["SqliteSessionStore"]
