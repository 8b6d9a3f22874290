"""Answers that are in the log and in no line yet: who ends them if their node dies.

| key | type | holds |
|---|---|---|
| ``wsserver:{n:<node>}:led`` | set | streamIds that the node leads into line; ends after a day |

A Redis that has lost its last second may lack one that is led, and have one that is not any more:
that would be ended with its node, however long it has run by then. So the node says again what it
leads, after each doubt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.queue_keys import JOBS, queue_keys

IDLE_MS = 86_400_000

RETRY_SECONDS = 1.0
"""Between two tries to say what is led."""

log = logging.getLogger(__name__)


class RedisLedger:
    """What one node leads.

    Args:
        link: The Redis.
        node: This node.
    """

    def __init__(self, link: RedisLink, node: str) -> None:
        self._link = link
        self._node = node
        self._leads: set[str] = set()
        self._doubts = asyncio.Event()

    async def add(self, stream_id: str) -> None:
        """This node leads an answer; before the answer is in the log.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        self._leads.add(stream_id)
        await self._note(stream_id)

    def remove(self, stream_id: str) -> None:
        """It does so no longer: the answer is in line, or over."""
        self._leads.discard(stream_id)
        self._strike(stream_id)

    def doubt(self) -> None:
        """Redis may have lost what this node leads, or that it does so no longer."""
        self._doubts.set()

    async def keep(self) -> None:
        """Say for ever, after each doubt, what this node leads."""
        while True:
            await self._doubts.wait()
            self._doubts.clear()
            try:
                await self._say_again()
            except StoreUnavailable as error:
                log.info("what this node leads is said again later: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                self._doubts.set()

    async def _say_again(self) -> None:
        key = _key(self._node)
        found = {member.decode() for member in await self._link.command("SMEMBERS", key)}
        for stream_id in found - self._leads:
            self._strike(stream_id)
        await asyncio.gather(*(self._note(stream_id) for stream_id in self._leads - found))

    async def _note(self, stream_id: str) -> None:
        try:
            await self._link.call("led/add", [_key(self._node)], (stream_id, IDLE_MS))
        finally:
            if stream_id not in self._leads:  # what struck it may have gone before
                self._strike(stream_id)

    def _strike(self, stream_id: str) -> None:
        self._link.insist("led/remove", [_key(self._node)], (stream_id,))

    async def is_in_line(self, model_id: str, stream_id: str) -> bool:
        """Whether an answer came to stand in its model's line after all, or is being made.

        Its node may have died, or this part of Redis been away, before that was noted here.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        jobs = queue_keys(model_id)[JOBS]
        return bool(await self._link.command("HEXISTS", jobs, stream_id))

    def clearing(self, end: Callable[[str], Awaitable[None]]) -> Callable[[str], Awaitable[bool]]:
        """What clears a dead node's: each of its answers is ended. May be done twice."""

        async def clear(node: str) -> bool:
            for stream_id in await self._link.command("SMEMBERS", _key(node)):
                await end(stream_id.decode())
            await self._link.command("DEL", _key(node))
            return True

        return clear


def _key(node: str) -> str:
    return f"wsserver:{{n:{node}}}:led"
