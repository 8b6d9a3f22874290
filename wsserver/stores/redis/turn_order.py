"""The line of a session's turns over all processes.

| key | type | holds |
|---|---|---|
| ``…:line`` | list | streamIds of the turns under way, in order of arrival |
| ``…:leases`` | hash | streamId to the time (ms) until which its gateway is believed to live |
| ``…:placed`` | set | those of them whose messages are in the tree |

All carry one hash tag, a digest of the session, and end a day after their last use. A turn whose
gateway has died goes on while its answer is made, and gives way when that has ended.

| key | type | holds |
|---|---|---|
| ``wsserver:{n:<node>}:turns`` | hash | streamId to the digest of its session: the node's turns |

It leads whoever knows of a gateway's death to its leases, may hold turns that have ended meanwhile,
and ends by itself when those have run out in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from wsserver.stores.redis.link import PUBLISH, RedisLink
from wsserver.stores.redis.names import digest

LEASE_MS, RENEW_SECONDS = 15_000, 5.0
"""A gateway is believed to live for so long without a word, and says one so often."""

IDLE_MS = 86_400_000

LOOK_SECONDS = 1.0
"""Between looks at the line, since a bell may be lost."""

Living = Callable[[list[str]], Awaitable[set[str]]]
"""Which of these streams have not ended."""


class RedisTurnOrder:
    """A `TurnOrder`.

    Args:
        link: The Redis.
        node: This node.
        living: Asked of a turn whose gateway has not been heard of.
    """

    def __init__(self, link: RedisLink, node: str, living: Living) -> None:
        self._link = link
        self._node = node
        self._living = living
        self._held: dict[str, str] = {}  # streamId to session

    async def arrive(self, session: str, stream_id: str) -> bool:
        """Take the last place in the session's line. Again: nothing happens.

        Returns:
            Whether nobody stands before it.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        self._held[stream_id] = session
        # Not waited for: another host of a cluster may have it, and without it the lease runs out.
        noted = (LEASE_MS, stream_id, digest(session))
        self._link.tell("turns/note", [_turns_of(self._node)], noted)
        args = (stream_id, LEASE_MS, IDLE_MS)
        place: int = await self._link.call("turns/arrive", _keys(session), args)
        return place == 0

    async def wait(self, session: str, stream_id: str, *, to_place: bool = False) -> None:
        """Wait until all that arrived before have ended; ``to_place``: or are `placed`.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        if await self._is_free(session, stream_id, to_place):
            return
        rung = asyncio.Event()
        leave = await self._link.bells.subscribe(_channel(session), lambda _: rung.set(), rung.set)
        try:
            while not await self._is_free(session, stream_id, to_place):
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await rung.wait()
                except TimeoutError:
                    continue
                finally:
                    rung.clear()
        finally:
            leave()

    def placed(self, session: str, stream_id: str) -> None:
        """The turn's messages are in the tree. Without Redis the next one waits for its end."""
        args = (stream_id, IDLE_MS, _channel(session), PUBLISH)
        self._link.tell("turns/placed", _keys(session), args)

    def leave(self, session: str, stream_id: str) -> None:
        """The turn has ended. Should this process end before Redis has it, its lease runs out."""
        self._held.pop(stream_id, None)
        self._link.insist("turns/leave", _keys(session), (stream_id, _channel(session), PUBLISH))

    async def keep(self) -> None:
        """Renew the leases of this process's turns, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            noted: list[str] = []
            for stream_id, session in self._held.items():
                noted += (stream_id, digest(session))
                self._link.tell("turns/renew", _keys(session), (stream_id, LEASE_MS, IDLE_MS))
            if noted:
                self._link.tell("turns/lead", [_turns_of(self._node)], (LEASE_MS, *noted))

    async def _is_free(self, session: str, stream_id: str, to_place: bool) -> bool:
        """Whether nobody stands in the way."""
        asked = (stream_id, LEASE_MS, IDLE_MS)
        found = await self._link.call("turns/ahead", _keys(session), asked)
        is_free = True
        for name, is_silent, is_placed in zip(*[iter(found)] * 3, strict=True):
            if is_placed and to_place:
                continue
            if not is_silent or await self._living([name.decode()]):
                is_free = (
                    is_free and to_place and bool(is_silent)
                )  # what lives in the log is placed
            else:
                args = (name, _channel(session), PUBLISH)
                await self._link.call("turns/leave", _keys(session), args)
        return is_free


async def end_leases(link: RedisLink, node: str) -> None:
    """Let the turns of a dead gateway be without a word of it from now on, and not when their
    leases run out: whoever waits for them looks whether their answers are made.

    Raises:
        StoreUnavailable: If Redis is away; some may have been ended.
    """
    turns = await link.command("HGETALL", _turns_of(node))
    await asyncio.gather(*(_end_lease(link, tag.decode(), name) for name, tag in turns.items()))


async def _end_lease(link: RedisLink, tag: str, stream_id: bytes) -> None:
    await link.call("turns/bereave", _keys_at(tag), (stream_id, _channel_at(tag), PUBLISH))


def _keys(session: str) -> list[str]:
    return _keys_at(digest(session))


def _keys_at(tag: str) -> list[str]:
    base = f"wsserver:{{t:{tag}}}"
    return [f"{base}:line", f"{base}:leases", f"{base}:placed"]


def _channel(session: str) -> str:
    return _channel_at(digest(session))


def _channel_at(tag: str) -> str:
    return f"wsserver:b:{{t:{tag}}}"


def _turns_of(node: str) -> str:
    return f"wsserver:{{n:{node}}}:turns"
