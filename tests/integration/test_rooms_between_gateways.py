"""Rooms over two gateways of one fleet: what one of them leads, and others ask for."""

from __future__ import annotations

import pytest

from tests.conftest import Connect, StartServer
from tests.integration.session_steps import sign_in
from tests.integration.test_generating import counted
from tests.integration.test_rooms import join
from tests.support.redis import RedisProcess
from tests.support.server import ServerProcess
from tests.support.waiting import eventually
from tests.support.wire import Frame, Wire

MODEL = ("--model", "m=synthetic:?tps=100&ttft_ms=0&slots=8")


@pytest.fixture
def pair(redis: RedisProcess, start_server: StartServer) -> tuple[ServerProcess, ServerProcess]:
    """Two gateways over one Redis; the first has the only worker."""
    shared = ("--set", f"redis.url={redis.url}")
    first = start_server(*MODEL, *shared)
    return first, start_server("--set", "models.start=[]", *shared)


async def member(connect: Connect, server: ServerProcess, user: str) -> Wire:
    """A user who is in the room."""
    wire = await connect(to=server)
    await sign_in(wire, user)
    await join(wire, "r")
    return wire


async def log_of(wire: Wire) -> list[Frame]:
    page = await wire.ask("room_history", roomId="r")
    messages: list[Frame] = page["messages"]
    return messages


async def test_a_question_in_line_is_stopped_from_the_other_gateway(
    pair: tuple[ServerProcess, ServerProcess], connect: Connect
) -> None:
    """It waits for another answer of the room, in no model's line yet: its own gateway ends it."""
    here, there = pair
    ada = await member(connect, there, "ada")
    bob = await member(connect, here, "bob")
    first = await ada.stream(roomId="r", options={"maxTokens": 100_000})
    await ada.first_token(first["streamId"])
    waiting = await bob.stream(roomId="r", options={"maxTokens": 5})
    await ada.until("stream_start", streamId=waiting["streamId"])
    await ada.send(type="stop_stream", streamId=waiting["streamId"])
    for wire in (ada, bob):
        end = await wire.end_of(waiting["streamId"])
        assert (end["type"], end["reason"], end["offset"]) == ("stream_stopped", "moderator", 0)
    await ada.send(type="stop_stream", streamId=first["streamId"])
    await bob.end_of(first["streamId"])
    third = await bob.stream(roomId="r", options={"maxTokens": 5})
    for wire in (ada, bob):
        assert (await wire.end_of(third["streamId"]))["type"] == "stream_complete"
        assert wire.copy(third["streamId"]).text == counted(5)


async def test_an_ask_that_no_redis_admits_holds_nothing_up(
    redis: RedisProcess, pair: tuple[ServerProcess, ServerProcess], connect: Connect
) -> None:
    """It is refused, and what its asker does in the room next is done when Redis is back."""
    ada = await member(connect, pair[1], "ada")
    redis.freeze()
    refused = await ada.ask("stream", prompt="x", roomId="r")
    assert (refused["type"], refused["code"]) == ("stream_error", "store_unavailable")
    redis.thaw()
    assert (await ada.ask_until("room_message", roomId="r", text="hello"))["type"] == "room_message"
    start = await ada.stream(roomId="r", options={"maxTokens": 5})
    assert (await ada.end_of(start["streamId"]))["type"] == "stream_complete"
    assert [entry["seq"] for entry in await log_of(ada)] == [1, 2, 3]


async def test_what_is_said_again_elsewhere_is_said_once(
    pair: tuple[ServerProcess, ServerProcess], connect: Connect
) -> None:
    """Sent again under its id, from another client on another gateway: its sender is told the same
    entry, the others nothing; something else under that id is refused."""
    here, there = pair
    ada, bob = await member(connect, here, "ada"), await member(connect, here, "bob")
    again = await member(connect, there, "ada")
    first = await ada.ask("room_message", requestId="same", roomId="r", text="once")
    told = await again.ask_until("room_message", requestId="same", roomId="r", text="once")
    assert told == first
    other = await again.ask("room_message", requestId="same", roomId="r", text="twice")
    assert (other["type"], other["code"]) == ("error", "duplicate_request")
    await again.ask_until("room_message", roomId="r", text="and on")
    await bob.until("room_message", text="and on")
    assert [frame["text"] for frame in bob.of_type("room_message")] == ["once", "and on"]
    assert [entry["text"] for entry in await log_of(bob)] == ["once", "and on"]


async def test_who_enters_first_on_a_gateway_is_told_what_runs(
    pair: tuple[ServerProcess, ServerProcess], connect: Connect
) -> None:
    """Joining and resuming: `activeStreams` says what the room is getting, and how far, though
    nobody on that gateway has heard of it."""
    here, there = pair
    ada = await member(connect, here, "ada")
    start = await ada.stream(roomId="r", options={"maxTokens": 100_000})
    await ada.first_token(start["streamId"])
    bob = await connect(to=there)
    joined = await join(bob, "r")
    await bob.first_token(start["streamId"])
    await bob.cut()
    await ada.cut()
    again = await connect(to=there)
    again.rules.sent_ids |= ada.rules.sent_ids
    resumed = await again.ask("resume", resumeToken=ada.connected["resumeToken"])
    for room in (joined, resumed["rooms"][0]):
        (active,) = room["activeStreams"]
        assert active["streamId"] == start["streamId"]
        assert active["clientId"] == ada.connected["clientId"]
        assert (active["state"], active["model"]) == ("running", "m")
        assert active["offset"] > 0
    await again.send(type="stop_stream", streamId=start["streamId"])
    await again.end_of(start["streamId"])


