"""Two ask at once in a room: in line, refused, side by side, or one makes way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Connect
from tests.integration.test_rooms import join
from tests.support.wire import Wire


@pytest.fixture
async def pair(connect: Connect, request: pytest.FixtureRequest) -> tuple[Wire, Wire, str]:
    """Two members of a room of this test's own."""
    room_id = str(request.node.name)[:60]
    one, two = await connect(), await connect()
    await join(one, room_id, name="Ada")
    await join(two, room_id, name="Bob")
    return one, two, room_id


async def settle_on(wire: Wire, room_id: str, when_busy: str) -> None:
    """Have the room do this when it is busy."""
    await wire.ask("update_room", roomId=room_id, settings={"whenBusy": when_busy})


async def log_of(wire: Wire, room_id: str) -> list[tuple[Any, ...]]:
    """The room's log: role and stream of each entry."""
    page = await wire.ask("room_history", roomId=room_id)
    return [(m["role"], m["streamId"]) for m in page["messages"]]


async def test_by_default_asks_wait_their_turn(pair: tuple[Wire, Wire, str]) -> None:
    """The second one starts, waits, and knows the first one's answer when its turn comes."""
    one, two, room = pair
    first = await one.stream("one", roomId=room, options={"maxTokens": 30})
    second = await two.stream("two", roomId=room, options={"maxTokens": 3})
    assert second["queuePosition"] == 1
    a, b = first["streamId"], second["streamId"]
    end = await two.end_of(b)
    assert await one.end_of(a)
    order = [f["streamId"] for f in two.of_type("stream_token", "stream_complete")]
    assert order.index(b) > max(i for i, s in enumerate(order) if s == a)
    # "Ada: one", 30 words of the answer, "Bob: two"
    assert end["usage"]["promptTokens"] == 34
    assert await log_of(one, room) == [
        ("user", a),
        ("user", b),
        ("assistant", a),
        ("assistant", b),
    ]


async def test_one_who_waits_may_be_stopped(pair: tuple[Wire, Wire, str]) -> None:
    """A stop in line never begins, and those behind move up."""
    one, two, room = pair
    first = await one.stream(roomId=room, options={"maxTokens": 100_000})
    second = await two.stream(roomId=room, options={"maxTokens": 3})
    third = await two.stream(roomId=room, options={"maxTokens": 3})
    assert third["queuePosition"] == 2
    await two.send(type="stop_stream", streamId=second["streamId"])
    end = await one.end_of(second["streamId"])
    assert (end["type"], end["totalTokens"]) == ("stream_stopped", 0)
    await two.until("queue_position", streamId=third["streamId"], position=1)
    await one.send(type="stop_stream", streamId=first["streamId"])
    assert (await one.end_of(third["streamId"]))["type"] == "stream_complete"


async def test_a_room_may_refuse_a_second_ask(pair: tuple[Wire, Wire, str]) -> None:
    """`reject`: retryable, not logged, and free again after the end."""
    one, two, room = pair
    await settle_on(one, room, "reject")
    first = await one.stream(roomId=room, options={"maxTokens": 100_000})
    error = await two.ask("stream", prompt="me too", roomId=room)
    assert (error["type"], error["code"], error["retryable"]) == (
        "stream_error",
        "overloaded",
        True,
    )
    assert await log_of(one, room) == [("user", first["streamId"])]
    await one.send(type="stop_stream", streamId=first["streamId"])
    await one.end_of(first["streamId"])
    again = await two.stream(roomId=room, options={"maxTokens": 2})
    await two.end_of(again["streamId"])


async def test_a_room_may_answer_side_by_side(pair: tuple[Wire, Wire, str]) -> None:
    """`parallel`: the second is done while the first runs."""
    one, two, room = pair
    await settle_on(one, room, "parallel")
    first = await one.stream(roomId=room, options={"maxTokens": 100_000})
    second = await two.stream(roomId=room, options={"maxTokens": 3})
    assert (await one.end_of(second["streamId"]))["type"] == "stream_complete"
    await one.send(type="stop_stream", streamId=first["streamId"])
    await two.end_of(first["streamId"])


