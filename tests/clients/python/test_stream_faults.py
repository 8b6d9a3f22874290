"""Streams that go wrong: gaps, repeats, rewinds, failures."""

from __future__ import annotations

import asyncio

import pytest

from tests.clients.python.scripted import Peer, staged
from wsserver_client import (
    ConnectionLost,
    StreamUpdate,
    WireFailure,
    connect,
)


async def test_repeated_and_overlapping_pieces_add_nothing() -> None:
    """What was had already is dropped, to the byte, also within a piece."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        await peer.start(asked)
        await peer.token("abc", 3)
        await peer.token("abc", 3)
        await peer.token("bcdé", 6)
        await peer.token("é!", 7)
        await peer.complete(7)
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        assert "".join([piece async for piece in client.stream("x")]) == "abcdé!"


async def test_gap_is_asked_for_and_filled() -> None:
    """A missing piece is asked for once, from where the text ends; what follows is joined."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        await peer.start(asked)
        await peer.token("one ", 4)
        await peer.token("three ", 14)
        await peer.token("four", 18)
        watch = await peer.expect("watch_stream")
        assert (watch["streamId"], watch["fromOffset"]) == ("s-1", 4)
        await peer.send(
            {
                "type": "stream_snapshot",
                "requestId": watch["requestId"],
                "streamId": "s-1",
                "text": "two three ",
                "fromOffset": 4,
                "offset": 14,
                "position": 3,
                "state": "running",
            }
        )
        await peer.token("four", 18)
        await peer.complete(18)
        assert await peer.expect_nothing_until_close() == 1000

    async with staged(script) as stage, connect(stage.url) as client:
        assert (await client.stream("x").result()).text == "one two three four"


async def test_end_before_all_text_is_not_believed() -> None:
    """A terminal event whose offset is past the text makes the client ask for the rest."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        await peer.start(asked)
        await peer.token("half", 4)
        await peer.complete(9)
        watch = await peer.expect("watch_stream")
        assert watch["fromOffset"] == 4
        await peer.send(
            {
                "type": "stream_snapshot",
                "requestId": watch["requestId"],
                "streamId": "s-1",
                "text": " more",
                "fromOffset": 4,
                "offset": 9,
                "position": 2,
                "state": "ended",
            }
        )
        await peer.complete(9)
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        assert (await client.stream("x").result()).text == "half more"


async def test_rest_that_is_gone_loses_the_stream_and_keeps_its_text() -> None:
    """If what is missing cannot be had, the stream fails and carries the text there was."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        await peer.start(asked)
        await peer.token("half", 4)
        await peer.token("later", 20)
        watch = await peer.expect("watch_stream")
        await peer.send(
            {
                "type": "error",
                "requestId": watch["requestId"],
                "code": "stream_not_found",
                "error": "no such stream",
                "retryable": False,
            }
        )
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        with pytest.raises(ConnectionLost, match="no such stream") as caught:
            await client.stream("x").result()
    assert (caught.value.text, caught.value.stream_id) == ("half", "s-1")


async def test_rewind_takes_text_back() -> None:
    """After a rewind the text is what the server says; a reader learns that it was rewound."""
    shown = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        await peer.start(asked)
        await peer.token("abcdef", 6)
        await shown.wait()
        await peer.send({"type": "stream_rewind", "streamId": "s-1", "offset": 2})
        await peer.token("XY", 4)
        await peer.complete(4)
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        stream = client.stream("x")
        updates: list[StreamUpdate] = []
        async for update in stream.updates():
            updates.append(update)
            if update.text == "abcdef":
                shown.set()

    assert stream.text == "abXY"
    rewound = [update for update in updates if update.rewound]
    assert len(rewound) == 1
    assert "".join(update.text for update in updates) == "abcdefXY"


async def test_failure_carries_all_the_server_said() -> None:
    """A refusal is an exception with code, words, fields and when to come back."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        await peer.send(
            {
                "type": "stream_error",
                "requestId": asked["requestId"],
                "code": "invalid_parameters",
                "error": "a field is out of bounds",
                "retryable": False,
                "retryAfter": 1500,
                "details": [{"field": "options.topP", "message": "at most 1"}],
            }
        )
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        with pytest.raises(WireFailure) as caught:
            async for _ in client.stream("x", top_p=3.0):
                pass
    failure = caught.value
    assert (failure.code, failure.retryable, failure.retry_after) == (
        "invalid_parameters",
        False,
        1.5,
    )
    assert failure.details[0].field == "options.topP"
    assert str(failure) == "a field is out of bounds (options.topP: at most 1)"


async def test_failure_midway_gives_the_text_first() -> None:
    """All text is iterated before the failure is raised, and the failure has it, too."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        await peer.start(asked)
        await peer.token("so far", 6)
        await peer.send(
            {
                "type": "stream_error",
                "requestId": asked["requestId"],
                "streamId": "s-1",
                "code": "generation_failed",
                "error": "the engine died",
                "retryable": True,
                "offset": 6,
            }
        )
        await peer.closed()

    pieces = []
    async with staged(script) as stage, connect(stage.url) as client:
        stream = client.stream("x")
        with pytest.raises(WireFailure) as caught:
            async for piece in stream:
                pieces.append(piece)  # noqa: PERF401 - a comprehension would lose them
    assert pieces == ["so far"]
    assert (caught.value.text, caught.value.stream_id) == ("so far", "s-1")
    assert stream.error is caught.value


async def test_watch_of_a_stream_that_is_gone_says_where_the_text_is() -> None:
    """``stream_not_found`` carries the session and the message that keep the text."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        watch = await peer.expect("watch_stream")
        await peer.send(
            {
                "type": "error",
                "requestId": watch["requestId"],
                "code": "stream_not_found",
                "error": "ended long ago",
                "retryable": False,
                "sessionId": "ses",
                "messageId": "msg",
            }
        )
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        with pytest.raises(WireFailure) as caught:
            await client.watch("s-9").result()
    assert (caught.value.session_id, caught.value.message_id) == ("ses", "msg")


async def test_misspelt_option_is_refused_here() -> None:
    """The server ignores fields that it does not know; the client does not."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        assert await peer.expect_nothing_until_close() == 1000

    async with staged(script) as stage, connect(stage.url) as client:
        with pytest.raises(TypeError, match="temprature"):
            client.stream("x", temprature=0)  # type: ignore[call-arg]  # the fault under test
        with pytest.raises(TypeError, match="not both"):
            client.stream("x", messages=[{"role": "user", "content": "y"}])
