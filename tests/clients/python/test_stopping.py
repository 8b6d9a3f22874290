"""Ending a stream: by asking, by leaving, at any moment of its life."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests.clients.python.frames import resumed
from tests.clients.python.scripted import Peer, staged
from wsserver_client import (
    Backoff,
    RequestTimeout,
    StreamPhase,
    connect,
)


async def test_stop_ends_the_stream() -> None:
    """`stop` names the stream and returns when the server has ended it."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        await peer.start(asked)
        await peer.token("so far", 6)
        stop = await peer.expect("stop_stream")
        assert stop["streamId"] == "s-1"
        assert stop["requestId"] != asked["requestId"]
        await peer.stopped(6, requestId=asked["requestId"])
        assert await peer.expect_nothing_until_close() == 1000

    async with staged(script) as stage, connect(stage.url) as client:
        stream = client.stream("x")
        async for _ in stream:
            await stream.stop()
        result = await stream.result()
        await stream.stop()  # a second one has nothing to do
        assert client._exchange.running_calls() == []  # nor is the reply awaited for ever

    assert (result.text, result.finish_reason) == ("so far", "stopped")
    assert (result.stop_reason, result.stopped_by) == ("client", "c-1")


async def test_stop_before_the_server_answered_names_the_request() -> None:
    """Without a streamId the stop goes by the requestId, and an error to it ends nothing."""

    asked_for = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        asked_for.set()
        stop = await peer.expect("stop_stream")
        assert stop == {"type": "stop_stream", "requestId": asked["requestId"]}
        await peer.send(
            {
                "type": "error",
                "requestId": asked["requestId"],
                "code": "stream_not_found",
                "error": "not yet",
                "retryable": False,
            }
        )
        await peer.start(asked)
        await peer.stopped(0)
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        stream = client.stream("x")
        await asked_for.wait()
        await stream.stop()
        assert (await stream.result()).finish_reason == "stopped"


async def test_stop_before_it_was_sent_never_reaches_the_server() -> None:
    """A stream stopped in the outbox is stopped here; the server hears nothing of it."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        assert await peer.expect_nothing_until_close() == 1000

    async with staged(script) as stage, connect(stage.url) as client:
        stream = client.stream("x")
        await stream.stop()
        assert (await stream.result()).finish_reason == "stopped"


async def test_stop_of_a_silent_server_times_out() -> None:
    """`stop` does not wait for ever, and the stream may still end by itself."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        await peer.start(asked)
        await peer.token("x", 1)
        await peer.expect("stop_stream")
        await peer.closed()

    async with staged(script) as stage, connect(stage.url, request_timeout=0.05) as client:
        stream = client.stream("x")
        await anext(aiter(stream.updates()))
        async for update in stream.updates():
            if update.text:
                break
        with pytest.raises(RequestTimeout):
            await stream.stop()


async def test_leaving_the_loop_stops_the_stream() -> None:
    """An answer that nobody reads on is not made on."""
    stopped = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        await peer.start(asked)
        await peer.token("enough", 6)
        assert (await peer.expect("stop_stream"))["streamId"] == "s-1"
        stopped.set()
        await peer.stopped(6)
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        async for piece in client.stream("x"):
            assert piece == "enough"
            break
        gc.collect()
        await stopped.wait()


async def test_with_block_owns_the_stream() -> None:
    """Within ``async with`` leaving a loop stops nothing; leaving the block does."""
    in_block = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        await peer.start(asked)
        await peer.token("a", 1)
        await in_block.wait()
        await peer.token("b", 2)
        assert (await peer.expect("stop_stream"))["streamId"] == "s-1"
        await peer.stopped(2)
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        async with client.stream("x") as stream:
            async for _ in stream:
                break
            gc.collect()
            in_block.set()
            async for update in stream.updates():
                if stream.text == "ab":
                    assert update.phase is StreamPhase.RUNNING
                    break
        assert stream.is_ended
        assert (await stream.result()).finish_reason == "stopped"


async def test_watch_follows_and_leaving_unwatches() -> None:
    """A watched stream begins with its snapshot; leaving the loop ends the watching only."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        watch = await peer.expect("watch_stream")
        assert watch["streamId"] == "s-9"
        await peer.send(
            {
                "type": "stream_snapshot",
                "requestId": watch["requestId"],
                "streamId": "s-9",
                "text": "already",
                "fromOffset": 0,
                "offset": 7,
                "position": 2,
                "state": "running",
            }
        )
        assert (await peer.expect("unwatch_stream"))["streamId"] == "s-9"
        assert await peer.expect_nothing_until_close() == 1000

    async with (
        staged(script) as stage,
        connect(stage.url) as client,
        client.watch("s-9") as stream,
    ):
        async for piece in stream:
            assert piece == "already"
            break


async def test_stop_by_request_is_said_again_with_its_stream(at_once: Backoff) -> None:
    """A stream that is sent a second time after a cut is stopped a second time, too."""
    asked_for = asyncio.Event()

    async def first(peer: Peer) -> None:
        await peer.greet()
        await peer.expect("stream")
        asked_for.set()
        await peer.expect("stop_stream")
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.greet()
        await peer.send(resumed(await peer.expect("resume")))
        asked = await peer.expect("stream")
        assert (await peer.expect("stop_stream"))["requestId"] == asked["requestId"]
        await peer.start(asked)
        await peer.stopped(0)
        await peer.closed()

    async with (
        staged(first, second) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        stream = client.stream("x")
        await asked_for.wait()
        await stream.stop()
        assert (await stream.result()).finish_reason == "stopped"
