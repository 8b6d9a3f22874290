"""Running a room over real sockets: settings, roles, kicks, bans, invites, and who hears of it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.conftest import Connect, StartServer
from tests.integration.test_rooms import join
from tests.support.waiting import eventually
from tests.support.wire import Frame, Wire


async def named(connect: Connect, *users: str, room_id: str) -> list[Wire]:
    """Users in a room, the first its owner."""
    wires = []
    for user in users:
        wire = await connect()
        await wire.ask("authenticate", userId=f"{user}-{room_id}")
        await join(wire, room_id, name=user.title())
        wires.append(wire)
    return wires


async def refused(wire: Wire, kind: str, **fields: Any) -> str:
    """The code of a refusal."""
    error: Frame = await wire.ask(kind, **fields)
    assert error["type"] == "error", error
    return str(error["code"])


async def test_settings_are_told_to_all(connect: Connect) -> None:
    """`room_updated` has all settings, the caller's copy its requestId; what is absent stays."""
    ada, bob = await named(connect, "ada", "bob", room_id="set")
    reply = await ada.ask("update_room", roomId="set", settings={"title": "T", "ask": "members"})
    assert (reply["type"], reply["by"]) == ("room_updated", "ada-set")
    told = await bob.until("room_updated")
    assert told["settings"] == reply["settings"] == {"title": "T", "ask": "members"}
    assert "requestId" not in told
    reply = await ada.ask("update_room", roomId="set", settings={"maxMembers": 7})
    assert reply["settings"] == {"title": "T", "ask": "members", "maxMembers": 7}
    assert (await join(bob, "set"))["settings"] == reply["settings"]
    rooms = (await bob.ask("list_rooms", limit=200))["rooms"]
    assert {"roomId": "set", "title": "T", "participants": 2} in rooms


@pytest.mark.parametrize(
    ("settings", "code", "field"),
    [
        ({"model": "nobody"}, "model_not_found", "settings.model"),
        ({"options": {"regex": "x"}}, "unsupported_option", "settings.options.regex"),
        ({"options": {"temperature": 9}}, "invalid_parameters", "settings.options.temperature"),
        ({"maxMembers": 0}, "invalid_parameters", "settings.maxMembers"),
        ({"access": "closed"}, "invalid_parameters", "settings.access"),
        ({"whenBusy": "panic"}, "invalid_parameters", "settings.whenBusy"),
        ({"locked": "yes"}, "invalid_parameters", "settings.locked"),
    ],
)
async def test_each_setting_is_checked(wire: Wire, settings: Any, code: str, field: str) -> None:
    """What a room could not keep is refused by name, and nothing has changed."""
    room_id = f"checked {field} {code}"
    await join(wire, room_id)
    error = await wire.ask("update_room", roomId=room_id, settings={"title": "x", **settings})
    assert (error["code"], error["details"][0]["field"]) == (code, field)
    assert (await join(wire, room_id))["settings"] == {}


async def test_only_owners_and_moderators_run_a_room(connect: Connect) -> None:
    """A member is refused each of it; a moderator acts on members, and not on its peers."""
    ada, bob, cyd = await named(connect, "ada", "bob", "cyd", room_id="run")
    requests: list[tuple[str, Frame]] = [
        ("update_room", {"settings": {"title": "mine"}}),
        ("set_role", {"userId": "bob-run", "role": "owner"}),
        ("kick", {"userId": "bob-run"}),
        ("ban", {"userId": "bob-run"}),
        ("unban", {"userId": "bob-run"}),
        ("create_invite", {}),
    ]
    for kind, fields in requests:
        assert await refused(cyd, kind, roomId="run", **fields) == "forbidden"
        assert await refused(await connect(), kind, roomId="run", **fields) == "not_in_room"
    role = await ada.ask("set_role", roomId="run", userId="bob-run", role="moderator")
    assert (role["type"], role["role"], role["by"]) == ("room_role", "moderator", "ada-run")
    assert (await cyd.until("room_role"))["userId"] == "bob-run"
    for kind in ("kick", "ban"):
        assert await refused(bob, kind, roomId="run", userId="ada-run") == "forbidden"
        assert await refused(bob, kind, roomId="run", userId="bob-run") == "invalid_parameters"
    promote = {"roomId": "run", "userId": "cyd-run", "role": "moderator"}
    assert await refused(bob, "set_role", **promote) == "forbidden"
    reply = await bob.ask("set_role", roomId="run", userId="cyd-run", role="viewer")
    assert reply["role"] == "viewer"
    own = await bob.ask("set_role", roomId="run", userId="bob-run", role="member")
    assert own["role"] == "member"
    step_down = {"roomId": "run", "userId": "ada-run", "role": "member"}
    assert await refused(ada, "set_role", **step_down) == "forbidden"


