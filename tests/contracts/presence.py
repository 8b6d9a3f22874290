"""What leases on seats must do, run on each store: no ghosts, and nobody thrown out too soon."""

from __future__ import annotations

from tests.contracts.room_samples import MakeProcess, Process, RoomClock, key
from wsserver.core.rooms.bounds import RoomBounds
from wsserver.core.rooms.changes import Left
from wsserver.core.rooms.presence import LEASE, Lapsed

GRACE = 30.0


class PresenceContract:
    """Subclass it beside `RoomBrokerContract`, whose fixtures it takes."""

    async def pair(self, make: MakeProcess) -> tuple[Process, Process]:
        """Two living processes."""
        one, two = await make(RoomBounds(), GRACE), await make(RoomBounds(), GRACE)
        for process in (one, two):
            await process.presence.renew()
        return one, two

    async def test_seats_of_the_living_stay(self, make: MakeProcess, clock: RoomClock) -> None:
        """However long, as long as the lease is renewed."""
        one, two = await self.pair(make)
        await one.join("ada")
        await two.join("bob")
        for _ in range(20):
            clock.pass_seconds(LEASE - 1)
            for process in (one, two):
                await process.presence.renew()
        assert await one.presence.lapsed() == []

    async def test_seats_of_the_dead_lapse_after_the_grace(
        self, make: MakeProcess, clock: RoomClock
    ) -> None:
        """Not before, all of them, until someone has them leave; then each is told once."""
        one, two = await self.pair(make)
        await one.join("ada")
        await two.join("bob", "1")
        await two.join("bob", "2")
        clock.pass_seconds(LEASE + GRACE - 1)
        await one.presence.renew()
        assert await one.presence.lapsed() == []
        clock.pass_seconds(2)
        lapsed = await one.presence.lapsed()
        assert set(lapsed) == {Lapsed("r", key("bob"), f"bob-{tab}") for tab in "12"}
        assert set(await one.presence.lapsed()) == set(lapsed)
        for seat in [*lapsed, *lapsed]:
            await one.lapse(seat)
        (left,) = one.heard(Left)
        assert (left.user_id, left.reason, left.participants) == ("bob", "timeout", 1)
        assert await one.presence.lapsed() == []

    async def test_who_came_back_elsewhere_is_not_thrown_out(
        self, make: MakeProcess, clock: RoomClock
    ) -> None:
        """A seat that was taken again through a living process is that one's."""
        one, two = await self.pair(make)
        await two.join("bob")
        await two.presence.resign()
        await one.join("bob")
        clock.pass_seconds(GRACE + 1)
        await one.presence.renew()
        assert await one.presence.lapsed() == []

    async def test_a_process_that_ends_in_order_leaves_the_grace(
        self, make: MakeProcess, clock: RoomClock
    ) -> None:
        """Its clients have the window for coming back, and no lease more."""
        one, two = await self.pair(make)
        await two.join("bob")
        await two.presence.resign()
        clock.pass_seconds(GRACE - 1)
        await one.presence.renew()
        assert await one.presence.lapsed() == []
        clock.pass_seconds(2)
        assert await one.presence.lapsed() == [Lapsed("r", key("bob"), "bob-1")]
