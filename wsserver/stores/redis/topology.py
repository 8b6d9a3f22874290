"""Which Redis keeps which key: one for all, or the hosts of a cluster by hash slot.

Learnt from Redis itself at the first use, and anew when a host says that a key has moved or when
one is lost. In a cluster a key's slot is that of its hash tag, so that all keys of one tag lie
together.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable
from typing import Any

from wsserver.stores.redis.address import Address
from wsserver.stores.redis.connection import Lost, Refusal, Value
from wsserver.stores.redis.lane import Lane

SLOTS = 16384
"""Fixed by Redis Cluster's specification, as is the way to a key's slot."""

SHARDED_SINCE = 7
"""Major version of Redis from which a cluster has bells that stay on one host."""


def slot_of(key: str | bytes) -> int:
    """The hash slot of a key: CRC-16 (XMODEM) of its tag, or of all of it without one."""
    raw = key.encode() if isinstance(key, str) else key
    start = raw.find(b"{")
    if start >= 0:
        end = raw.find(b"}", start + 1)
        if end > start + 1:
            raw = raw[start + 1 : end]
    return crc_hqx(raw, 0) % SLOTS


class Topology:
    """The lanes of this process.

    Args:
        seed: The address that was configured.
        on_change: Called when a lane came up or went down.
    """

    def __init__(self, seed: Address, on_change: Callable[[], None]) -> None:
        self._seed = seed
        self._on_change = on_change
        self._lanes: dict[Address, Lane] = {}
        self._slots: list[Lane] = []
        self.is_known = False
        self.is_cluster = False
        self.is_sharded = False  # whether bells stay on the host of their channel's slot

    @property
    def lanes(self) -> list[Lane]:
        """To all hosts that keep keys."""
        return list(self._lanes.values())

    @property
    def publish(self) -> str:
        """The command that rings a bell."""
        return "SPUBLISH" if self.is_sharded else "PUBLISH"

    def lane_of(self, key: Value | None) -> Lane:
        """The lane to a key; to any host without one. Only once `is_known`."""
        if not self.is_cluster or key is None:
            return next(iter(self._lanes.values()))
        return self._slots[slot_of(key if isinstance(key, bytes) else str(key))]

    def bell_lane_of(self, channel: str) -> Lane:
        """The lane to the host that a subscriber of this channel must be at."""
        return self.lane_of(channel if self.is_sharded else None)

    def lane_at(self, host: str, port: int) -> Lane:
        """The lane to a host that a reply named."""
        return self._lane(self._seed.at(host, port))

    async def learn(self) -> None:
        """Ask who keeps what.

        Raises:
            Lost: If nobody answers.
        """
        error = Lost("no host of Redis is known")
        for lane in [*self.lanes, self._lane(self._seed)]:
            try:
                await self._learn_from(lane)
                return
            except Lost as lost:
                error = lost
        raise error

    async def close(self) -> None:
        for lane in self.lanes:
            await lane.close()

    async def _learn_from(self, lane: Lane) -> None:
        info = _facts(await _answer(lane, "INFO"))
        self.is_cluster = info.get("cluster_enabled") == "1"
        version = int(info.get("redis_version", "0").partition(".")[0])
        self.is_sharded = self.is_cluster and version >= SHARDED_SINCE
        kept = {lane.address: lane}
        if self.is_cluster:
            kept = self._take_slots(await _answer(lane, "CLUSTER", "SLOTS"), lane)
        gone = [other for other in self.lanes if other.address not in kept]
        self._lanes = kept
        self.is_known = True
        for other in gone:
            await other.close()

    def _take_slots(self, ranges: list[Any], asked: Lane) -> dict[Address, Lane]:
        slots: list[Lane | None] = [None] * SLOTS
        kept: dict[Address, Lane] = {}
        for first, last, primary, *_ in ranges:
            host = primary[0].decode() if primary[0] else asked.address.host
            lane = self.lane_at(host, primary[1])
            kept[lane.address] = lane
            slots[first : last + 1] = [lane] * (last + 1 - first)
        known = [lane for lane in slots if lane is not None]
        if len(known) < SLOTS:
            raise Lost("some slots of the cluster are nobody's")
        self._slots = known
        return kept

    def _lane(self, address: Address) -> Lane:
        if address not in self._lanes:
            self._lanes[address] = Lane(address, self._on_change)
        return self._lanes[address]


async def _answer(lane: Lane, *command: str) -> Any:
    reply = await lane.ask(command)
    if isinstance(reply, Refusal):
        raise Lost(str(reply))
    return reply


def _facts(info: bytes) -> dict[str, str]:
    lines = [line.partition(":") for line in info.decode().splitlines()]
    return {name: value for name, colon, value in lines if colon}
