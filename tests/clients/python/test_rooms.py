"""Rooms: entering, talking, watching answers, leaving."""

from __future__ import annotations

import asyncio

import pytest

from tests.clients.python.room_frames import entry, joined, member, said
from tests.clients.python.scripted import Peer, staged
from wsserver_client import (
    AnswerStarted,
    EventsMissed,
    Joined,
    Left,
    PresenceChanged,
    RoomEvents,
    Said,
    WireFailure,
    connect,
)
from wsserver_client.room_events import QUEUE_LENGTH


async def test_room_tells_what_happens_from_the_frame_of_joining_on() -> None:
    """Events that come right behind ``room_joined`` are not lost, and the room keeps its people."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("join_room")
        assert (asked["roomId"], asked["name"], asked["state"]) == ("lobby", "Ann", {"x": 1})
        await peer.send(joined(asked, messages=[entry(1, "old"), entry(2, "older")]))
        await peer.send(said(3, "hello"))
        await peer.send(
            {
                "type": "room_user_joined",
                "roomId": "lobby",
                "clientId": "c-bob",
                "participants": 2,
                "member": member("bob"),
            }
        )
        await peer.send(
            {"type": "room_presence", "roomId": "lobby", "member": member("bob", state={"t": 1})}
        )
        await peer.send(
            {
                "type": "room_user_left",
                "roomId": "lobby",
                "clientId": "c-bob",
                "userId": "bob",
                "participants": 1,
                "reason": "timeout",
            }
        )
        message = await peer.expect("room_message")
        assert (message["text"], message["data"]) == ("hi", {"k": 1})
        await peer.send(said(4, "hi", requestId=message["requestId"], client_id="c-1"))
        leave = await peer.expect("leave_room")
        await peer.send({"type": "room_left", "requestId": leave["requestId"], "roomId": "lobby"})
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        room = await client.join_room("lobby", name="Ann", state={"x": 1})
        assert [old.text for old in room.messages] == ["old", "older"]
        sent = await room.send("hi", data={"k": 1})
        assert sent.seq == 4
        assert list(room.members) == ["ann"]
        events = room.events()
        await room.leave()
        await room.leave()
        seen = [event async for event in events]

    texts = [event.entry.text for event in seen if isinstance(event, Said)]
    assert texts == ["hello", "hi"]
    kinds = [type(event) for event in seen]
    assert kinds == [Said, Joined, PresenceChanged, Left, Said]
    assert room.seq == 4 and room.is_left


async def test_answers_in_a_room_are_streams_for_everybody() -> None:
    """An own question and another member's both come as handles with their text."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.send(joined(await peer.expect("join_room")))
        await peer.send(
            {
                "type": "stream_start",
                "streamId": "s-bob",
                "model": "m",
                "roomId": "lobby",
                "clientId": "c-bob",
                "prompt": "Why?",
                "seq": 3,
            }
        )
        await peer.token("Because.", 8, "s-bob", roomId="lobby")
        await peer.complete(8, "s-bob", roomId="lobby", seq=4)
        asked = await peer.expect("stream")
        assert (asked["roomId"], asked["prompt"]) == ("lobby", "And?")
        await peer.start(asked, "s-ann", roomId="lobby", clientId="c-1", seq=5)
        await peer.token("So.", 3, "s-ann", roomId="lobby")
        await peer.complete(3, "s-ann", roomId="lobby", seq=6)
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        room = await client.join_room("lobby")
        events = room.events()
        first = await anext(events)
        assert isinstance(first, AnswerStarted)
        assert (first.stream.asker, first.stream.prompt) == ("c-bob", "Why?")
        assert "".join([piece async for piece in first.stream]) == "Because."
        mine = room.ask("And?")
        assert (await mine.result()).text == "So."
        second = await anext(events)
        assert isinstance(second, AnswerStarted) and second.stream is mine
        assert room.seq == 6


async def test_newcomer_follows_a_running_answer() -> None:
    """Who joins midway gets the answer from its beginning and then follows it."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("join_room")
        active = {
            "streamId": "s-bob",
            "clientId": "c-bob",
            "model": "m",
            "state": "running",
            "offset": 4,
        }
        await peer.send(joined(asked, activeStreams=[active]))
        await peer.send(
            {
                "type": "stream_snapshot",
                "streamId": "s-bob",
                "text": "one ",
                "fromOffset": 0,
                "offset": 4,
                "position": 1,
                "state": "running",
                "roomId": "lobby",
                "clientId": "c-bob",
                "userId": "bob",
                "name": "Bob",
            }
        )
        await peer.token("two", 7, "s-bob", roomId="lobby")
        await peer.complete(7, "s-bob", roomId="lobby", seq=3)
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        room = await client.join_room("lobby")
        event = await anext(room.events())
        assert isinstance(event, AnswerStarted)
        assert event.stream.asker == "c-bob"
        assert (await event.stream.result()).text == "one two"
        assert (event.stream.asker_id, event.stream.asker_name) == ("bob", "Bob")


async def test_refused_join_is_no_room() -> None:
    """`join_room` raises what the server said."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("join_room")
        await peer.send(
            {
                "type": "error",
                "requestId": asked["requestId"],
                "code": "room_full",
                "error": "full",
                "retryable": True,
                "retryAfter": 100,
            }
        )
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        with pytest.raises(WireFailure) as caught:
            await client.join_room("lobby")
    assert (caught.value.code, caught.value.retry_after) == ("room_full", 0.1)


async def test_slow_reader_is_told_how_much_it_missed() -> None:
    """The queue of a reader is bounded; what is dropped is counted, and the rest is in order."""
    events = RoomEvents()
    for number in range(QUEUE_LENGTH + 5):
        events.put(Left(client_id=str(number), participants=0, reason="left"))
    events.close(None)

    seen = [event async for event in events]

    assert seen[0] == EventsMissed(5)
    rest = [event.client_id for event in seen[1:] if isinstance(event, Left)]
    assert rest == [str(number) for number in range(5, QUEUE_LENGTH + 5)]


async def test_reader_of_a_left_room_ends() -> None:
    """A room that this client was thrown out of ends its events, with the reason as the last."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.send(joined(await peer.expect("join_room")))
        await peer.send(
            {
                "type": "room_user_left",
                "roomId": "lobby",
                "clientId": "c-1",
                "participants": 0,
                "reason": "kicked",
            }
        )
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        room = await client.join_room("lobby")
        async with asyncio.timeout(5):
            seen = [event async for event in room.events()]
    assert [event.reason for event in seen if isinstance(event, Left)] == ["kicked"]
    assert room.is_left
