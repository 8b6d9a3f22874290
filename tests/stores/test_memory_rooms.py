"""Rooms in memory: the contracts of broker and presence."""

from __future__ import annotations

import pytest

from tests.contracts.presence import PresenceContract
from tests.contracts.room_broker import RoomBrokerContract
from tests.contracts.room_running import RoomRunningContract
from tests.contracts.room_samples import MakeProcess, Process, RoomClock
from wsserver.core.rooms.bounds import RoomBounds
from wsserver.stores.memory.presence import MemoryPresence
from wsserver.stores.memory.room_broker import MemoryRoomBroker
from wsserver.stores.memory.room_state import MemoryRooms

DEFAULTS = RoomBounds()


class TestMemoryRooms(RoomBrokerContract, RoomRunningContract, PresenceContract):
    """The contracts in memory."""

    @pytest.fixture
    def make(self, clock: RoomClock) -> MakeProcess:
        """Processes on one memory; the first one's bounds hold."""
        shared: list[MemoryRooms] = []

        async def make(bounds: RoomBounds = DEFAULTS, grace: float = 30.0) -> Process:
            if not shared:
                shared.append(MemoryRooms(bounds, clock))
            broker = MemoryRoomBroker(shared[0])
            return Process(broker, MemoryPresence(shared[0], broker.node, grace))

        return make
