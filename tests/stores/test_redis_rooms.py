"""Rooms on Redis, alone and as a cluster: the contracts of broker and presence."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contracts.presence import PresenceContract
from tests.contracts.room_broker import RoomBrokerContract
from tests.contracts.room_running import RoomRunningContract
from tests.contracts.room_samples import MakeProcess, Process, RoomClock
from tests.support.redis_rooms import SettledBroker, redis_rooms
from wsserver.core.rooms.broker import RoomBounds

DEFAULTS = RoomBounds()


class TestRedisRooms(RoomBrokerContract, RoomRunningContract, PresenceContract):
    """The contracts on Redis."""

    @pytest.fixture
    async def make(self, redis_url: str, clock: RoomClock) -> AsyncIterator[MakeProcess]:
        """Processes on one Redis; the first one's bounds hold."""
        async with redis_rooms(redis_url, clock) as fleet:
            held: list[RoomBounds] = []

            async def make(bounds: RoomBounds = DEFAULTS, grace: float = 30.0) -> Process:
                held.append(bounds)
                broker = fleet.broker(held[0])
                settled = SettledBroker(broker, fleet)
                return Process(settled, fleet.presence(broker, grace))

            yield make
