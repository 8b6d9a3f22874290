"""The Python client runs rooms of the real server."""

from __future__ import annotations

import pytest

from tests.support.server import ServerProcess
from wsserver_client import (
    AnswerStarted,
    Left,
    RoleChanged,
    RoomEvent,
    RoomEvents,
    SettingsChanged,
    WireFailure,
    connect,
)


async def until(events: RoomEvents, kind: type[RoomEvent]) -> RoomEvent:
    """The next event of a kind."""
    async for event in events:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"the room ended without {kind.__name__}")


async def test_rooms_are_run(server: ServerProcess) -> None:
    """Settings, roles, invites, kicks and bans: what each does to the other member."""
    async with (
        connect(server.ws_url, user_id="py-ada") as ada,
        connect(server.ws_url, user_id="py-bob") as bob,
    ):
        room = await ada.join_room("py-run", name="Ada")
        settings = await room.update(access="invited", when_busy="reject", max_members=5)
        assert settings == {"access": "invited", "whenBusy": "reject", "maxMembers": 5}
        with pytest.raises(WireFailure) as refused:
            await bob.join_room("py-run")
        assert refused.value.code == "forbidden"
        invite = await room.invite(role="moderator", expires_in_ms=60_000)
        seen = await bob.join_room("py-run", name="Bob", invite=invite)
        assert (seen.role, seen.settings["access"]) == ("moderator", "invited")
        events = seen.events()
        await room.set_role("py-bob", "viewer")
        assert await until(events, RoleChanged) == RoleChanged("py-bob", "viewer", "py-ada")
        assert seen.role == "viewer"
        await room.update(title="T")
        changed = await until(events, SettingsChanged)
        assert isinstance(changed, SettingsChanged)
        assert changed.settings["title"] == "T"
        await room.kick("py-bob")
        left = await until(events, Left)
        assert isinstance(left, Left)
        assert (left.user_id, left.reason) == ("py-bob", "kicked")
        assert seen.is_left
        await room.ban("py-bob")
        with pytest.raises(WireFailure):
            await bob.join_room("py-run", invite=invite)
        await room.unban("py-bob")
        await bob.join_room("py-run", invite=invite)


async def test_every_tab_of_the_kicked_knows(server: ServerProcess) -> None:
    """Each client of a kicked user ends its room, the one that was not named first, too."""
    async with (
        connect(server.ws_url, user_id="py-cyd") as owner,
        connect(server.ws_url, user_id="py-dan") as first,
        connect(server.ws_url, user_id="py-dan") as second,
    ):
        room = await owner.join_room("py-tabs")
        tabs = [await client.join_room("py-tabs") for client in (first, second)]
        readers = [tab.events() for tab in tabs]
        await room.kick("py-dan")
        for reader, tab in zip(readers, tabs, strict=True):
            await until(reader, Left)
            assert tab.is_left


async def test_an_answer_in_line_starts_and_waits(server: ServerProcess) -> None:
    """Of two questions at once the second is answered after the first; both are told to all."""
    async with (
        connect(server.ws_url) as ada,
        connect(server.ws_url) as bob,
    ):
        room = await ada.join_room("py-line")
        events = (await bob.join_room("py-line")).events()
        first = room.ask("one", max_tokens=20)
        second = room.ask("two", max_tokens=3)
        results = [await first.result(), await second.result()]
        assert [result.total_tokens for result in results] == [20, 3]
        for expected in (first, second):
            started = await until(events, AnswerStarted)
            assert isinstance(started, AnswerStarted)
            assert (await started.stream.result()).text == (await expected.result()).text


async def test_a_client_that_closes_has_left(server: ServerProcess) -> None:
    """An intentional close leaves the rooms at once: nobody sees a place that is kept."""
    async with connect(server.ws_url, user_id="py-ada") as ada:
        events = (await ada.join_room("py-close")).events()
        async with connect(server.ws_url, user_id="py-bob") as bob:
            await bob.join_room("py-close")
        left = await until(events, Left)
        assert isinstance(left, Left)
        assert (left.user_id, left.reason) == ("py-bob", "left")
