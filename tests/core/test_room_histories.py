"""Rooms of two processes that share a memory, against a plain model."""

from __future__ import annotations

from hypothesis import settings

from tests.support.room_history import RoomHistory
from tests.support.seats import make_rooms
from wsserver.core.rooms import RoomBounds, Rooms
from wsserver.stores.memory.room_state import MemoryRooms


class HistoryInMemory(RoomHistory):
    """Two processes on one memory."""

    def begin(self) -> list[Rooms]:
        shared = MemoryRooms(RoomBounds())
        return [make_rooms(shared), make_rooms(shared)]


HistoryInMemory.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestRoomHistory = HistoryInMemory.TestCase