async def test_viewers_only_look(connect: Connect) -> None:
    """A viewer hears everything and says nothing; it asks only where everyone may."""
    ada, eve = await named(connect, "ada", "eve", room_id="view")
    await ada.ask("set_role", roomId="view", userId="eve-view", role="viewer")
    assert await refused(eve, "room_message", roomId="view", text="x") == "forbidden"
    error = await eve.ask("stream", prompt="x", roomId="view")
    assert (error["type"], error["code"]) == ("stream_error", "forbidden")
    await ada.ask("room_message", roomId="view", text="hello")
    assert (await eve.until("room_message"))["text"] == "hello"
    await ada.ask("update_room", roomId="view", settings={"ask": "everyone"})
    start = await eve.stream(roomId="view", options={"maxTokens": 2})
    await eve.end_of(start["streamId"])
    await ada.ask("update_room", roomId="view", settings={"ask": "moderators"})
    await ada.ask("set_role", roomId="view", userId="eve-view", role="member")
    assert (await eve.ask("stream", prompt="x", roomId="view"))["code"] == "forbidden"


async def test_a_kick_is_seen_by_all_and_keeps_the_connection(connect: Connect) -> None:
    """The kicked is told, is out with all its tabs, sees no more, and may come back."""
    ada, bob = await named(connect, "ada", "bob", room_id="kick")
    tab = await connect()
    await tab.ask("authenticate", userId="bob-kick")
    await join(tab, "kick")
    start = await ada.stream(roomId="kick", options={"maxTokens": 100_000})
    await bob.first_token(start["streamId"])
    reply = await ada.ask("kick", roomId="kick", userId="bob-kick")
    assert (reply["type"], reply["reason"], reply["participants"]) == (
        "room_user_left",
        "kicked",
        1,
    )
    for wire in (bob, tab):
        left = await wire.until("room_user_left")
        assert (left["userId"], left["reason"]) == ("bob-kick", "kicked")
        assert await wire.settle() == []
        assert await refused(wire, "room_message", roomId="kick", text="x") == "not_in_room"
        assert (await wire.ask("get_status"))["rooms"] == []
    assert await refused(ada, "kick", roomId="kick", userId="bob-kick") == "invalid_parameters"
    assert (await join(bob, "kick"))["role"] == "member"
    await ada.send(type="stop_stream", streamId=start["streamId"])
    await bob.end_of(start["streamId"])


async def test_a_ban_holds_for_every_tab_and_resume(connect: Connect) -> None:
    """The banned can't come in, nor back by `resume`; unbanned it can."""
    ada, bob = await named(connect, "ada", "bob", room_id="ban")
    token = bob.connected["resumeToken"]
    await bob.cut()
    reply = await ada.ask("ban", roomId="ban", userId="bob-ban")
    assert (reply["type"], reply["role"], reply["by"]) == ("room_role", "banned", "ada-ban")
    (left,) = ada.of_type("room_user_left")
    assert (left["userId"], left["reason"]) == ("bob-ban", "banned")
    back = await connect()
    resumed = await back.ask("resume", resumeToken=token, rooms={"ban": 0})
    assert (resumed["type"], resumed["rooms"]) == ("resumed", [])
    assert await refused(back, "join_room", roomId="ban") == "forbidden"
    assert (await ada.ask("unban", roomId="ban", userId="bob-ban"))["role"] == "member"
    assert (await join(back, "ban"))["role"] == "member"
    assert await refused(ada, "unban", roomId="ban", userId="bob-ban") == "invalid_parameters"


async def test_rooms_for_the_invited(connect: Connect) -> None:
    """Without an invite one neither enters nor sees the room; with one, in its role."""
    (ada,) = await named(connect, "ada", room_id="inv")
    await ada.ask("update_room", roomId="inv", settings={"access": "invited"})
    invite = await ada.ask("create_invite", roomId="inv", role="viewer", expiresIn=60_000)
    assert (invite["type"], invite["roomId"]) == ("room_invite", "inv")
    assert invite["expiresAt"] > 0
    guest = await connect()
    assert await refused(guest, "join_room", roomId="inv") == "forbidden"
    error = await guest.ask("join_room", roomId="inv", invite="guessed")
    assert (error["code"], error["details"][0]["field"]) == ("forbidden", "invite")
    listed = (await guest.ask("list_rooms", limit=200))["rooms"]
    assert "inv" not in [room["roomId"] for room in listed]
    assert (await join(guest, "inv", invite=invite["invite"]))["role"] == "viewer"
    listed = (await guest.ask("list_rooms", limit=200))["rooms"]
    assert "inv" in [room["roomId"] for room in listed]


async def test_locked_and_full_rooms(connect: Connect) -> None:
    """A lock keeps everyone new out, a bound those who are too many."""
    ada, _ = await named(connect, "ada", "bob", room_id="lock")
    guest = await connect()
    await ada.ask("update_room", roomId="lock", settings={"locked": True})
    assert await refused(guest, "join_room", roomId="lock") == "forbidden"
    await ada.ask("update_room", roomId="lock", settings={"locked": False, "maxMembers": 2})
    assert await refused(guest, "join_room", roomId="lock") == "room_full"
    await ada.ask("update_room", roomId="lock", settings={"maxMembers": 3})
    assert (await join(guest, "lock"))["participants"] == 3


