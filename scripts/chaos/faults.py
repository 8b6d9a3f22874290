"""What can break, and how it is mended: each kind is one coroutine from the blow to the healing.

Durations keep below what the fleet promises to outlive: Redis is away for a few seconds, never for
the minute after which answers are given up; a member that hangs may hang for longer than its lease.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from scripts.chaos.book import Book
from scripts.chaos.fleet import Fleet, Member
from scripts.chaos.links import Links
from scripts.chaos.network import CLIENTS, REDIS
from tests.support.redis import RedisProcess

LEASE_SECONDS = 15.0


@dataclass(slots=True)
class Blows:
    """Breaks a fleet.

    Args:
        fleet: What is broken.
        rng: Which member, and for how long.
        died: Told each death by its kind, as it happens.
    """

    fleet: Fleet
    book: Book
    rng: random.Random
    died: Callable[[str], None]
    counts: Counter[str]
    _redis_is_whole: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def strike(self, kind: str) -> None:
        """One fault, until it is mended."""
        self.counts[kind] += 1
        if kind.startswith("redis_"):
            async with self._redis_is_whole:  # one after the other, also in a cluster
                await FAULTS[kind](self)
        else:
            await FAULTS[kind](self)

    async def gateway_killed(self) -> None:
        """kill -9 of a gateway, or of a process that is both."""
        await self._kill(self._one_of("gateway", "both"), "gateway_killed")

    async def worker_killed(self) -> None:
        """kill -9 of a worker; its engines go with it."""
        await self._kill(self._one_of("worker"), "worker_killed")

    async def gateway_ended(self) -> None:
        """SIGTERM: it drains, and another takes its place."""
        await self._end(self._one_of("gateway", "both"), "gateway_ended")

    async def worker_ended(self) -> None:
        """SIGTERM: it hands over what it makes."""
        await self._end(self._one_of("worker"), "worker_ended")

    async def gateway_frozen(self) -> None:
        """SIGSTOP of a gateway for a while; its connections stay, and nothing comes."""
        await self._freeze(self._one_of("gateway", "both"), "gateway_frozen", 3.0, 12.0)

    async def worker_frozen(self) -> None:
        """SIGSTOP of a worker for longer than its lease: it comes back as a zombie."""
        lease = LEASE_SECONDS
        await self._freeze(self._one_of("worker"), "worker_frozen", lease + 3, lease + 8)

    async def redis_killed(self) -> None:
        """kill -9 of Redis, which loses nothing of what it had answered."""
        self.died("redis_killed")
        redis = self._one_redis()
        await asyncio.to_thread(redis.kill)
        await asyncio.sleep(self.rng.uniform(0.2, 4.0))
        await asyncio.to_thread(redis.start)

    async def redis_frozen(self) -> None:
        """SIGSTOP of Redis: connections stay, and nothing is answered."""
        self.died("redis_frozen")
        redis = self._one_redis()
        redis.freeze()
        await asyncio.sleep(self.rng.uniform(1.0, 6.0))
        redis.thaw()

    async def redis_emptied(self) -> None:
        """Redis forgets everything: killed, and started with nothing."""
        self.died("redis_emptied")
        self.book.lost_data_at.append(time.monotonic())
        redis = self._one_redis()
        await asyncio.to_thread(redis.kill)
        redis.forget()
        await asyncio.sleep(self.rng.uniform(0.2, 2.0))
        self.book.lost_data_at.append(time.monotonic())
        await asyncio.to_thread(redis.start)

    async def redis_lost_tail(self) -> None:
        """Redis fails over to a copy that had not heard the last of it."""
        self.died("redis_lost_tail")
        redis = self._one_redis()
        await asyncio.to_thread(redis.kill)
        self.book.lost_data_at.append(time.monotonic())
        _cut_file(redis.folder, self.rng.randint(200, 20_000))
        await asyncio.sleep(self.rng.uniform(0.2, 1.0))
        await asyncio.to_thread(redis.start)

    async def link_cut(self) -> None:
        """A member can't reach Redis at all."""
        await self._on_link(self._links.cut, 0.3, 8.0)

    async def link_held(self) -> None:
        """What a member and Redis say to each other comes seconds later."""
        await self._on_link(self._links.hold, 0.5, 6.0)

    async def link_slow(self) -> None:
        """A member is far from its Redis."""
        delay = self.rng.uniform(0.02, 0.4)
        await self._on_link(lambda name: self._links.slow(name, delay), 3.0, 10.0)

    async def link_forgotten(self) -> None:
        """A firewall has forgotten a member's connections to Redis: half open, for good."""
        await self._on_link(self._links.forget, 5.0, 10.0)

    async def wire_to_redis_dead(self) -> None:
        """Packets between a member and Redis vanish; nobody is told."""
        await self._on_wire(self.rng.choice(self.fleet.members), REDIS)

    async def wire_to_clients_dead(self) -> None:
        """Packets between a gateway and all of its clients vanish; nobody is told."""
        await self._on_wire(self.rng.choice(self.fleet.of("gateway", "both")), CLIENTS)

    async def bells_lost(self) -> None:
        """Doorbells to a member get lost."""
        share = self.rng.choice((0.2, 0.5, 1.0))
        await self._on_link(lambda name: self._links.rob(name, lost=share), 4.0, 15.0)

    async def bells_doubled(self) -> None:
        """Doorbells to a member come twice."""
        share = self.rng.choice((0.3, 1.0))
        await self._on_link(lambda name: self._links.rob(name, doubled=share), 4.0, 15.0)

    async def storm(self) -> None:
        """All gateways and workers die within a second, and come back."""
        members = [member for member in self.fleet.members if member.is_meant_to_live]
        self.rng.shuffle(members)
        await asyncio.gather(*(self._kill(member, "storm") for member in members))

    # How.

    def _one_redis(self) -> RedisProcess:
        return self.rng.choice(self.fleet.store.nodes)

    @property
    def _links(self) -> Links:
        assert self.fleet.links is not None, "faults of links need the proxy"
        return self.fleet.links

    def _one_of(self, *roles: str) -> Member | None:
        living = [m for m in self.fleet.of(*roles) if m.is_meant_to_live and m.is_running]
        return self.rng.choice(living) if living else None

    async def _kill(self, member: Member | None, kind: str) -> None:
        if member is None:
            return
        member.is_meant_to_live = False
        await asyncio.sleep(self.rng.uniform(0, 0.3))
        self.died(kind)
        await member.end(signal.SIGKILL)
        await asyncio.sleep(self.rng.uniform(0.1, 3.0))
        await member.start()

    async def _end(self, member: Member | None, kind: str) -> None:
        if member is None:
            return
        self.died(kind)
        was_ready = member.is_ready.is_set()
        code = await member.end(signal.SIGTERM)
        if code and was_ready:  # before, nothing listens for the signal yet
            self.book.wrong(f"{member.name} was told to end and ended with {code}")
        await asyncio.sleep(self.rng.uniform(0.0, 1.0))
        await member.start()

    async def _freeze(self, member: Member | None, kind: str, least: float, most: float) -> None:
        if member is None:
            return
        member.is_meant_to_live = False  # nothing else is to happen to it
        self.died(kind)
        member.signal(signal.SIGSTOP)
        await asyncio.sleep(self.rng.uniform(least, most))
        member.signal(signal.SIGCONT)
        member.is_meant_to_live = True

    async def _on_link(
        self, blow: Callable[[str], Awaitable[None]], least: float, most: float
    ) -> None:
        name = self.rng.choice(self.fleet.members).name
        await blow(name)
        await asyncio.sleep(self.rng.uniform(least, most))
        await self._links.heal(name)

    async def _on_wire(self, member: Member, end: str) -> None:
        network = self.fleet.network
        await asyncio.to_thread(network.kill, member.name, end)
        await asyncio.sleep(self.rng.uniform(1.0, 8.0))
        await asyncio.to_thread(network.heal, member.name, end)


