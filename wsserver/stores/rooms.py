"""Where a configuration keeps what its rooms share."""

from __future__ import annotations

from typing import NamedTuple

from wsserver.config import Config
from wsserver.core.rooms import Presence, RoomBounds, RoomBroker
from wsserver.stores.memory.presence import MemoryPresence
from wsserver.stores.memory.room_broker import MemoryRoomBroker
from wsserver.stores.memory.room_state import MemoryRooms


class RoomStores(NamedTuple):
    """This process's way to the shared rooms, and its lease on the seats taken through it."""

    broker: RoomBroker
    presence: Presence


def room_bounds(config: Config) -> RoomBounds:
    """What a configuration keeps of rooms."""
    rooms = config.rooms
    return RoomBounds(
        entries=rooms.history_entries,
        entry_seconds=rooms.history_seconds,
        rooms=rooms.max_rooms,
        keep_seconds=rooms.keep_seconds,
        repeat_seconds=config.idempotency.retention_seconds,
    )


def open_room_stores(config: Config) -> RoomStores:
    """Rooms in memory."""
    shared = MemoryRooms(room_bounds(config))
    broker = MemoryRoomBroker(shared)
    presence = MemoryPresence(shared, broker.node, config.resume.window_seconds)
    return RoomStores(broker, presence)
