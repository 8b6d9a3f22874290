"""A room's answers: everyone sees them, the log keeps them, the right people stop them."""

from __future__ import annotations

from tests.conftest import Connect
from tests.integration.test_generating import counted
from tests.integration.test_rooms import join


async def test_a_room_s_stream_is_everyone_s(connect: Connect) -> None:
    """Asker and members get the same events, the asker's with its requestId; the log has both."""
    one, two = await connect(), await connect()
    await join(one, "show", name="Ada")
    await join(two, "show")
    start = await one.stream("how far?", roomId="show", options={"maxTokens": 20})
    seen = await two.until("stream_start")
    for event in (start, seen):
        assert event["roomId"] == "show"
        assert event["clientId"] == one.connected["clientId"]
        assert (event["seq"], event["prompt"]) == (1, "how far?")
    end, watched = await one.end_of(start["streamId"]), await two.end_of(start["streamId"])
    assert one.copy(start["streamId"]).text == two.copy(start["streamId"]).text
    assert (end["seq"], watched["seq"], watched["roomId"]) == (2, 2, "show")
    for frame in two.frames:
        if frame.get("streamId") == start["streamId"]:
            assert "requestId" not in frame
    assert two.of_type("stream_progress", "queue_position", "room_message") == []
    log = (await join(two, "show"))["messages"]
    assert [(e["seq"], e["role"], e["streamId"]) for e in log] == [
        (1, "user", start["streamId"]),
        (2, "assistant", start["streamId"]),
    ]
    assert log[0]["name"] == "Ada"
    assert log[1]["text"] == one.copy(start["streamId"]).text


async def test_who_asked_is_named_whichever_client_they_ask_from(connect: Connect) -> None:
    """A question from a user's second client, of which the others are not told, names the user; so
    do the snapshot for who comes midway, and the start of what goes on with the answer."""
    first, second, other, late = [await connect() for _ in range(4)]
    for wire in (first, second):
        await wire.ask("authenticate", userId="ada")
        await join(wire, "named", name="Ada")
    await join(other, "named", name="Bob")
    start = await second.stream("why?", roomId="named", options={"maxTokens": 100_000})
    await join(late, "named")
    shown = [await other.until("stream_start"), await late.until("stream_snapshot")]
    for event in shown:
        assert event["clientId"] == second.connected["clientId"]
        assert (event["userId"], event["name"]) == ("ada", "Ada")
    await first.send(type="stop_stream", streamId=start["streamId"])
    await other.end_of(start["streamId"])
    await other.ask("continue", streamId=start["streamId"], options={"maxTokens": 5})
    on = await late.until("stream_start", continues=start["streamId"])
    assert (on["userId"], on["name"]) == (f"anon-{other.connected['clientId']}", "Bob")
    await late.end_of(on["streamId"])
    alone = await first.stream("alone", options={"maxTokens": 1})
    assert not {"clientId", "userId", "name"} & set(alone)
    await first.end_of(alone["streamId"])


async def test_the_log_is_the_context(connect: Connect) -> None:
    """What was said in the room, names included, goes to the model with the question."""
    wire = await connect()
    await join(wire, "context", name="Ada")
    await wire.ask("room_message", roomId="context", text="four words of talk")
    # "Ada: four words of talk", "Ada: two words"
    start = await wire.stream("two words", roomId="context", options={"maxTokens": 1})
    end = await wire.end_of(start["streamId"])
    assert end["usage"]["promptTokens"] == 8


async def test_a_detached_answer_outlives_its_room(connect: Connect) -> None:
    """Nobody is left there: one that was asked for with `detach` is made to its end all the same,
    and its asker can read it; the other one is stopped."""
    wire = await connect()
    await join(wire, "left")
    await wire.ask("update_room", roomId="left", settings={"whenBusy": "parallel"})
    kept, other = [
        await wire.stream(roomId="left", options={"maxTokens": 60, "onDisconnect": wish})
        for wish in ("detach", "cancel")
    ]
    await wire.ask("leave_room", roomId="left")
    ends = []
    for start in (kept, other):
        await wire.send(type="watch_stream", streamId=start["streamId"])
        ends.append(await wire.end_of(start["streamId"]))
    assert [end["type"] for end in ends] == ["stream_complete", "stream_stopped"]
    assert ends[1]["reason"] == "disconnect"
    assert wire.copy(kept["streamId"]).text == counted(60)


