"""Taking up what ran after the connection was lost, or losing it with its text."""

from __future__ import annotations

import asyncio

import pytest

from tests.clients.python.frames import authenticate, begin_and_cut, refused, resumed
from tests.clients.python.scripted import Peer, staged
from wsserver_client import (
    Backoff,
    ConnectionLost,
    LinkState,
    connect,
)


async def test_stream_goes_on_to_the_byte(at_once: Backoff) -> None:
    """After a cut the client resumes with its offsets, and the reader sees one unbroken text."""

    async def second(peer: Peer) -> None:
        await peer.greet(clientId="c-2", resumeToken="token-other")
        resume = await peer.expect("resume")
        assert resume["resumeToken"] == "token-1"
        assert resume["streams"] == {"s-1": 6}
        await peer.send(
            resumed(
                resume,
                streams=[{"streamId": "s-1", "requestId": "r", "state": "running", "offset": 14}],
            )
        )
        await peer.send(
            {
                "type": "stream_snapshot",
                "streamId": "s-1",
                "text": " Boxkämpfer"[:4],
                "fromOffset": 6,
                "offset": 10,
                "position": 4,
                "state": "running",
            }
        )
        await peer.token("kämpfer", 18)
        peer.cut()

    async def third(peer: Peer) -> None:
        await peer.greet(clientId="c-3", resumeToken="token-third")
        resume = await peer.expect("resume")
        assert resume["resumeToken"] == "token-2"
        await peer.send(
            resumed(
                resume,
                streams=[{"streamId": "s-1", "requestId": "r", "state": "ended", "offset": 18}],
            )
        )
        await peer.token("kämpfer", 18)
        await peer.complete(18)
        await peer.closed()

    async with (
        staged(begin_and_cut, second, third) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        pieces = []
        async for piece in client.stream("x"):
            pieces.append(piece)
            if len(pieces) == 1:
                client.post({"type": "ping"})
        assert "".join(pieces) == "Zwölf Boxkämpfer"
        assert client.client_id == "c-1"


@pytest.mark.parametrize("code", ["resume_expired", "unknown_type"])
async def test_stream_that_cannot_be_resumed_is_lost_with_its_text(
    at_once: Backoff, code: str
) -> None:
    """A server that does not have the stream any more ends it here, and the text is not lost."""

    async def second(peer: Peer) -> None:
        await peer.greet(clientId="c-2")
        await peer.send(refused(await peer.expect("resume"), code))
        await peer.expect("ping")
        await peer.closed()

    async with (
        staged(begin_and_cut, second) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        stream = client.stream("x")
        with pytest.raises(ConnectionLost) as caught:
            async for _ in stream:
                client.post({"type": "ping"})
        client.post({"type": "ping"})  # the connection goes on as a new client
        assert client.client_id == "c-2"
        assert client.connection.state is LinkState.ONLINE
    assert (caught.value.text, caught.value.stream_id) == ("Zwölf", "s-1")


async def test_stream_gone_after_resume_is_lost(at_once: Backoff) -> None:
    """``gone`` in ``resumed`` ends the stream, and so does being forgotten there."""

    async def second(peer: Peer) -> None:
        await peer.greet()
        resume = await peer.expect("resume")
        await peer.send(
            resumed(
                resume,
                streams=[{"streamId": "s-1", "requestId": "r", "state": "gone", "offset": 0}],
            )
        )
        await peer.closed()

    async with (
        staged(begin_and_cut, second) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        stream = client.stream("x")
        with pytest.raises(ConnectionLost, match="no longer has"):
            async for _ in stream:
                client.post({"type": "ping"})


async def test_known_user_watches_instead_of_resuming(at_once: Backoff) -> None:
    """Where the window is over but the user is known, the stream is taken up by watching it."""

    async def first(peer: Peer) -> None:
        await peer.greet()
        await authenticate(peer)
        asked = await peer.expect("stream")
        await peer.start(asked)
        await peer.token("one ", 4)
        await peer.expect("ping")
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.greet(clientId="c-2")
        await authenticate(peer)
        await peer.send(refused(await peer.expect("resume"), "resume_expired"))
        watch = await peer.expect("watch_stream")
        assert (watch["streamId"], watch["fromOffset"]) == ("s-1", 4)
        await peer.send(
            {
                "type": "stream_snapshot",
                "requestId": watch["requestId"],
                "streamId": "s-1",
                "text": "two",
                "fromOffset": 4,
                "offset": 7,
                "position": 2,
                "state": "running",
            }
        )
        await peer.complete(7)
        await peer.closed()

    async with (
        staged(first, second) as stage,
        connect(stage.url, backoff=at_once, user_id="ann", name="Ann") as client,
    ):
        stream = client.stream("x")
        pieces = []
        async for piece in stream:
            pieces.append(piece)
            if len(pieces) == 1:
                client.post({"type": "ping"})
        assert "".join(pieces) == "one two"


async def test_requests_are_repeated_where_that_is_safe(at_once: Backoff) -> None:
    """Unanswered requests go out again under the same id; what might happen twice is lost."""
    first_ids: dict[str, str] = {}

    async def first(peer: Peer) -> None:
        await peer.greet()
        for _ in range(4):
            message = await peer.receive()
            first_ids[message["type"]] = message["requestId"]
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.greet()
        await peer.send(resumed(await peer.expect("resume")))
        models = await peer.expect("models")
        assert models["requestId"] == first_ids["models"]
        generate = await peer.expect("generate")
        assert generate["requestId"] == first_ids["generate"]
        stream = await peer.expect("stream")
        assert stream["requestId"] == first_ids["stream"]
        await peer.send({"type": "models_list", "requestId": models["requestId"], "models": []})
        await peer.send(
            {
                "type": "generation_complete",
                "requestId": generate["requestId"],
                "result": {
                    "text": "whole",
                    "tokens": 1,
                    "model": "m",
                    "latency": 3,
                    "cached": False,
                    "finishReason": "stop",
                    "usage": {
                        "promptTokens": 1,
                        "completionTokens": 1,
                        "totalTokens": 2,
                        "cachedTokens": 0,
                    },
                },
            }
        )
        await peer.start(stream)
        await peer.complete(0)
        await peer.closed()

    async with (
        staged(first, second) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        models = asyncio.create_task(client.models())
        generation = asyncio.create_task(client.generate("x"))
        await asyncio.sleep(0)
        stream = client.stream("x")
        load = client.load_model("m.gguf")
        with pytest.raises(ConnectionLost):
            await load
        assert await models == ()
        assert (await generation).text == "whole"
        assert (await stream.result()).finish_reason == "stop"


async def test_anonymous_work_is_not_begun_twice(at_once: Backoff) -> None:
    """A new identity's requestIds mean nothing: an unanswered generate is lost, not run again."""

    async def first(peer: Peer) -> None:
        await peer.greet()
        await peer.expect("generate")
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.greet(clientId="c-2")
        await peer.send(refused(await peer.expect("resume"), "resume_expired"))
        assert await peer.expect_nothing_until_close() == 1000

    async with (
        staged(first, second) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        with pytest.raises(ConnectionLost):
            await client.generate("x")
