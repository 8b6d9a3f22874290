"""Shared stores on Redis: many processes and hosts, one truth."""

from wsserver.stores.redis.sessions import RedisSessionStore

__all__ = ["RedisSessionStore"]
