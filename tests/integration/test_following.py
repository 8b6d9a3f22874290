"""Watching, resuming and repeating: the same bytes on every way to an answer."""

from __future__ import annotations

import pytest

from tests.conftest import Connect, StartServer
from tests.integration.test_generating import counted
from tests.support.server import ServerProcess
from tests.support.waiting import eventually
from tests.support.wire import Frame, Wire


def metrics(server: ServerProcess) -> bytes:
    """The server's figures as Prometheus reads them."""
    return server.get("/metrics")[2]


async def test_watching_from_any_offset(wire: Wire) -> None:
    """A snapshot holds the text from the offset asked for; the end comes once more."""
    start = await wire.stream(options={"maxTokens": 20})
    stream_id = start["streamId"]
    await wire.end_of(stream_id)
    text = counted(20)
    for offset in (0, 5, len(text) - 1, len(text)):
        request_id = wire.new_id()
        await wire.send(
            type="watch_stream", streamId=stream_id, fromOffset=offset, requestId=request_id
        )
        snapshot = await wire.until("stream_snapshot")
        assert snapshot["requestId"] == request_id
        assert (snapshot["fromOffset"], snapshot["offset"]) == (offset, len(text))
        assert snapshot["text"] == text[offset:]
        assert (snapshot["state"], snapshot["position"]) == ("ended", 20)
        end = await wire.until("stream_complete")
        assert end["streamId"] == stream_id


async def test_watching_past_the_end_is_rewound(wire: Wire) -> None:
    """Who claims more text than there is gets `stream_rewind`, and what follows fits."""
    start = await wire.stream(options={"maxTokens": 20})
    await wire.end_of(start["streamId"])
    await wire.send(type="watch_stream", streamId=start["streamId"], fromOffset=10_000)
    end = await wire.until("stream_complete")
    (rewind,) = wire.of_type("stream_rewind")
    assert rewind["offset"] == len(counted(20)) == end["offset"]


async def test_watching_a_running_stream_twice(wire: Wire) -> None:
    """On the asker's own connection the text begins again, the pieces follow, one end comes."""
    start = await wire.stream(options={"maxTokens": 60})
    await wire.first_token(start["streamId"])
    await wire.send(type="watch_stream", streamId=start["streamId"])
    snapshot = await wire.until("stream_snapshot")
    assert snapshot["fromOffset"] == 0
    end = await wire.end_of(start["streamId"])
    assert end["type"] == "stream_complete"
    assert wire.copy(start["streamId"]).text == counted(60)
    assert len(wire.of_type("stream_complete")) == 1


async def test_the_owner_watches_on_another_device(connect: Connect) -> None:
    """Another connection of the owner follows live, by streamId alone."""
    one, two = await connect(), await connect(binary=True)
    for device in (one, two):
        await device.ask("authenticate", userId="watcher")
    start = await one.stream(options={"maxTokens": 60})
    await one.first_token(start["streamId"])
    snapshot = await two.ask("watch_stream", streamId=start["streamId"])
    assert (snapshot["type"], snapshot["state"]) == ("stream_snapshot", "running")
    await one.end_of(start["streamId"])
    await two.end_of(start["streamId"])
    assert two.copy(start["streamId"]).text == counted(60)
    assert all("requestId" not in frame for frame in two.of_type("stream_token"))
    assert two.of_type("stream_progress") == []


async def test_a_large_answer_is_watched_in_pieces(wire: Wire) -> None:
    """A snapshot holds at most 32 KiB; the pieces after it bring the rest."""
    start = await wire.stream(model="flat", options={"maxTokens": 30_000, "progressEvery": 0})
    await wire.end_of(start["streamId"], seconds=30)
    snapshot = await wire.ask("watch_stream", streamId=start["streamId"])
    assert len(snapshot["text"]) <= 32 * 1024
    await wire.until("stream_complete")
    assert wire.copy(start["streamId"]).text == counted(30_000)


