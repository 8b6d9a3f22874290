"""The processes of a fleet: which of them live, who cleans up after the dead, and their inboxes.

A node lives as long as its lease, which it renews. Whatever a dead node has left is cleared by one
reaper at a time, who then buries it; a node that was only believed dead and comes back is told so.

| key | type | holds |
|---|---|---|
| ``wsserver:{nodes}:leases`` | sorted set | nodeId by the end of its lease (ms of Redis' clock) |
| ``wsserver:{nodes}:reaper`` | string | nodeId of the reaper; ends by itself |

An inbox is the bell ``wsserver:b:{n:<nodeId>}``. What is sent there gets lost if the node is away
or dead: for hints, and for what its sender repeats.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from wsserver.core.ids import new_id
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.bells import PREFIX as BELLS
from wsserver.stores.redis.link import RedisLink

LEASE_SECONDS, BEAT_SECONDS = 15.0, 5.0
"""For how long a silent node is believed alive, and how often one that lives says so."""

RETRY_SECONDS = 1.0
"""After which one that could not say so tries again: its lease goes on running out."""

REAPER_SECONDS = 15.0
"""After which another node may be the reaper if this one does not come back to it."""

KEYS = ("wsserver:{nodes}:leases", "wsserver:{nodes}:reaper")

CHANNEL = f"{BELLS}:{{nodes}}"
"""Where nothing is rung: who hears it is told when the line to its host had to be made anew."""

LEASE_MS, REAPER_MS = round(LEASE_SECONDS * 1000), round(REAPER_SECONDS * 1000)

log = logging.getLogger(__name__)


class NodeList(NamedTuple):
    """All nodes that are not buried."""

    alive: list[str]
    dead: list[str]


class RedisNodes:
    """This process among the others. Its methods raise `StoreUnavailable`, unless they say else.

    Args:
        link: The Redis.
        node_id: Of this node, if whoever has started it has given it one.

    Attributes:
        node_id: This node's.
        on_lapsed: Called when the lease had run out before it was renewed: others may have
            cleared what this node has.
    """

    def __init__(self, link: RedisLink, node_id: str = "") -> None:
        self.node_id = node_id or new_id("nod")
        self.on_lapsed: Callable[[], None] = _nothing
        self._link = link
        self._has_lived = False

    async def beat(self) -> None:
        """Take a lease, or prolong it."""
        stood = await self._link.call("nodes/beat", KEYS, (self.node_id, LEASE_MS))
        has_lapsed = self._has_lived and not stood
        self._has_lived = True
        if has_lapsed:
            log.warning("this node was believed dead for a while")
            self.on_lapsed()

    async def keep(self) -> None:
        """Prolong the lease for ever, and at once when Redis may have lost it. Does not raise.

        A Redis that has lost everything knows of no node. One that dies before it is known again
        is never missed, and nobody clears what it has begun since.
        """
        is_due = asyncio.Event()
        stop: Callable[[], None] = _nothing
        try:
            while True:
                is_due.clear()
                pause = BEAT_SECONDS
                try:
                    await self.beat()
                    if stop is _nothing:
                        stop = await self._link.bells.subscribe(CHANNEL, _unheard, is_due.set)
                except StoreUnavailable as error:
                    log.warning("the lease of this node could not be renewed: %s", error)
                    pause = RETRY_SECONDS
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await is_due.wait()
        finally:
            stop()

    async def all(self) -> NodeList:
        """Who lives, and who has died and left things behind."""
        alive, dead = await self._link.call("nodes/list", KEYS)
        return NodeList([node.decode() for node in alive], [node.decode() for node in dead])

    async def alive(self) -> list[str]:
        """Those that live."""
        return (await self.all()).alive

    async def dead(self) -> list[str]:
        """Those that have died and are not buried."""
        return (await self.all()).dead

    async def may_reap(self) -> bool:
        """Whether this node is the one that cleans up, for the next `REAPER_SECONDS`."""
        is_reaper: int = await self._link.call("nodes/reap", KEYS, (self.node_id, REAPER_MS))
        return bool(is_reaper)

    async def bury(self, node_id: str) -> None:
        """Forget a dead node whose things have been cleared, unless it lives again."""
        await self._link.call("nodes/buried", KEYS, (node_id,))

    async def send(self, node_id: str, message: bytes) -> None:
        """Put a message into a node's inbox. It may get lost."""
        await self._link.publish(_inbox(node_id), message)

    async def receive(
        self, take: Callable[[bytes], None], doubt: Callable[[], None]
    ) -> Callable[[], None]:
        """Have ``take`` called for each message to this node, once it returns.

        Args:
            take: Called with each message.
            doubt: Called when some may have been lost.

        Returns:
            What ends it.
        """
        return await self._link.bells.subscribe(_inbox(self.node_id), take, doubt)

    async def leave(self) -> None:
        """End in order: at once, not when the lease runs out.

        It counts as dead all the same. Its clients have their windows, in which they may come back
        elsewhere; of those that don't, somebody must clear what they leave.
        """
        await self._link.call("nodes/leave", KEYS, (self.node_id,))


def _inbox(node_id: str) -> str:
    return f"wsserver:b:{{n:{node_id}}}"


def _nothing() -> None:
    pass


def _unheard(data: bytes) -> None:
    pass
