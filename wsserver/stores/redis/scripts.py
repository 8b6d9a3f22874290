"""The Lua scripts of the session store: loaded once, called by their hash.

Each script is one atomic step. ``common.lua`` stands before each of the others. Which keys there
are, and why they share a hash tag, is told in `sessions`.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import NoScriptError, RedisError

from wsserver.core.sessions.store import StoreUnavailable

NAMES = (
    *("create", "get", "update", "append", "revise", "branch", "messages", "links", "find"),
    *("clear", "delete", "list", "search"),
)


class Scripts:
    """Runs the scripts on one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        folder = files(__package__).joinpath("lua")
        common = folder.joinpath("common.lua").read_text("utf-8")
        self._texts = {
            name: f"{common}\n{folder.joinpath(f'{name}.lua').read_text('utf-8')}" for name in NAMES
        }
        self._hashes = {
            # SHA-1 is the name that Redis knows a script by, no secret.
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            for name, text in self._texts.items()
        }

    async def run(self, name: str, keys: list[str], args: list[Any]) -> list[Any]:
        """One step.

        Raises:
            StoreUnavailable: If Redis can't be reached or refuses.
        """
        reply: list[Any]
        try:
            try:
                reply = await self._call(self._redis, name, keys, args)
            except NoScriptError:  # a Redis that has been restarted or has never seen it
                reply = await self._redis.eval(self._texts[name], len(keys), *keys, *args)
            return reply
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis: {error}") from error

    async def run_all(self, name: str, calls: list[tuple[list[str], list[Any]]]) -> list[list[Any]]:
        """The same step for many sessions, in one round trip."""
        try:
            await self._redis.script_load(self._texts[name])
            async with self._redis.pipeline(transaction=False) as pipe:
                for keys, args in calls:
                    self._call(pipe, name, keys, args)
                replies: list[list[Any]] = await pipe.execute()
                return replies
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis: {error}") from error

    def _call(self, client: Redis | Pipeline, name: str, keys: list[str], args: list[Any]) -> Any:
        return client.evalsha(self._hashes[name], len(keys), *keys, *args)