async def test_who_joins_midway_follows_live(connect: Connect) -> None:
    """A late joiner gets a snapshot of what runs and then every piece."""
    one, two = await connect(), await connect()
    await join(one, "midway")
    start = await one.stream(roomId="midway", options={"maxTokens": 60})
    await one.first_token(start["streamId"])
    joined = await join(two, "midway")
    (active,) = joined["activeStreams"]
    assert active["streamId"] == start["streamId"]
    assert (active["model"], active["state"]) == ("fast", "running")
    snapshot = await two.until("stream_snapshot")
    assert (snapshot["streamId"], snapshot["fromOffset"]) == (start["streamId"], 0)
    await one.end_of(start["streamId"])
    await two.end_of(start["streamId"])
    assert two.copy(start["streamId"]).text == one.copy(start["streamId"]).text


async def test_a_member_who_reads_nothing_holds_up_nobody(connect: Connect) -> None:
    """The others see the end meanwhile, in either encoding; then it gets it all, too."""
    asker, text, slow = [await connect() for _ in range(3)]
    binary = await connect(binary=True)
    for wire in (asker, text, slow, binary):
        await join(wire, "crowd")
    start = await asker.stream(model="flat", roomId="crowd", options={"maxTokens": 40_000})
    await slow.first_token(start["streamId"])
    slow.pause_reading()
    for wire in (asker, text, binary):
        assert (await wire.end_of(start["streamId"], seconds=30))["totalTokens"] == 40_000
    slow.resume_reading()
    await slow.end_of(start["streamId"], seconds=30)
    for wire in (asker, text, slow, binary):
        assert wire.copy(start["streamId"]).text == counted(40_000)


async def test_who_may_stop_a_room_s_stream(connect: Connect) -> None:
    """The asker and the owner may, a mere member may not."""
    owner, asker, member = [await connect() for _ in range(3)]
    for wire in (owner, asker, member):
        await join(wire, "rights")
    for stopper, reason in ((owner, "moderator"), (asker, "client")):
        start = await asker.stream(roomId="rights", options={"maxTokens": 100_000})
        error = await member.ask("stop_stream", streamId=start["streamId"])
        assert error["code"] == "stream_not_found"
        await stopper.send(type="stop_stream", streamId=start["streamId"])
        for wire in (owner, asker, member):
            end = await wire.end_of(start["streamId"])
            assert (end["type"], end["reason"]) == ("stream_stopped", reason)
            assert end["stoppedBy"] == stopper.connected["clientId"]


async def test_leaving_ends_one_s_view(connect: Connect) -> None:
    """The leaver sees no more, its own stream included; the others do; watching still works."""
    one, two = await connect(), await connect()
    await join(one, "leaving")
    await join(two, "leaving")
    start = await one.stream(roomId="leaving", options={"maxTokens": 80})
    await one.first_token(start["streamId"])
    assert (await one.ask("leave_room", roomId="leaving"))["roomId"] == "leaving"
    assert await one.settle() == []
    await one.ask("watch_stream", streamId=start["streamId"])
    assert (await one.end_of(start["streamId"]))["type"] == "stream_complete"
    assert (await two.end_of(start["streamId"]))["type"] == "stream_complete"


async def test_a_stream_ends_with_the_last_member(connect: Connect) -> None:
    """A room's stream lives while a member is left; then it is stopped."""
    one, two = await connect(), await connect()
    await join(one, "last")
    await join(two, "last")
    start = await one.stream(roomId="last", options={"maxTokens": 100_000})
    await two.first_token(start["streamId"])
    await one.ask("leave_room", roomId="last")
    await one.ask("watch_stream", streamId=start["streamId"])
    await two.ask("leave_room", roomId="last")
    end = await one.end_of(start["streamId"])
    assert (end["type"], end["reason"]) == ("stream_stopped", "disconnect")
