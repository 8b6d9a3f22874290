"""Who looks after seats: renews the own lease, takes away what a dead process left."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.room_samples import RoomClock
from tests.support.seats import make_client, make_rooms
from tests.support.virtual_time import pass_time, virtual
from wsserver.core.rooms import PresenceKeeper, RoomBounds, Rooms
from wsserver.core.rooms.presence import BEAT, LEASE
from wsserver.stores.memory.presence import MemoryPresence
from wsserver.stores.memory.room_broker import MemoryRoomBroker
from wsserver.stores.memory.room_state import MemoryRooms
from wsserver_protocol import events

GRACE = 30.0


def keeper(shared: MemoryRooms, rooms: Rooms) -> PresenceKeeper:
    """What looks after the seats of a process."""
    assert isinstance(rooms.broker, MemoryRoomBroker)
    presence = MemoryPresence(shared, rooms.broker.node, GRACE)
    return PresenceKeeper(presence, rooms.lapse, rooms.broker.sweep)


@virtual
async def test_a_dead_process_leaves_no_ghosts() -> None:
    """Its members leave once for everyone, after lease and grace; the living stay."""
    clock = RoomClock()
    shared = MemoryRooms(RoomBounds(), clock)
    living, dying = make_rooms(shared), make_rooms(shared)
    ada, seat = make_client("ada")
    await living.join(ada, "r")
    for tab in range(2):
        await dying.join(make_client("bob")[0], "r")
        assert len([e for e in seat.events if isinstance(e, events.RoomUserJoined)]) == 1, tab
    await keeper(shared, dying).beat()
    looking = asyncio.create_task(keeper(shared, living).run())
    waited = 0.0
    while not any(isinstance(event, events.RoomUserLeft) for event in seat.events):
        assert waited < LEASE + GRACE + 2 * BEAT
        await pass_time(BEAT)
        clock.pass_seconds(BEAT)
        waited += BEAT
    assert waited > LEASE + GRACE
    (left,) = [event for event in seat.events if isinstance(event, events.RoomUserLeft)]
    assert (left.user_id, left.reason, left.participants) == ("bob", "timeout", 1)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking


@virtual
async def test_who_ends_in_order_resigns() -> None:
    """The lease is over at once, so that only the grace is left for coming back elsewhere."""
    clock = RoomClock()
    shared = MemoryRooms(RoomBounds(), clock)
    living, ending = make_rooms(shared), make_rooms(shared)
    await ending.join(make_client("bob")[0], "r")
    task = asyncio.create_task(keeper(shared, ending).run())
    await pass_time(BEAT)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    clock.pass_seconds(GRACE + 1)
    await keeper(shared, living).beat()
    assert shared.rooms == {}
