"""Presence and history of rooms, over real sockets."""

from __future__ import annotations

from tests.conftest import Connect


async def test_presence_is_told_to_all(connect: Connect) -> None:
    """A new state reaches everyone there, the caller's copy with its requestId, and newcomers."""
    ann, bob = await connect(), await connect()
    await ann.ask("join_room", roomId="presence", name="Ann")
    await bob.ask("join_room", roomId="presence", name="Bob")
    own = await ann.ask("update_presence", roomId="presence", state={"typing": True})
    seen = await bob.until("room_presence")
    assert own["member"] == seen["member"]
    assert (seen["member"]["name"], seen["member"]["state"]) == ("Ann", {"typing": True})
    assert "requestId" not in seen
    cyd = await connect()
    joined = await cyd.ask("join_room", roomId="presence", name="Cyd")
    assert {"typing": True} in [member["state"] for member in joined["members"]]


async def test_history_is_paged_backwards(connect: Connect) -> None:
    """Pages hold the entries before one, oldest first, and say whether others precede."""
    ann = await connect()
    await ann.ask("join_room", roomId="paged")
    for number in range(1, 8):
        await ann.ask("room_message", roomId="paged", text=f"m{number}")
    newest = await ann.ask("room_history", roomId="paged", limit=3)
    assert [m["seq"] for m in newest["messages"]] == [5, 6, 7]
    assert newest["hasMore"] is True
    rest = await ann.ask("room_history", roomId="paged", before=5, limit=200)
    assert [m["text"] for m in rest["messages"]] == ["m1", "m2", "m3", "m4"]
    assert rest["hasMore"] is False
    nothing = await ann.ask("room_history", roomId="paged", before=1)
    assert (nothing["messages"], nothing["hasMore"]) == ([], False)


async def test_only_members_see_a_room(connect: Connect) -> None:
    """Presence and history of a room that one is not in are refused."""
    ann, bob = await connect(), await connect()
    await ann.ask("join_room", roomId="inside")
    for kind in ("room_history", "update_presence"):
        reply = await bob.ask(kind, roomId="inside", state={})
        assert (reply["type"], reply["code"]) == ("error", "not_in_room")


async def test_a_page_fits_into_a_frame(connect: Connect) -> None:
    """Long entries make a shorter page, never a frame over 1 MiB, and none is lost."""
    ann = await connect()
    await ann.ask("join_room", roomId="long")
    for _ in range(6):
        await ann.ask("room_message", roomId="long", text="x" * 200_000)
    found: list[int] = []
    before: dict[str, int] = {}
    while True:
        page = await ann.ask("room_history", roomId="long", limit=200, **before)
        found = [m["seq"] for m in page["messages"]] + found
        if not page["hasMore"]:
            break
        before = {"before": found[0]}
    assert found == [1, 2, 3, 4, 5, 6]
    assert max(ann.sizes) <= 1024 * 1024
