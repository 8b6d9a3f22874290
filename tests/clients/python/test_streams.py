"""Streams: text as it comes, and its end."""

from __future__ import annotations

from typing import Literal

import pytest

from tests.clients.python.scripted import Peer, staged
from wsserver_client import (
    StreamPhase,
    StreamUpdate,
    connect,
)


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_stream_yields_text_and_result(encoding: Literal["json", "msgpack"]) -> None:
    """The pieces joined are the answer, in both encodings, and the result says how it ended."""

    async def script(peer: Peer) -> None:
        assert peer.is_binary is (encoding == "msgpack")
        await peer.greet()
        asked = await peer.expect("stream")
        assert asked["prompt"] == "What is a violin?"
        assert asked["options"] == {"maxTokens": 9, "stop": ["\n", "#"]}
        await peer.start(asked)
        await peer.token("A stríng", 9)
        await peer.token(" instrument 🎻", 25)
        await peer.complete(25)
        await peer.closed()

    async with staged(script) as stage, connect(stage.url, encoding=encoding) as client:
        stream = client.stream("What is a violin?", max_tokens=9, stop=("\n", "#"))
        pieces = [piece async for piece in stream]
        result = await stream.result()

    assert "".join(pieces) == result.text == stream.text == "A stríng instrument 🎻"
    assert (result.finish_reason, result.total_tokens, result.stream_id) == ("stop", 3, "s-1")
    assert result.usage is not None and result.usage.total_tokens == 8
    assert (result.duration_ms, result.time_to_first_token_ms) == (40, 10)
    assert result.stopped_by is None


async def test_messages_are_sent_as_they_are() -> None:
    """A conversation goes out turn by turn, with the system prompt and the model beside it."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        assert asked["messages"] == [{"role": "user", "content": "Hi"}]
        assert (asked["system"], asked["model"]) == ("Be brief.", "m")
        assert "prompt" not in asked and "options" not in asked
        await peer.start(asked)
        await peer.complete(0)
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        stream = client.stream(
            messages=[{"role": "user", "content": "Hi"}], system="Be brief.", model="m"
        )
        assert (await stream.result()).text == ""


async def test_every_reader_reads_from_the_beginning() -> None:
    """Text that nobody reads waits as text: a late reader and a second one get all of it."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        await peer.start(asked)
        for number in range(1, 101):
            await peer.token("x", number)
        await peer.complete(100)
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        stream = client.stream("x")
        await stream.result()
        first = [piece async for piece in stream]
        second = [piece async for piece in stream]
    assert first == second == ["x" * 100]


async def test_updates_tell_queue_and_speed() -> None:
    """A reader of updates sees the place in the queue, the beginning, the speed and the end."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        await peer.start(asked, queuePosition=2)
        await peer.send({"type": "ping-like-event-of-the-future", "streamId": "s-1"})
        await peer.expect("get_status")
        await peer.send({"type": "queue_position", "requestId": asked["requestId"], "position": 1})
        await peer.expect("get_status")
        await peer.token("a", 1, position=7)
        await peer.send(
            {
                "type": "stream_progress",
                "requestId": asked["requestId"],
                "streamId": "s-1",
                "tokenCount": 7,
                "elapsedTime": 100,
                "tokensPerSecond": 70.5,
            }
        )
        await peer.complete(1)
        await peer.closed()

    seen: list[tuple[StreamPhase, int | None]] = []
    async with staged(script) as stage, connect(stage.url) as client:
        stream = client.stream("x")
        last: StreamUpdate | None = None
        async for update in stream.updates():
            last = update
            seen.append((update.phase, update.queue_position))
            if update.queue_position is not None:
                client.post({"type": "get_status"})
    assert (StreamPhase.WAITING, 2) in seen and (StreamPhase.WAITING, 1) in seen
    assert last is not None and last.phase is StreamPhase.ENDED
    assert last.tokens_per_second == 70.5


async def test_continue_is_a_stream_of_its_own() -> None:
    """`continue_` names the old stream; its text begins at offset 0."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("continue")
        assert (asked["streamId"], asked["options"]) == ("s-1", {"maxTokens": 5})
        await peer.start(asked, "s-2", continues="s-1")
        await peer.token("on", 2, "s-2")
        await peer.complete(2, "s-2")
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        stream = client.continue_("s-1", max_tokens=5)
        assert (await stream.result()).text == "on"
        assert stream.continues == "s-1"