async def test_a_new_ask_may_steer(pair: tuple[Wire, Wire, str]) -> None:
    """`steer`: the running answer stops, its text stays and is known to the one that follows."""
    one, two, room = pair
    await settle_on(one, room, "steer")
    first = await one.stream("count", roomId=room, options={"maxTokens": 100_000})
    await one.first_token(first["streamId"])
    second = await two.stream("stop that", roomId=room, options={"maxTokens": 3})
    ended = await one.end_of(first["streamId"])
    assert (ended["type"], ended["reason"]) == ("stream_stopped", "interrupt")
    assert ended["stoppedBy"] == two.connected["clientId"]
    end = await one.end_of(second["streamId"])
    asked = await two.end_of(second["streamId"])
    assert end["seq"] == asked["seq"] == 4
    said = len(one.copy(first["streamId"]).text.split())
    assert said > 0
    # "Ada: count", what was said, "Bob: stop that"
    assert asked["usage"]["promptTokens"] == 2 + said + 3


async def test_what_was_sent_at_once_counts_in_order(connect: Connect) -> None:
    """Join, talk, ask and leave in one go: each takes effect after the one before."""
    wire, other = await connect(), await connect()
    await join(other, "burst")
    await wire.send(type="join_room", roomId="burst", requestId="1")
    await wire.send(type="room_message", roomId="burst", text="hello", requestId="2")
    await wire.send(
        type="stream", roomId="burst", prompt="x", requestId="3", options={"maxTokens": 2}
    )
    await wire.send(type="leave_room", roomId="burst", requestId="4")
    kinds = [
        (await wire.until(*kind, requestId=str(n)))["type"]
        for n, kind in enumerate(
            [("room_joined",), ("room_message",), ("stream_start", "stream_error"), ("room_left",)],
            start=1,
        )
    ]
    assert kinds == ["room_joined", "room_message", "stream_start", "room_left"]
    start = await other.until("stream_start")
    assert start["seq"] == 2
    assert (await other.end_of(start["streamId"]))["seq"] == 3


async def test_an_answer_of_a_room_goes_on(pair: tuple[Wire, Wire, str]) -> None:
    """Any member continues it; all see a new stream, and the log another entry that names it."""
    one, two, room = pair
    first = await one.stream("count", roomId=room, options={"maxTokens": 3})
    await two.end_of(first["streamId"])
    start = await two.ask("continue", streamId=first["streamId"], options={"maxTokens": 2})
    assert (start["type"], start["continues"]) == ("stream_start", first["streamId"])
    assert start["roomId"] == room
    assert "seq" not in start
    seen = await one.until("stream_start")
    assert seen["continues"] == first["streamId"]
    end = await one.end_of(start["streamId"])
    assert end["seq"] == 3
    assert one.copy(start["streamId"]).text == "4 5 "
    log = (await one.ask("room_history", roomId=room))["messages"]
    assert (log[2]["text"], log[2]["continues"]) == ("4 5 ", first["streamId"])
    after = await one.stream("more", roomId=room, options={"maxTokens": 1})
    # "Ada: count", "1 2 3 4 5", "Ada: more"
    assert (await one.end_of(after["streamId"]))["usage"]["promptTokens"] == 9


async def test_what_can_not_go_on_in_a_room(pair: tuple[Wire, Wire, str], connect: Connect) -> None:
    """A running answer, and one of a room that one is not in."""
    one, two, room = pair
    running = await one.stream(roomId=room, options={"maxTokens": 100_000})
    error = await two.ask("continue", streamId=running["streamId"])
    assert (error["type"], error["code"]) == ("stream_error", "invalid_parameters")
    error = await (await connect()).ask("continue", streamId=running["streamId"])
    assert error["code"] == "stream_not_found"
    await one.send(type="stop_stream", streamId=running["streamId"])
    await one.end_of(running["streamId"])
