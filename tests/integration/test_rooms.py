"""Rooms: who is in, one log for all, an answer that everyone sees, and no ghosts."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.conftest import Connect, StartServer
from tests.support.wire import Frame, Wire


async def join(wire: Wire, room_id: str, **fields: Any) -> Frame:
    """Join a room and return the reply."""
    joined = await wire.ask("join_room", roomId=room_id, **fields)
    assert joined["type"] == "room_joined", joined
    return joined


async def test_the_first_member_owns_the_room(wire: Wire) -> None:
    """`room_joined` has every field; whoever comes first is the owner."""
    joined = await join(wire, "first", name="Ada", state={"typing": False})
    assert joined["participants"] == 1
    assert joined["role"] == "owner"
    assert (joined["seq"], joined["recovered"], joined["messages"]) == (0, True, [])
    assert joined["activeStreams"] == []
    assert joined["epoch"]
    assert joined["settings"] == {}
    (member,) = joined["members"]
    assert member["clientIds"] == [wire.connected["clientId"]]
    assert (member["name"], member["state"], member["role"]) == ("Ada", {"typing": False}, "owner")


async def test_joining_is_told_to_the_others_once(connect: Connect) -> None:
    """Others hear of a new user with the count; joining again answers and tells nobody."""
    one, two = await connect(), await connect()
    await join(one, "told")
    joined = await join(two, "told", name="Bo")
    assert (joined["participants"], joined["role"]) == (2, "member")
    told = await one.until("room_user_joined")
    assert (told["roomId"], told["clientId"]) == ("told", two.connected["clientId"])
    assert (told["participants"], told["member"]["name"]) == (2, "Bo")
    assert "requestId" not in told
    again = await join(two, "told")
    assert again["participants"] == 2
    assert await one.settle() == []


async def test_a_user_counts_once(connect: Connect) -> None:
    """Two tabs of one user are one member; only the last one's leaving is told."""
    tabs = [await connect() for _ in range(2)]
    other = await connect()
    for tab in tabs:
        await tab.ask("authenticate", userId="two-tabs")
    await join(other, "tabs")
    for tab in tabs:
        joined = await join(tab, "tabs")
        assert joined["participants"] == 2
    assert len(joined["members"][1]["clientIds"]) == 2
    await other.until("room_user_joined")
    assert await other.settle() == []
    assert (await tabs[0].ask("leave_room", roomId="tabs"))["type"] == "room_left"
    assert await other.settle() == []
    await tabs[1].ask("leave_room", roomId="tabs")
    left = await other.until("room_user_left")
    assert (left["participants"], left["roomId"]) == (1, "tabs")
    assert left["reason"]


async def test_messages_have_one_order_for_all(connect: Connect) -> None:
    """Everyone gets the same entries, `seq` without gaps; only the sender's has a requestId."""
    members = [await connect() for _ in range(3)]
    for member in members:
        await join(member, "order")
    for number in range(12):
        await members[number % 3].send(
            type="room_message", roomId="order", text=f"m{number}", requestId=f"id{number}"
        )
    for member in members:
        await member.until("room_message", seq=12)
    logs = [
        [{k: v for k, v in f.items() if k != "requestId"} for f in m.of_type("room_message")]
        for m in members
    ]
    assert logs[0] == logs[1] == logs[2]
    assert [entry["seq"] for entry in logs[0]] == list(range(1, 13))
    for index, member in enumerate(members):
        ids = [f["requestId"] for f in member.of_type("room_message") if "requestId" in f]
        assert ids == [f"id{number}" for number in range(12) if number % 3 == index]
    entry = logs[0][0]
    assert (entry["role"], entry["clientId"]) == ("user", members[0].connected["clientId"])
    assert {"messageId", "userId", "name", "timestamp"} <= set(entry)


async def test_data_goes_through_unchanged(connect: Connect) -> None:
    """`data` is the members' own: any JSON, its keys as they were, in both encodings."""
    one, two = await connect(), await connect(binary=True)
    data = {"snake_case": [1, 2.5, None, True], "nested": {"kind": {"x": "🎻"}}, "": "empty key"}
    await join(one, "data")
    await join(two, "data")
    for sender, receiver in ((one, two), (two, one)):
        reply = await sender.ask("room_message", roomId="data", data=data)
        assert reply["data"] == data
        assert (await receiver.until("room_message"))["data"] == data