async def test_a_question_sent_again_elsewhere_is_shown_what_it_became(
    pair: tuple[ServerProcess, ServerProcess], connect: Connect
) -> None:
    """Also where it would be refused by now: the room answers one at a time, and that is this one;
    its asker is not there (any more). What was asked nowhere is refused as ever."""
    here, there = pair
    ada = await member(connect, here, "ada")
    await ada.ask("update_room", roomId="r", settings={"whenBusy": "reject"})
    body: Frame = {"prompt": "x", "roomId": "r", "options": {"maxTokens": 100}}
    start = await ada.ask("stream", requestId="same", **body)
    outside, inside = await connect(to=there), await member(connect, there, "ada")
    await sign_in(outside, "ada")
    await inside.until("stream_snapshot")
    await inside.ask("unwatch_stream", streamId=start["streamId"])
    for wire, code in ((inside, "overloaded"), (outside, "not_in_room")):
        assert (await wire.ask("stream", **body))["code"] == code
        again = await wire.ask("stream", requestId="same", **body)
        assert (again["type"], again.get("streamId")) == ("stream_start", start["streamId"]), again
        other = {**body, "prompt": "y", "requestId": "same"}
        await wire.send(type="stream", **other)
        await wire.until("stream_error", requestId="same", code="duplicate_request")
    for wire in (ada, inside, outside):
        await wire.end_of(start["streamId"])
        assert wire.copy(start["streamId"]).text == counted(100)
    assert len(await log_of(ada)) == 2


async def test_any_member_goes_on_with_an_answer_of_another_gateway(
    pair: tuple[ServerProcess, ServerProcess], connect: Connect
) -> None:
    """Stopped, failed or cut by length, and with what went on with it: as on its own gateway. One
    that never had its turn has nothing to go on with, and that is said."""
    here, there = pair
    ada, bob = await member(connect, here, "ada"), await member(connect, there, "bob")
    start = await ada.stream(roomId="r", options={"maxTokens": 4})
    text, stream_id = "", start["streamId"]
    for wire in (bob, bob, ada):
        await wire.end_of(stream_id)
        text += wire.copy(stream_id).text
        on = await wire.ask("continue", streamId=stream_id, options={"maxTokens": 4})
        assert (on["type"], on.get("continues")) == ("stream_start", stream_id), on
        stream_id = on["streamId"]
    await ada.end_of(stream_id)
    assert text + ada.copy(stream_id).text == counted(16)
    long = await ada.stream(roomId="r", options={"maxTokens": 100_000})
    waiting = await ada.stream(roomId="r")
    for stopped in (waiting, long):
        await ada.send(type="stop_stream", streamId=stopped["streamId"])
        await bob.end_of(stopped["streamId"])
    for wire in (ada, bob):
        refused = await wire.ask("continue", streamId=waiting["streamId"])
        assert (refused["type"], refused["code"]) == ("stream_error", "invalid_parameters")
        assert "had not begun" in refused["error"]


@pytest.mark.parametrize("is_away", [False, True])
async def test_who_was_kicked_stays_out_also_on_another_gateway(
    pair: tuple[ServerProcess, ServerProcess], connect: Connect, is_away: bool
) -> None:
    """A resume does not bring back into an open room, nor into a new one of its name: whether the
    client was there to be told of the kick, or away."""
    here, there = pair
    ada, bob = await member(connect, here, "ada"), await member(connect, here, "bob")
    if is_away:
        await bob.cut()
    await ada.ask("kick", roomId="r", userId="bob")
    if not is_away:
        await bob.until("room_user_left", reason="kicked")
        await ada.ask("leave_room", roomId="r")
        await bob.cut()
    again = await connect(to=there)
    resumed = await again.ask("resume", resumeToken=bob.connected["resumeToken"])
    assert (resumed["type"], resumed["rooms"]) == ("resumed", [])
    listed = await again.ask("list_rooms")
    assert [room["participants"] for room in listed["rooms"]] == ([1] if is_away else [])
    assert (await join(again, "r"))["participants"] == (2 if is_away else 1)


async def test_who_was_away_when_redis_forgot_him_has_left(
    redis: RedisProcess, start_server: StartServer, connect: Connect
) -> None:
    """The store knows nothing of the client any more, so its gateway clears what it leaves."""
    server = start_server(
        *MODEL, "--set", f"redis.url={redis.url}", "--set", "resume.window_seconds=3"
    )
    ada, bob = await member(connect, server, "ada"), await member(connect, server, "bob")
    key = f"wsserver:{{c:{bob.connected['clientId']}}}"
    await bob.cut()
    await eventually(lambda: redis.ask("HGET", key, "away") != "$0\r\n\r\n")
    assert redis.ask("DEL", key) == ":1\r\n"
    await ada.until("room_user_left", userId="bob", reason="timeout", seconds=30)
