"""Rooms on Redis, alone and as a cluster: the contracts of broker and presence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.contracts.presence import PresenceContract
from tests.contracts.room_broker import RoomBrokerContract
from tests.contracts.room_running import RoomRunningContract
from tests.contracts.room_samples import MakeProcess, Process, RoomClock, key, seat
from tests.support.redis_rooms import SettledBroker, redis_rooms
from wsserver.core.rooms.bounds import RoomBounds
from wsserver_protocol.errors import ErrorCode, WireError

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

    async def test_an_ask_that_comes_too_late_is_refused(self, one: Process, two: Process) -> None:
        """Its step was held up on a broken connection, and its answer was given up meanwhile."""
        await one.join("ada")
        assert await two.answer("s1") is None
        with pytest.raises(WireError) as refused:
            await one.ask("ada", "s1")
        assert refused.value.code is ErrorCode.OVERLOADED
        assert await one.ask("ada", "s2") == (1, ())

    async def test_what_comes_late_takes_no_seat(self, one: Process, two: Process) -> None:
        """A client that has come back elsewhere keeps its seat, whatever a process that it has left
        still asks for it, to enter or to leave."""
        await one.join("ada")
        await two.broker.join("r", replace(seat("ada"), takes=1))
        with pytest.raises(WireError) as refused:
            await one.join("ada")
        assert refused.value.code is ErrorCode.NOT_IN_ROOM
        assert await one.broker.leave("r", key("ada"), "ada-1", "left", 0) == []
        assert await two.say("ada", "still here") == 1
        joined = await one.broker.join("r", replace(seat("ada"), takes=2))
        assert joined.participants == 1
        await one.broker.leave("r", key("ada"), "ada-1", "left", 2)
        assert (await two.join("bob")).participants == 1