async def test_a_late_joiner_gets_the_log(connect: Connect) -> None:
    """`messages[]` has what was said; with `lastSeq` what came after it; else the newest page."""
    one, two = await connect(), await connect()
    first = await join(one, "log")
    for number in range(5):
        await one.ask("room_message", roomId="log", text=f"m{number}")
    joined = await join(two, "log")
    assert [entry["text"] for entry in joined["messages"]] == [f"m{n}" for n in range(5)]
    assert joined["recovered"] is True
    joined = await join(two, "log", lastSeq=3)
    assert [entry["seq"] for entry in joined["messages"]] == [4, 5]
    joined = await join(two, "log", lastSeq={"epoch": first["epoch"], "seq": 5})
    assert (joined["messages"], joined["recovered"]) == ([], True)
    for wrong in ({"epoch": "another", "seq": 2}, 99):
        joined = await join(two, "log", lastSeq=wrong)
        assert [entry["seq"] for entry in joined["messages"]] == [1, 2, 3, 4, 5]
        assert joined["recovered"] is False


async def test_a_room_made_anew_has_another_epoch(wire: Wire) -> None:
    """A room that empties is forgotten; its name later means another log."""
    before = await join(wire, "phoenix")
    await wire.ask("room_message", roomId="phoenix", text="gone")
    await wire.ask("leave_room", roomId="phoenix")
    after = await join(wire, "phoenix", lastSeq={"epoch": before["epoch"], "seq": 1})
    assert after["epoch"] != before["epoch"]
    assert (after["seq"], after["messages"], after["recovered"]) == (0, [], False)


async def test_leave_without_a_room_id_leaves_the_last_joined(wire: Wire) -> None:
    """Rooms are left one by one, the last joined first; then there is none to leave."""
    for room_id in ("a1", "a2", "a3"):
        await join(wire, room_id)
    await join(wire, "a1")
    for room_id in ("a1", "a3", "a2"):
        assert (await wire.ask("leave_room"))["roomId"] == room_id
    assert (await wire.ask("leave_room"))["code"] == "not_in_room"


async def test_rooms_are_listed(connect: Connect) -> None:
    """`rooms_list` has each room with its count, in pages."""
    wire = await connect()
    names = [f"list-{n}" for n in range(5)]
    for name in names:
        await join(wire, name)
    rooms = (await wire.ask("list_rooms"))["rooms"]
    assert [r for r in rooms if r["roomId"] in names] == [
        {"roomId": name, "title": None, "participants": 1} for name in names
    ]
    seen: list[str] = []
    page = await wire.ask("list_rooms", limit=2)
    while True:
        assert len(page["rooms"]) <= 2
        seen += [room["roomId"] for room in page["rooms"]]
        if "nextCursor" not in page:
            break
        page = await wire.ask("list_rooms", limit=2, cursor=page["nextCursor"])
    assert seen == sorted(set(seen))
    assert set(names) <= set(seen)


async def test_only_members_take_part(wire: Wire) -> None:
    """Talking, asking and leaving need membership."""
    error = await wire.ask("room_message", roomId="elsewhere", text="x")
    assert (error["type"], error["code"]) == ("error", "not_in_room")
    error = await wire.ask("stream", prompt="x", roomId="elsewhere")
    assert (error["type"], error["code"]) == ("stream_error", "not_in_room")
    assert (await wire.ask("leave_room", roomId="elsewhere"))["code"] == "not_in_room"


@pytest.mark.parametrize(
    ("kind", "fields", "named"),
    [
        ("join_room", {}, "roomId"),
        ("join_room", {"roomId": ""}, "roomId"),
        ("join_room", {"roomId": "a" * 129}, "roomId"),
        ("join_room", {"roomId": 5}, "roomId"),
        ("join_room", {"roomId": "r", "lastSeq": -1}, "lastSeq"),
        ("join_room", {"roomId": "r", "lastSeq": "x"}, "lastSeq"),
        ("join_room", {"roomId": "r", "lastSeq": {"seq": 1}}, "lastSeq.epoch"),
        ("join_room", {"roomId": "r", "state": []}, "state"),
        ("join_room", {"roomId": "r", "name": ""}, "name"),
        ("room_message", {"roomId": "r"}, "text"),
        ("room_message", {"roomId": "r", "text": 5}, "text"),
        ("room_message", {"text": "x"}, "roomId"),
        ("list_rooms", {"limit": 0}, "limit"),
        ("stream", {"prompt": "x", "roomId": "r", "sessionId": "s"}, "roomId"),
    ],
)
async def test_bad_fields_are_named(wire: Wire, kind: str, fields: Any, named: str) -> None:
    """Each room message names the field that is wrong."""
    error = await wire.ask(kind, **fields)
    assert error["code"] == "invalid_parameters"
    assert named in [detail["field"] for detail in error["details"]]