async def test_unwatching(wire: Wire) -> None:
    """After `stream_unwatched` nothing more comes; the stream itself goes on."""
    start = await wire.stream(options={"maxTokens": 40})
    await wire.first_token(start["streamId"])
    reply = await wire.ask("unwatch_stream", streamId=start["streamId"])
    assert (reply["type"], reply["streamId"]) == ("stream_unwatched", start["streamId"])
    assert await wire.settle() == []
    again = await wire.ask("unwatch_stream", streamId=start["streamId"])
    assert again["code"] == "stream_not_found"
    await wire.ask("watch_stream", streamId=start["streamId"])
    assert (await wire.end_of(start["streamId"]))["type"] == "stream_complete"
    assert wire.copy(start["streamId"]).text == counted(40)


async def test_watching_what_is_not_there(wire: Wire) -> None:
    """An unknown stream, a generate's, and bad offsets are refused."""
    assert (await wire.ask("watch_stream", streamId="none"))["code"] == "stream_not_found"
    refused: list[tuple[Frame, str]] = [
        ({}, "streamId"),
        ({"streamId": "x", "fromOffset": -1}, "fromOffset"),
        ({"streamId": "x", "fromOffset": 1.5}, "fromOffset"),
        ({"streamId": "x", "fromOffset": 2**60}, "fromOffset"),
    ]
    for fields, named in refused:
        error = await wire.ask("watch_stream", **fields)
        assert [detail["field"] for detail in error["details"]] == [named]


async def test_ended_streams_are_kept_for_the_retention(
    start_server: StartServer, connect: Connect
) -> None:
    """Past `streams.retention_seconds` a stream is gone."""
    forgetful = start_server("--set", "streams.retention_seconds=0")
    wire = await connect(to=forgetful)
    start = await wire.stream(options={"maxTokens": 1})
    await wire.end_of(start["streamId"])
    error = await wire.ask("watch_stream", streamId=start["streamId"])
    assert error["code"] == "stream_not_found"


@pytest.mark.parametrize("binary", [False, True])
async def test_resuming_goes_on_to_the_byte(connect: Connect, binary: bool) -> None:
    """After a cut the rest comes from the offset that the client has: nothing twice or lost."""
    one = await connect(binary=binary)
    start = await one.stream(requestId="cut", options={"maxTokens": 100})
    stream_id = start["streamId"]
    await one.first_token(stream_id)
    await one.cut()
    have = one.copy(stream_id)
    two = await connect(binary=binary)
    two.rules.sent_ids.add("cut")
    resumed = await two.ask(
        "resume", resumeToken=one.connected["resumeToken"], streams={stream_id: have.offset}
    )
    assert resumed["type"] == "resumed"
    assert resumed["clientId"] == one.connected["clientId"]
    assert resumed["resumeToken"] not in (
        one.connected["resumeToken"],
        two.connected["resumeToken"],
    )
    (stream,) = resumed["streams"]
    assert (stream["streamId"], stream["requestId"]) == (stream_id, "cut")
    assert stream["state"] == "running"
    assert stream["offset"] >= have.offset
    await two.end_of(stream_id)
    assert have.text + two.copy(stream_id).text == counted(100)
    pieces = two.of_type("stream_token", "stream_complete")
    assert {frame["requestId"] for frame in pieces} == {"cut"}


async def test_resuming_lists_what_was_not_asked_for(connect: Connect) -> None:
    """Running streams that were not listed stand in the reply; unknown ones are `gone`."""
    one = await connect()
    start = await one.stream(model="slow", requestId="quiet")
    ended = await one.stream(options={"maxTokens": 3}, requestId="done")
    await one.end_of(ended["streamId"])
    await one.cut()
    two = await connect()
    two.rules.sent_ids |= {"quiet", "done"}
    resumed = await two.ask(
        "resume",
        resumeToken=one.connected["resumeToken"],
        streams={ended["streamId"]: 0, "nothing": 5},
    )
    states = {stream["streamId"]: stream["state"] for stream in resumed["streams"]}
    assert states == {ended["streamId"]: "ended", "nothing": "gone", start["streamId"]: "running"}
    await two.end_of(ended["streamId"])
    assert two.copy(ended["streamId"]).text == counted(3)
    assert two.of_type("stream_token") == []
    await two.ask("interrupt")


