"""Leases of a single process; several share one `MemoryRooms` where tests need them to."""

from __future__ import annotations

from wsserver.core.rooms.presence import LEASE, Lapsed
from wsserver.stores.memory.room_state import MemoryRooms


class MemoryPresence:
    """Leases in memory.

    Args:
        shared: The rooms, whose clock is ours.
        node: Name of the process, that of its broker.
        grace: Seconds for which a seat outlives its process.
    """

    def __init__(self, shared: MemoryRooms, node: str, grace: float) -> None:
        self._shared = shared
        self._node = node
        self._grace = grace

    async def renew(self) -> None:
        self._shared.leases[self._node] = self._shared.clock() + LEASE * 1000

    async def lapsed(self) -> list[Lapsed]:
        shared = self._shared
        oldest = shared.clock() - self._grace * 1000
        dead = {node for node in shared.processes if shared.leases.get(node, oldest) < oldest}
        return [
            Lapsed(room.room_id, member.user_key, client_id)
            for room in shared
            for member in room.members.values()
            for client_id, node in member.seats.items()
            if node in dead
        ]

    async def resign(self) -> None:
        self._shared.leases[self._node] = self._shared.clock()