END_OF_STEP = b"*1\r\n$4\r\nEXEC\r\n"
"""In what Redis writes, after the commands of a script."""


def _cut_file(folder: Path, size: int) -> None:
    """Take the last bytes from what Redis has written, and those of the script that they are of.

    A copy that takes over has heard each script whole or not at all. Redis would read half of one,
    but mix it with what it writes next.
    """
    for path in sorted((folder / "appendonlydir").glob("*.incr.aof")):
        written = path.read_bytes()
        last = written.rfind(END_OF_STEP, 0, max(0, len(written) - size))
        with path.open("r+b") as file:
            file.truncate(0 if last < 0 else last + len(END_OF_STEP))


FAULTS: dict[str, Callable[[Blows], Awaitable[None]]] = {
    "gateway_killed": Blows.gateway_killed,
    "gateway_ended": Blows.gateway_ended,
    "gateway_frozen": Blows.gateway_frozen,
    "worker_killed": Blows.worker_killed,
    "worker_ended": Blows.worker_ended,
    "worker_frozen": Blows.worker_frozen,
    "redis_killed": Blows.redis_killed,
    "redis_frozen": Blows.redis_frozen,
    "link_cut": Blows.link_cut,
    "link_held": Blows.link_held,
    "link_slow": Blows.link_slow,
    "link_forgotten": Blows.link_forgotten,
    "wire_to_redis_dead": Blows.wire_to_redis_dead,
    "wire_to_clients_dead": Blows.wire_to_clients_dead,
    "bells_lost": Blows.bells_lost,
    "bells_doubled": Blows.bells_doubled,
    "storm": Blows.storm,
    "redis_emptied": Blows.redis_emptied,
    "redis_lost_tail": Blows.redis_lost_tail,
}
"""By the name that the command line knows it by."""

LOSING = frozenset(("redis_emptied", "redis_lost_tail"))
"""Kinds after which answers may fail and histories be shorter. Not among those by default."""

OF_LINKS = frozenset(kind for kind in FAULTS if kind.startswith(("link_", "bells_")))
"""Kinds that need the proxy between processes and Redis, past which a cluster's nodes lead."""

OF_WIRES = frozenset(("wire_to_redis_dead", "wire_to_clients_dead"))
"""Kinds that need a network for each member."""


def possible(*, is_cluster: bool, is_apart: bool) -> list[str]:
    """Kinds of fault that a run can have, those aside by which Redis loses data."""
    left_out = LOSING | (OF_LINKS if is_cluster else set())
    left_out |= set() if is_apart and not is_cluster else OF_WIRES
    return [kind for kind in FAULTS if kind not in left_out]
