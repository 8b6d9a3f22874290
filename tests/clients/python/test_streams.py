"""Streams: text as it comes, ends, stops, gaps and failures."""

from __future__ import annotations

import asyncio
import gc
from typing import Literal

import pytest

from tests.clients.python.scripted import Peer, staged
from wsserver_client import (
    ConnectionLost,
    RequestTimeout,
    StreamPhase,
    StreamUpdate,
    WireFailure,
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


async def test_misspelt_option_is_refused_here() -> None:
    """The server ignores fields that it does not know; the client does not."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        assert await peer.expect_nothing_until_close() == 1000

    async with staged(script) as stage, connect(stage.url) as client:
        with pytest.raises(TypeError, match="temprature"):
            client.stream("x", temprature=0)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="not both"):
            client.stream("x", messages=[{"role": "user", "content": "y"}])
