"""What every room broker must do for those who run a room: roles, bans, invites, settings."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from tests.contracts.room_samples import Process, RoomClock, key, origin
from wsserver.core.rooms.bounds import INVITES_KEPT
from wsserver.core.rooms.broker import Known
from wsserver.core.rooms.changes import Configured, Left, Ranked
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.fields import Access, Role, WhenBusy
from wsserver_protocol.options import GenerationOptions
from wsserver_protocol.requests import RoomSettings


async def refused(call: Awaitable[object]) -> str:
    """The code that a call is refused with."""
    with pytest.raises(WireError) as error:
        await call
    return error.value.code.value


async def configure(process: Process, **settings: object) -> None:
    """Have ada change settings."""
    changes = RoomSettings(**settings)  # type: ignore[arg-type]  # as the test gives them
    await process.broker.configure("r", changes, "ada", origin("ada"))


class RoomRunningContract:
    """Subclass it beside `RoomBrokerContract`, whose fixtures it takes."""

    async def test_settings_are_replaced_one_by_one(self, one: Process, two: Process) -> None:
        """What is not given stays; an empty text takes a setting away; everyone is told all."""
        await one.join("ada")
        await two.join("bob")
        options = GenerationOptions(temperature=0.5, stop=("x",))
        await configure(one, title="T", model="m", system_prompt="Be brief.", options=options)
        await configure(one, when_busy=WhenBusy.STEER, max_members=9)
        await configure(one, system_prompt="", model="", title="")
        told = [change.settings for change in two.heard(Configured)]
        assert told[1] == RoomSettings(
            title="T",
            model="m",
            system_prompt="Be brief.",
            options=options,
            when_busy=WhenBusy.STEER,
            max_members=9,
        )
        wanted = RoomSettings(options=options, when_busy=WhenBusy.STEER, max_members=9)
        assert told[2] == wanted
        assert (await two.join("cyd")).settings == told[2]
        assert two.heard(Configured)[0].by == "ada"

    async def test_roles_are_given_and_remembered(self, one: Process, two: Process) -> None:
        """A role counts at once, everywhere, and for who comes back."""
        await one.join("ada")
        await two.join("bob")
        await one.set_role("bob", Role.MODERATOR)
        (ranked,) = two.heard(Ranked)
        assert (ranked.user_key, ranked.user_id) == (key("bob"), "bob")
        assert (ranked.role, ranked.by) == (Role.MODERATOR, "ada")
        await two.leave("bob")
        assert (await two.join("bob")).role is Role.MODERATOR
        await two.leave("bob")
        await one.set_role("bob", Role.VIEWER)
        assert (await two.join("bob")).role is Role.VIEWER
        assert await refused(one.set_role("nobody", Role.VIEWER)) == "invalid_parameters"

    async def test_reach_bounds_whom_one_acts_on(self, one: Process) -> None:
        """Whose role is above the caller's reach keeps it, and stays."""
        await one.join("ada")
        await one.join("bob")
        await one.set_role("bob", Role.MODERATOR)
        reach = Role.MEMBER
        for call in (
            one.set_role("bob", Role.VIEWER, reach),
            one.broker.kick("r", key("bob"), reach=reach, origin=origin("ada")),
            one.ban("bob", reach),
        ):
            assert await refused(call) == "forbidden"
        assert one.heard(Left) == []

    async def test_a_room_keeps_an_owner(self, one: Process) -> None:
        """The last owner there can't step down; with another one it can."""
        await one.join("ada")
        await one.join("bob")
        assert await refused(one.set_role("ada", Role.MEMBER)) == "forbidden"
        await one.set_role("bob", Role.OWNER)
        await one.set_role("ada", Role.MEMBER)
        assert (await one.join("ada")).role is Role.MEMBER

    async def test_a_kick_takes_all_seats_and_the_role(self, one: Process, two: Process) -> None:
        """Every process with a seat of the user hears which; it may come back as a member."""
        await one.join("ada")
        await one.join("bob", "1")
        await two.join("bob", "2")
        await one.set_role("bob", Role.MODERATOR)
        await one.broker.kick("r", key("bob"), reach=Role.OWNER, origin=origin("ada"))
        for process in (one, two):
            (left,) = process.heard(Left)
            assert (set(left.client_ids), left.reason) == ({"bob-1", "bob-2"}, "kicked")
            assert (left.participants, left.origin) == (1, origin("ada"))
        again = one.broker.kick("r", key("bob"), reach=Role.OWNER, origin=origin("ada"))
        assert await refused(again) == "invalid_parameters"
        assert (await two.join("bob", "2")).role is Role.MEMBER

    async def test_who_was_kicked_does_not_come_back_by_itself(
        self, one: Process, two: Process
    ) -> None:
        """Neither to the seat nor to another process; once it has joined again it may return."""
        await one.join("ada")
        await two.join("bob")
        await one.broker.kick("r", key("bob"), reach=Role.OWNER, origin=origin("ada"))
        for process in (one, two):
            assert await refused(process.join("bob", returns=True)) == "not_in_room"
        assert (await one.join("ada", returns=True)).participants == 1
        assert (await two.join("bob")).participants == 2
        assert (await one.join("bob", returns=True)).participants == 2

    async def test_a_ban_lasts_until_it_is_lifted(self, one: Process, two: Process) -> None:
        """The banned leave, come no more, do not see the room, and may be let in again."""
        await one.join("ada")
        await two.join("bob")
        await one.ban("bob")
        assert two.kinds() == ["Left"]  # nobody of its own is there any more
        assert [change.role for change in one.heard(Ranked)] == [None]
        assert one.kinds()[-2:] == ["Left", "Ranked"]
        assert await refused(two.join("bob")) == "forbidden"
        assert await two.broker.rooms(key("bob"), None, 10) == ([], False)
        assert await refused(one.set_role("bob", Role.MEMBER)) == "forbidden"
        await one.broker.unban("r", key("bob"), "bob", by="ada", origin=origin("ada"))
        assert one.heard(Ranked)[-1].role is Role.MEMBER
        assert (await two.join("bob")).role is Role.MEMBER
        again = one.broker.unban("r", key("bob"), "bob", by="ada", origin=origin("ada"))
        assert await refused(again) == "invalid_parameters"
        await one.ban("never-seen")
        assert await refused(two.join("never-seen")) == "forbidden"

    async def test_a_locked_room_takes_nobody_new(self, one: Process) -> None:
        """Who is there may open another tab, and moderators come back; others wait."""
        for user in ("ada", "bob", "cyd"):
            await one.join(user)
        await one.set_role("bob", Role.MODERATOR)
        token = await one.broker.invite("r", Role.MEMBER, 60.0, origin("ada"))
        await configure(one, locked=True)
        await one.leave("bob")
        await one.leave("cyd")
        assert await refused(one.join("cyd")) == "forbidden"
        assert await refused(one.join("dan", invite=token)) == "forbidden"
        assert (await one.join("bob")).role is Role.MODERATOR
        assert (await one.join("ada", "2")).participants == 2
        await configure(one, locked=False)
        assert (await one.join("cyd")).participants == 3

    async def test_a_full_room_takes_nobody_more(self, one: Process) -> None:
        """Members are counted, not tabs; a bound below the present number throws nobody out."""
        await one.join("ada")
        await one.join("bob")
        await configure(one, max_members=1)
        assert await refused(one.join("cyd")) == ErrorCode.ROOM_FULL.value
        assert (await one.join("bob", "2")).participants == 2
        await configure(one, max_members=3)
        assert (await one.join("cyd")).participants == 3

    async def test_a_room_for_the_invited(self, one: Process, clock: RoomClock) -> None:
        """An invite lets in and is remembered; without one, or past its time, one stays out."""
        await one.join("ada")
        await one.join("bob")
        await configure(one, access=Access.INVITED)
        token = await one.broker.invite("r", Role.MODERATOR, 60.0, origin("ada"))
        for given, words in (({}, "is required"), ({"invite": "guessed"}, "has expired")):
            with pytest.raises(WireError) as error:
                await one.join("cyd", **given)
            assert error.value.code is ErrorCode.FORBIDDEN
            assert words in error.value.details[0].message
        assert await one.broker.rooms(key("cyd"), None, 10) == ([], False)
        assert (await one.join("cyd", invite=token)).role is Role.MODERATOR
        for user in ("bob", "cyd"):  # who was there before the room was closed is known, too
            await one.leave(user)
        assert (await one.join("bob")).role is Role.MEMBER
        assert (await one.join("cyd")).role is Role.MODERATOR
        clock.pass_seconds(61)
        assert await refused(one.join("dan", invite=token)) == "forbidden"
        await one.broker.kick("r", key("bob"), reach=Role.OWNER, origin=origin("ada"))
        assert await refused(one.join("bob")) == "forbidden"

    async def test_who_sat_there_is_let_in_as_what_it_was(self, one: Process, two: Process) -> None:
        """A room that was lost is made again by its members, with its settings and their roles."""
        settings = RoomSettings(title="T", access=Access.INVITED)
        for process, user, role in ((two, "bob", Role.MEMBER), (one, "ada", Role.MODERATOR)):
            joined = await process.join(user, known=Known(role=role, settings=settings))
            assert (joined.role, joined.settings) == (role, settings)
        assert await refused(one.join("cyd")) == "forbidden"
        await one.leave("ada")
        assert (await one.join("ada")).role is Role.MODERATOR

    async def test_an_invite_raises_a_role_and_never_lowers_it(self, one: Process) -> None:
        """Who is there already gets the higher of both roles, and all are told."""
        await one.join("ada")
        await one.join("bob")
        token = await one.broker.invite("r", Role.MODERATOR, 60.0, origin("ada"))
        assert (await one.join("bob", invite=token)).role is Role.MODERATOR
        (ranked,) = one.heard(Ranked)
        assert (ranked.user_id, ranked.role) == ("bob", Role.MODERATOR)
        assert (await one.join("ada", invite=token)).role is Role.OWNER
        assert len(one.heard(Ranked)) == 1

    async def test_invites_are_bounded(self, one: Process) -> None:
        """With one too many the oldest is good no more."""
        await one.join("ada")
        await configure(one, access=Access.INVITED)
        tokens = [
            await one.broker.invite("r", Role.MEMBER, 60.0, origin("ada"))
            for _ in range(INVITES_KEPT + 1)
        ]
        assert len(set(tokens)) == INVITES_KEPT + 1
        assert await refused(one.join("bob", invite=tokens[0])) == "forbidden"
        assert (await one.join("bob", invite=tokens[1])).role is Role.MEMBER

    async def test_open_asks_are_told_to_who_is_not_there(self, one: Process, two: Process) -> None:
        """In order of asking, until they have their answers; a room that is not there has none."""
        assert await two.broker.open_asks("r") == []
        await one.join("ada")
        await one.ask("ada", "s1")
        await one.ask("ada", "s2")
        assert await two.broker.open_asks("r") == ["s1", "s2"]
        await one.answer("s1")
        assert await two.broker.open_asks("r") == ["s2"]

    async def test_rooms_are_listed_in_pages(self, one: Process) -> None:
        """By roomId, with title and count, after a cursor."""
        for room_id in ("c", "a", "b"):
            await one.join("ada", room_id=room_id)
        page, more = await one.broker.rooms(key("bob"), None, 2)
        assert ([(r.room_id, r.title, r.participants) for r in page], more) == (
            [("a", None, 1), ("b", None, 1)],
            True,
        )
        page, more = await one.broker.rooms(key("bob"), "b", 2)
        assert ([room.room_id for room in page], more) == (["c"], False)