async def test_a_token_dies_only_when_its_successor_is_used(connect: Connect) -> None:
    """A lost `resumed` loses nothing, however often; a used successor ends the older token."""
    first = await connect()
    token = first.connected["resumeToken"]
    await first.cut()
    for _ in range(3):
        wire = await connect()
        resumed = await wire.ask("resume", resumeToken=token)
        assert resumed["type"] == "resumed", resumed
        await wire.cut()
    successor = resumed["resumeToken"]
    wire = await connect()
    assert (await wire.ask("resume", resumeToken=successor))["type"] == "resumed"
    await wire.cut()
    wire = await connect()
    error = await wire.ask("resume", resumeToken=token)
    assert (error["type"], error["code"]) == ("error", "resume_expired")


async def test_resuming_takes_the_place_of_a_living_connection(connect: Connect) -> None:
    """The older socket is closed 4507; rooms and clientId are the newer one's."""
    one, two, other = [await connect() for _ in range(3)]
    await one.ask("join_room", roomId="moving")
    await other.ask("join_room", roomId="moving")
    resumed = await two.ask("resume", resumeToken=one.connected["resumeToken"])
    assert [room["roomId"] for room in resumed["rooms"]] == ["moving"]
    assert await one.closed() == 4507
    await other.ask("room_message", roomId="moving", text="still there?")
    assert (await two.until("room_message"))["text"] == "still there?"
    assert other.of_type("room_user_left") == []
    status = await two.ask("get_status")
    assert (status["clientId"], status["rooms"]) == (one.connected["clientId"], ["moving"])


async def test_resuming_rooms_replays_what_was_missed(connect: Connect) -> None:
    """`resumed.rooms[]` holds the entries after the seq that the client has, and live streams."""
    one, other = await connect(), await connect()
    joined = await one.ask("join_room", roomId="missed")
    await other.ask("join_room", roomId="missed")
    await other.ask("room_message", roomId="missed", text="seen")
    await one.until("room_message")
    await one.cut()
    await other.ask("room_message", roomId="missed", text="missed")
    start = await other.stream(roomId="missed", options={"maxTokens": 60})
    two = await connect()
    resumed = await two.ask(
        "resume",
        resumeToken=one.connected["resumeToken"],
        rooms={"missed": {"epoch": joined["epoch"], "seq": 1}},
    )
    (room,) = resumed["rooms"]
    assert [(entry["seq"], entry["text"]) for entry in room["messages"]][0] == (2, "missed")
    assert room["recovered"] is True
    assert [stream["streamId"] for stream in room["activeStreams"]] == [start["streamId"]]
    await two.end_of(start["streamId"])
    assert two.copy(start["streamId"]).text == counted(60)


@pytest.mark.parametrize("token", ["unknown", "x" * 10_000])
async def test_an_unknown_token_leaves_a_new_client(wire: Wire, token: str) -> None:
    """`resume_expired`, and the connection goes on under its own id."""
    error = await wire.ask("resume", resumeToken=token)
    assert (error["type"], error["code"]) == ("error", "resume_expired")
    assert (await wire.ask("get_status"))["clientId"] == wire.connected["clientId"]


async def test_past_the_window_a_token_is_expired(
    start_server: StartServer, connect: Connect
) -> None:
    """A place is kept for the window and no longer; what ran for it is stopped."""
    brief = start_server("--set", "resume.window_seconds=0.2")
    watcher = await connect(to=brief)
    one = await connect(to=brief)
    for device in (watcher, one):
        await device.ask("authenticate", userId="brief")
    start = await one.stream(options={"maxTokens": 100_000})
    await one.first_token(start["streamId"])  # it is in a slot, which the metrics show
    await one.cut()
    two = await connect(to=brief)
    await eventually(lambda: b'wsserver_streams_active{model="synthetic"} 0.0' in metrics(brief))
    error = await two.ask("resume", resumeToken=one.connected["resumeToken"])
    assert error["code"] == "resume_expired"
    await watcher.ask("watch_stream", streamId=start["streamId"])
    end = await watcher.end_of(start["streamId"])
    assert (end["type"], end["reason"]) == ("stream_stopped", "disconnect")
