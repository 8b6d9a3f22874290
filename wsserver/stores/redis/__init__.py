"""Shared stores on Redis: many processes and hosts, one truth.

`link` is a process' way to Redis, single or a cluster, with `bells` to listen at. Beneath it
`hosts` has redis-py make the connections, `pipe` speaks on one, `lane` makes one writing of what
one tick asks, `bell_line` is a subscriber's. Each store above it has its steps as Lua scripts in
``lua/<area>`` (called through `scripts`) and its keys in a table.
"""

from wsserver.stores.redis.clients import RedisClients
from wsserver.stores.redis.idempotency import RedisIdempotency
from wsserver.stores.redis.job_queue import RedisJobQueue
from wsserver.stores.redis.limits import RedisLimits
from wsserver.stores.redis.link import PUBLISH, RedisLink
from wsserver.stores.redis.nodes import RedisNodes
from wsserver.stores.redis.response_cache import RedisResponseCache
from wsserver.stores.redis.sessions import RedisSessionStore

__all__ = [
    "PUBLISH",
    "RedisClients",
    "RedisIdempotency",
    "RedisJobQueue",
    "RedisLimits",
    "RedisLink",
    "RedisNodes",
    "RedisResponseCache",
    "RedisSessionStore",
]
