"""Rooms after the connection was lost: missing nothing, told once."""

from __future__ import annotations

import pytest

from tests.clients.python.room_frames import entry, joined, said
from tests.clients.python.scripted import Peer, staged
from wsserver_client import (
    Backoff,
    LogReplaced,
    Said,
    WireFailure,
    connect,
)


async def test_resume_tells_what_was_missed_once(at_once: Backoff) -> None:
    """After a resume the missed entries come in order, and known ones are not told again."""

    async def first(peer: Peer) -> None:
        await peer.greet()
        await peer.send(joined(await peer.expect("join_room")))
        await peer.send(said(3, "three"))
        await peer.expect("ping")
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.greet()
        resume = await peer.expect("resume")
        assert resume["rooms"] == {"lobby": {"epoch": "e-1", "seq": 3}}
        await peer.send(
            {
                "type": "resumed",
                "requestId": resume["requestId"],
                "clientId": "c-1",
                "resumeToken": "token-2",
                "streams": [],
                "rooms": [joined(None, seq=5, messages=[entry(n, str(n)) for n in (3, 4, 5)])],
            }
        )
        await peer.send(said(5, "5"))
        await peer.send(said(6, "six"))
        await peer.closed()

    async with (
        staged(first, second) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        room = await client.join_room("lobby")
        texts = []
        async for event in room.events():
            assert isinstance(event, Said)
            texts.append(event.entry.text)
            if event.entry.seq == 3:
                client.post({"type": "ping"})
            if event.entry.seq == 6:
                break
    assert texts == ["three", "4", "5", "six"]


async def test_rejoin_without_resume(at_once: Backoff) -> None:
    """Where nothing can be resumed the room is entered again, from the last entry."""

    async def first(peer: Peer) -> None:
        await peer.greet()
        await peer.send(joined(await peer.expect("join_room")))
        await peer.expect("ping")
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.greet()
        resume = await peer.expect("resume")
        await peer.send(
            {
                "type": "error",
                "requestId": resume["requestId"],
                "code": "resume_expired",
                "error": "too late",
                "retryable": False,
            }
        )
        again = await peer.expect("join_room")
        assert (again["name"], again["lastSeq"]) == ("Ann", {"epoch": "e-1", "seq": 2})
        await peer.send(
            joined(again, epoch="e-2", seq=1, recovered=False, messages=[entry(1, "new log")])
        )
        await peer.send(said(2, "goes on"))
        await peer.closed()

    async with (
        staged(first, second) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        room = await client.join_room("lobby", name="Ann")
        client.post({"type": "ping"})
        events = room.events()
        replaced = await anext(events)
        assert isinstance(replaced, LogReplaced)
        assert [old.text for old in replaced.entries] == ["new log"]
        goes_on = await anext(events)
        assert isinstance(goes_on, Said) and goes_on.entry.seq == 2


async def test_refused_rejoin_ends_the_events_with_the_reason(at_once: Backoff) -> None:
    """A room that does not let the client back in raises from its events."""

    async def first(peer: Peer) -> None:
        await peer.greet()
        await peer.send(joined(await peer.expect("join_room")))
        await peer.expect("ping")
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.greet(capabilities={"resume": False})
        again = await peer.expect("join_room")
        await peer.send(
            {
                "type": "error",
                "requestId": again["requestId"],
                "code": "forbidden",
                "error": "banned",
                "retryable": False,
            }
        )
        await peer.closed()

    async with (
        staged(first, second) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        room = await client.join_room("lobby")
        client.post({"type": "ping"})
        with pytest.raises(WireFailure, match="banned"):
            await anext(room.events())
        assert room.is_left