async def test_ownership_is_handed_on(connect: Connect) -> None:
    """When the owner leaves, the member there longest owns the room, and all hear of it."""
    ada, bob, cyd = await named(connect, "ada", "bob", "cyd", room_id="heir")
    await ada.ask("leave_room", roomId="heir")
    for wire in (bob, cyd):
        role = await wire.until("room_role")
        assert (role["userId"], role["role"], role["by"]) == ("bob-heir", "owner", "server")
    assert (await join(ada, "heir"))["role"] == "owner"


async def test_settings_shape_the_answers(connect: Connect) -> None:
    """Model, system prompt and options of the room hold where a stream gives none of its own."""
    (ada,) = await named(connect, "ada", room_id="shape")
    settings = {"model": "default", "systemPrompt": "one two three", "options": {"maxTokens": 4}}
    await ada.ask("update_room", roomId="shape", settings=settings)
    start = await ada.stream("four", roomId="shape")
    end = await ada.end_of(start["streamId"])
    assert (end["totalTokens"], end["finishReason"]) == (4, "length")
    assert end["usage"]["promptTokens"] == 5  # "one two three", "Ada: four"
    start = await ada.stream("four", roomId="shape", system="x", options={"maxTokens": 2})
    end = await ada.end_of(start["streamId"])
    assert end["totalTokens"] == 2


async def test_one_s_own_place_is_taken_up_again(connect: Connect) -> None:
    """A `resume` with the token of the connection itself, in a room, is answered like any other."""
    (ada,) = await named(connect, "ada", room_id="own")
    token = ada.connected["resumeToken"]
    resumed = await ada.ask("resume", resumeToken=token, rooms={"own": 0})
    assert [room["roomId"] for room in resumed["rooms"]] == ["own"]
    assert (await ada.ask("room_message", roomId="own", text="still here"))["seq"] == 1


async def test_what_follows_a_resume_counts_on_it(connect: Connect) -> None:
    """Sent behind the `resume` in one go, a message is said in the room that came back."""
    ada, bob = await named(connect, "ada", "bob", room_id="behind")
    await bob.cut()
    back = await connect()
    token = bob.connected["resumeToken"]
    await back.send(type="resume", resumeToken=token, rooms={"behind": 0}, requestId="1")
    await back.send(type="room_message", roomId="behind", text="back", requestId="2")
    await back.until("resumed")
    assert (await back.until("room_message", requestId="2"))["text"] == "back"
    assert (await ada.until("room_message"))["text"] == "back"


async def test_an_empty_room_may_be_kept(start_server: StartServer, connect: Connect) -> None:
    """With `rooms.keep_seconds` log, settings and roles wait for those who come back."""
    keeping = start_server("--set", "rooms.keep_seconds=600", "--set", "rooms.history_entries=3")
    ada = await connect(to=keeping)
    await ada.ask("authenticate", userId="ada")
    before = await join(ada, "kept")
    await ada.ask("update_room", roomId="kept", settings={"title": "Kept"})
    for number in range(5):
        await ada.ask("room_message", roomId="kept", text=f"m{number}")
    await ada.ask("leave_room", roomId="kept")
    listed = (await ada.ask("list_rooms"))["rooms"]
    assert listed == [{"roomId": "kept", "title": "Kept", "participants": 0}]
    guest = await connect(to=keeping)
    joined = await join(guest, "kept", lastSeq={"epoch": before["epoch"], "seq": 2})
    assert (joined["role"], joined["recovered"], joined["seq"]) == ("member", True, 5)
    assert [entry["text"] for entry in joined["messages"]] == ["m2", "m3", "m4"]
    too_old = await join(guest, "kept", lastSeq={"epoch": before["epoch"], "seq": 1})
    assert too_old["recovered"] is False
    assert (await join(ada, "kept"))["role"] == "owner"


async def test_invites_last_as_long_as_the_server_says(
    start_server: StartServer, connect: Connect
) -> None:
    """A longer wish is cut to `rooms.invite_seconds`; past its time an invite is none."""
    brief = start_server("--set", "rooms.invite_seconds=0.001")
    ada, bob = await connect(to=brief), await connect(to=brief)
    await join(ada, "brief")
    await ada.ask("update_room", roomId="brief", settings={"access": "invited"})
    invite = await ada.ask("create_invite", roomId="brief", expiresIn=86_400_000)
    assert invite["expiresAt"] < 1000 * (time.time() + 3600)
    await eventually(lambda: 1000 * time.time() > invite["expiresAt"])
    error = await bob.ask("join_room", roomId="brief", invite=invite["invite"])
    assert error["code"] == "forbidden"