async def test_too_large_a_field_is_refused(wire: Wire) -> None:
    """Data or a state beyond its bound is `payload_too_large`, by its name."""
    await join(wire, "large")
    refused: list[tuple[str, Frame]] = [
        ("room_message", {"data": "x" * 300_000}),
        ("room_message", {"text": "x" * 300_000}),
        ("join_room", {"state": {"x": "y" * 9000}}),
    ]
    for kind, fields in refused:
        error = await wire.ask(kind, roomId="large", **fields)
        assert error["code"] == "payload_too_large"
        assert [detail["field"] for detail in error["details"]] == list(fields)


async def test_a_log_of_large_entries_still_fits_a_frame(connect: Connect) -> None:
    """However much was said, `room_joined` stays below 1 MiB and says what it left out."""
    one, two = await connect(), await connect()
    await join(one, "heavy")
    for _ in range(8):
        await one.ask("room_message", roomId="heavy", text="x" * 200_000)
    joined = await join(two, "heavy")
    assert max(two.sizes) <= 1024 * 1024
    seqs = [entry["seq"] for entry in joined["messages"]]
    assert seqs
    assert seqs == list(range(seqs[0], 9))


async def test_no_ghosts_after_a_cut(start_server: StartServer, connect: Connect) -> None:
    """A client that drops keeps its place for the window, then leaves as `timeout`."""
    brief = start_server("--set", "resume.window_seconds=0.3")
    one, two = await connect(to=brief), await connect(to=brief)
    await join(one, "ghost")
    await join(two, "ghost")
    await two.cut()
    left = await one.until("room_user_left")
    assert (left["reason"], left["participants"]) == ("timeout", 1)
    assert left["clientId"] == two.connected["clientId"]
    rooms = (await one.ask("list_rooms"))["rooms"]
    assert [(room["roomId"], room["participants"]) for room in rooms] == [("ghost", 1)]


async def test_bounds_on_rooms(start_server: StartServer, connect: Connect) -> None:
    """A client is in so many rooms at most, and the server holds so many."""
    small = start_server("--set", "rooms.max_rooms=3", "--set", "rooms.max_rooms_per_client=2")
    one, two = await connect(to=small), await connect(to=small)
    await join(one, "r1")
    await join(one, "r2")
    assert (await one.ask("join_room", roomId="r3"))["type"] == "error"
    await join(one, "r1")
    await join(two, "r3")
    error = await two.ask("join_room", roomId="r4")
    assert (error["code"], error["retryable"]) == ("overloaded", True)


async def test_what_was_missed_in_many_rooms_comes_in_frames_that_fit(connect: Connect) -> None:
    """`resumed` lists all rooms in at most 1 MiB. Of those that it has no place for a `room_joined`
    follows, which joins to what the client has: nothing is missed, nothing comes twice."""
    one, two = await connect(), await connect()
    rooms = [f"much-{number}" for number in range(4)]
    for room_id in rooms:
        await join(one, room_id)
        await join(two, room_id)
        await one.ask("room_message", roomId=room_id, text="first")
        await two.until("room_message", roomId=room_id)
    await two.cut()
    for room_id in rooms:
        for number in range(2):
            await one.ask("room_message", roomId=room_id, text=str(number) * 200_000)
    back = await connect()
    token = two.connected["resumeToken"]
    resumed = await back.ask("resume", resumeToken=token, rooms=dict.fromkeys(rooms, 1))
    assert [room["roomId"] for room in resumed["rooms"]] == rooms
    assert len(orjson.dumps(resumed)) < 1 << 20
    await back.ask("ping")
    later = back.of_type("room_joined")
    assert len(later) == 3
    for room in later:
        assert "requestId" not in room
        (listed,) = [known for known in resumed["rooms"] if known["roomId"] == room["roomId"]]
        assert (listed["messages"], listed["seq"], listed["recovered"]) == ([], 1, True)
        assert listed["epoch"] == room["epoch"]
    for room in (*later, resumed["rooms"][0]):
        assert (room["recovered"], room["participants"], len(room["members"])) == (True, 2, 2)
        assert [entry["seq"] for entry in room["messages"]] == [2, 3]
        assert len(orjson.dumps(room)) < 1 << 20
