"""Who works: the workers' announcements in Redis, as written by each and read by all.

All under the hash tag ``{fleet}``: a few workers write a few hundred bytes each, at most ten times
a second, and nothing of it is in the path of a request.

| key | type | holds |
|---|---|---|
| ``wsserver:{fleet}:workers`` | hash | node to its picture (`AnnouncedWorker` as MessagePack) |
| ``wsserver:{fleet}:leases`` | sorted set | node by the time (ms) until which it lives |
| ``wsserver:{fleet}:version`` | string | counts changes, from the time (µs) of the first one |

Channel ``wsserver:b:{fleet}`` rings at each change. All keys go ten leases after the last one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from wsserver.core.models.announcements import AnnouncedWorker, Unreachable, WorkerCall
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.calls import NoAnswer, RedisCalls
from wsserver.stores.redis.keys import PREFIX
from wsserver.stores.redis.link import PUBLISH, RedisLink

log = logging.getLogger(__name__)

KEYS = [f"{PREFIX}:{{fleet}}:{name}" for name in ("workers", "leases", "version")]
LEASES = KEYS[1]
CHANNEL = f"{PREFIX}:b:{{fleet}}"

LEASE_SECONDS = 15.0
"""For how long a worker is believed to live without a word."""

LOOK_EVERY = 2.0
"""Seconds between looks while no bell rings."""

LOOK_PAUSE = 0.05
"""Least seconds between two looks: one for all bells that ring within them."""

LINGER_SECONDS = 2.0
"""For how long a worker that has gone from Redis is believed to live: after Redis was away its
lease may have ended, and it is about to say that it lives."""


class RedisAnnouncing:
    """A worker's voice."""

    def __init__(self, link: RedisLink, node: str) -> None:
        self._link = link
        self._node = node
        self._told = b""

    async def announce(self, worker: AnnouncedWorker) -> None:
        """Tell all gateways what has changed, and renew the lease.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        picture = msgspec.msgpack.encode(worker)
        fresh = b"" if picture == self._told else picture
        self._told = b""  # until it is known to have arrived
        if not await self._write(fresh):
            await self._write(picture)  # the lease had ended, or Redis has lost it
        self._told = picture

    async def leave(self) -> None:
        """Take the announcement back.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        await self._link.call("fleet/leave", KEYS, (self._node, CHANNEL, PUBLISH))

    async def _write(self, picture: bytes) -> int:
        lease = round(LEASE_SECONDS * 1000)
        args = (self._node, picture, lease, CHANNEL, PUBLISH)
        written: int = await self._link.call("fleet/announce", KEYS, args)
        return written


async def read_workers(link: RedisLink) -> list[AnnouncedWorker]:
    """All workers that live, asked once.

    Raises:
        StoreUnavailable: If Redis is away.
    """
    _, *rest = await link.call("fleet/read", KEYS, (b"",))
    return [msgspec.msgpack.decode(picture, type=AnnouncedWorker) for picture in rest[1::2]]


class RedisFleet:
    """A gateway's picture of all workers. `start` before the first use.

    Args:
        link: Redis.
        calls: The way to the workers.
        near: The picture of the worker in this process, if there is one, as it is now.
    """

    def __init__(
        self, link: RedisLink, calls: RedisCalls, near: Callable[[], AnnouncedWorker] | None = None
    ) -> None:
        self._link = link
        self._calls = calls
        self._near = near
        self._version = b""
        self._workers: dict[str, AnnouncedWorker] = {}
        self._missing: dict[str, float] = {}  # since when (loop seconds)
        self._bell = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self.on_change: Callable[[], None] = lambda: None

    @property
    def workers(self) -> Sequence[AnnouncedWorker]:
        """All workers that live, the oldest first."""
        return tuple(self._workers.values())

    def freshen(self) -> None:
        """Take in what a worker in this very process has to announce by now."""
        if self._near is None:
            return
        picture = self._near()
        if self._workers.get(picture.node) != picture:
            self._workers[picture.node] = picture
            self.on_change()

    async def start(self) -> None:
        """Listen, and read what is there. Again, also at the same time: nothing.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        ring = self._bell.set
        unsubscribe = await self._link.bells.subscribe(CHANNEL, lambda _: ring(), ring)
        try:
            await self._read()
        except StoreUnavailable:
            unsubscribe()
            raise
        if self._looking is not None:
            unsubscribe()
            return
        self._unsubscribe = unsubscribe
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def close(self) -> None:
        """Look no more."""
        self._unsubscribe()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    async def call(self, node: str, call: WorkerCall, timeout: float) -> bytes:
        """Have a worker do something; see `Fleet.call`."""
        try:
            return await self._calls.call(node, msgspec.msgpack.encode(call), timeout)
        except NoAnswer as error:
            raise Unreachable(str(error)) from error

    async def _look(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._bell.wait()
            except TimeoutError:
                pass
            self._bell.clear()
            try:
                await self._read()
            except StoreUnavailable as error:
                log.debug("the workers can't be looked for: %s", error)
            await asyncio.sleep(LOOK_PAUSE)

    async def _read(self) -> None:
        version, *rest = await self._link.call("fleet/read", KEYS, (self._version,))
        now = asyncio.get_running_loop().time()
        if version != self._version:
            self._version = version
            found = dict(zip(rest[::2], rest[1::2], strict=True))
            own = ""
            if self._near is not None:  # what it announced is older than what it is
                near = self._near()
                own = near.node
                found.pop(own.encode(), None)
                self._workers[own] = near
            for node in self._workers:
                if node.encode() not in found and node != own:
                    self._missing.setdefault(node, now)
            for node, picture in found.items():
                self._missing.pop(node.decode(), None)
                self._workers[node.decode()] = msgspec.msgpack.decode(picture, type=AnnouncedWorker)
        gone = [node for node, since in self._missing.items() if now - since >= LINGER_SECONDS]
        for node in gone:
            del self._workers[node], self._missing[node]
        if gone or rest:
            self.on_change()
