"""Who wants the answers that this process knows of: who looks at them here, and whose askers are.

Whether someone looks at an answer is known for each node for `LOOKED_FOR` seconds, that its asker
is there, with a connection or within his window, for longer; both are renewed while it is so. What
a node that died had told is forgotten by itself. So is what nobody can tell any more: that an asker
has gone for good is told once, and may be lost with the end of what Redis knew, or with all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.stream_format import stream_keys

LOOKED_FOR, LOOK_AGAIN = 45.0, 15.0
"""Seconds for which the log believes a node that someone looks there, and between two renewals."""

ASKED_FOR = 120.0
"""Seconds beyond his window for which an asker is believed to be there without a word of it: Redis
may be away for a minute of them, and the death of his gateway is to be noticed first."""

HERE, GONE, UNSAID = "1", "0", ""
"""What a node says of an answer's asker."""


class StreamWants:
    """Tells the log what is wanted here.

    Args:
        link: The way to Redis.
        node: This process.

    Attributes:
        asked_here: Gives the answers whose askers are clients of this process, but for those that
            go on without.
    """

    def __init__(self, link: RedisLink, node: str) -> None:
        self._link = link
        self._node = node
        self._viewed: set[str] = set()
        self._deserted: set[str] = set()  # this process was the one to say that the asker is gone
        self.asked_here: Callable[[], Iterable[str]] = lambda: ()

    def drop(self, stream_id: str) -> None:
        """An answer has ended, or is not known here any more."""
        self._viewed.discard(stream_id)
        self._deserted.discard(stream_id)

    async def view(self, stream_id: str, *, has_viewers: bool) -> bool:
        """As `SharedStreams.view`.

        Raises:
            StoreUnavailable: If Redis is away. It is told again with the next renewal.
        """
        if has_viewers:
            self._viewed.add(stream_id)
        else:
            self._viewed.discard(stream_id)
        return await self._tell(stream_id, self._node, LOOKED_FOR if has_viewers else 0.0, UNSAID)

    async def asker_gone(self, stream_id: str) -> bool:
        """As `SharedStreams.asker_gone`.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        self._deserted.add(stream_id)
        return await self._tell(stream_id, "", 0.0, GONE)

    async def keep(self) -> None:
        """Tell again for ever what is wanted, all in one writing."""
        while True:
            await asyncio.sleep(LOOK_AGAIN)
            asked = set(self.asked_here())
            for stream_id in asked | self._viewed | self._deserted:
                node = self._node if stream_id in self._viewed else ""
                asker = HERE if stream_id in asked else UNSAID
                if stream_id in self._deserted:
                    asker = GONE
                args = (node, round(LOOKED_FOR * 1000), asker)
                self._link.tell("streams/view", stream_keys(stream_id), args)

    async def _tell(self, stream_id: str, node: str, seconds: float, asker: str) -> bool:
        args = (node, round(seconds * 1000), asker)
        return bool(await self._link.call("streams/view", stream_keys(stream_id), args))
