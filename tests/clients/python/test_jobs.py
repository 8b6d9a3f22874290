"""Whole answers, batches, loads, single requests, and what happens at the edge of the protocol."""

from __future__ import annotations

import asyncio

import pytest

from tests.clients.python.scripted import Message, Peer, staged
from wsserver_client import (
    ConnectionLost,
    LoadProgress,
    UnexpectedReply,
    WireFailure,
    connect,
)


def result(text: str) -> Message:
    return {
        "text": text,
        "tokens": 1,
        "model": "m",
        "latency": 12,
        "cached": False,
        "finishReason": "stop",
        "usage": {"promptTokens": 2, "completionTokens": 1, "totalTokens": 3, "cachedTokens": 0},
    }


async def test_generate_gives_the_whole_answer() -> None:
    """`generate` waits through queue positions for its result."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("generate")
        assert asked["options"] == {"temperature": 0}
        request_id = asked["requestId"]
        await peer.send({"type": "queue_position", "requestId": request_id, "position": 1})
        await peer.send(
            {"type": "generation_complete", "requestId": request_id, "result": result("42")}
        )
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        generation = await client.generate("x", temperature=0)
    assert (generation.text, generation.latency_ms, generation.saved) == ("42", 12, True)
    assert generation.usage is not None and generation.usage.prompt_tokens == 2


async def test_cancelled_generate_is_stopped_on_the_server() -> None:
    """Whoever no longer waits frees the slot, by the request's id."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("generate")
        stop = await peer.expect("stop_stream")
        assert stop == {"type": "stop_stream", "requestId": asked["requestId"]}
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.generate("x")


async def test_batch_is_iterated_as_items_end_and_ordered_in_the_result() -> None:
    """Items come in the order of ending, results in the order of the prompts; none twice."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("batch")
        assert asked["prompts"] == ["a", "b", "c"]
        about = {"requestId": asked["requestId"], "batchId": "b-1"}
        await peer.send({"type": "batch_start", **about, "total": 3})
        await peer.send({"type": "batch_item", **about, "index": 2, "result": result("C")})
        await peer.send({"type": "batch_item", **about, "index": 2, "result": result("C")})
        await peer.send(
            {
                "type": "batch_item",
                **about,
                "index": 1,
                "error": "too long",
                "code": "context_length_exceeded",
            }
        )
        await peer.send({"type": "batch_item", **about, "index": 0, "result": result("A")})
        await peer.send(
            {
                "type": "batch_complete",
                **about,
                "summary": {
                    "total": 3,
                    "successful": 2,
                    "failed": 1,
                    "cancelled": 0,
                    "averageLatency": 12.0,
                },
            }
        )
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        batch = client.batch(["a", "b", "c"])
        seen = [item.index async for item in batch]
        done = await batch
    assert seen == [2, 1, 0]
    assert [item.index for item in done.items] == [0, 1, 2]
    assert (done.successful, done.failed, done.average_latency_ms) == (2, 1, 12.0)
    assert (done.items[0].text, done.items[2].text) == ("A", "C")
    with pytest.raises(WireFailure, match="too long"):
        _ = done.texts


async def test_stopped_batch_keeps_what_was_done() -> None:
    """`stop` names the batch and gives the results so far."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("batch")
        about = {"requestId": asked["requestId"], "batchId": "b-1"}
        await peer.send({"type": "batch_start", **about, "total": 2})
        await peer.send({"type": "batch_item", **about, "index": 0, "result": result("A")})
        assert (await peer.expect("stop_batch"))["batchId"] == "b-1"
        await peer.send(
            {
                "type": "batch_complete",
                **about,
                "summary": {
                    "total": 2,
                    "successful": 1,
                    "failed": 0,
                    "cancelled": 1,
                    "averageLatency": None,
                },
            }
        )
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        batch = client.batch(["a", "b"])
        async for item in batch:
            assert item.text == "A"
            break
        done = await batch.stop()
    assert done.cancelled == 1
    assert done.items[1].generation is None


async def test_refused_batch_raises() -> None:
    """`batch_error` ends the batch and its iteration."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("batch")
        await peer.send(
            {
                "type": "batch_error",
                "requestId": asked["requestId"],
                "code": "batch_too_large",
                "error": "at most 20",
                "retryable": False,
            }
        )
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        batch = client.batch(["a"])
        with pytest.raises(WireFailure, match="at most 20"):
            async for _ in batch:
                pass


async def test_load_tells_its_progress() -> None:
    """A load is iterated for progress and awaited for the model's id."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("load_model")
        assert (asked["source"], asked["options"]) == ("m.gguf", {"slots": 2})
        about = {"requestId": asked["requestId"]}
        await peer.send(
            {"type": "model_load_progress", **about, "id": "m", "stage": "loading", "progress": 0.5}
        )
        await peer.expect("ping")
        await peer.send(
            {
                "type": "model_loaded",
                **about,
                "model": {"id": "m", "name": "m", "type": "gguf", "status": "ready"},
            }
        )
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        load = client.load_model("m.gguf", options={"slots": 2})
        seen = []
        async for progress in load:
            seen.append(progress)
            client.post({"type": "ping"})
        assert await load == "m"
    assert seen == [LoadProgress("m", "loading", 0.5)]


async def test_failed_load_says_why() -> None:
    """`model_load_error` is raised with the server's reason."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("load_model")
        await peer.send(
            {
                "type": "model_load_error",
                "requestId": asked["requestId"],
                "code": "model_load_failed",
                "error": "not a GGUF file",
                "retryable": False,
            }
        )
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        with pytest.raises(WireFailure, match="not a GGUF file"):
            await client.load_model("x")


async def test_single_requests_give_the_protocols_structs() -> None:
    """One message, one typed reply."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        models = await peer.expect("models")
        await peer.send(
            {
                "type": "models_list",
                "requestId": models["requestId"],
                "models": [
                    {
                        "id": "m",
                        "name": "M",
                        "type": "gguf",
                        "status": "ready",
                        "size": 5,
                        "capabilities": ["chat"],
                        "contextLength": 1024,
                        "engine": "llamacpp",
                        "replicas": 1,
                        "slots": 2,
                        "activeStreams": 0,
                        "default": True,
                        "ofTheFuture": 1,
                    }
                ],
            }
        )
        count = await peer.expect("count_tokens")
        assert count["text"] == "a b"
        await peer.send({"type": "token_count", "requestId": count["requestId"], "tokens": 2})
        stop = await peer.expect("interrupt")
        await peer.send(
            {
                "type": "interrupted",
                "requestId": stop["requestId"],
                "streamIds": ["s"],
                "batchIds": [],
            }
        )
        unload = await peer.expect("unload_model")
        assert unload["id"] == "m" and unload["force"] is True
        await peer.send({"type": "model_unloaded", "requestId": unload["requestId"], "id": "m"})
        opened = await peer.expect("open_session")
        assert opened["systemPrompt"] == "Be brief." and opened["metadata"] == {"my_key": 1}
        await peer.send(
            {
                "type": "session_opened",
                "requestId": opened["requestId"],
                "session": {
                    "sessionId": "ses",
                    "title": None,
                    "createdAt": 1,
                    "updatedAt": 2,
                    "messageCount": 0,
                    "systemPrompt": "Be brief.",
                    "model": None,
                    "owner": "ann",
                },
            }
        )
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        (model,) = await client.models()
        assert (model.id, model.context_length, model.default) == ("m", 1024, True)
        assert await client.count_tokens("a b") == 2
        assert (await client.interrupt()).stream_ids == ("s",)
        await client.unload_model("m", force=True)
        session = await client.open_session(system_prompt="Be brief.", metadata={"my_key": 1})
        assert session.session_id == "ses"


async def test_reply_of_another_kind_is_an_error() -> None:
    """A reply that does not fit the request, or lacks fields, is not passed on as if it did."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        models = await peer.expect("models")
        await peer.send({"type": "pong", "requestId": models["requestId"], "timestamp": 1})
        models = await peer.expect("models")
        await peer.send({"type": "models_list", "requestId": models["requestId"], "models": 5})
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        with pytest.raises(UnexpectedReply, match="pong"):
            await client.models()
        with pytest.raises(UnexpectedReply):
            await client.models()


async def test_any_message_can_be_sent() -> None:
    """`request` takes a message as the wire has it and gives the reply the same way."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("of_the_future")
        assert asked == {"type": "of_the_future", "requestId": "mine", "someField": [1]}
        await peer.send({"type": "future_reply", "requestId": "mine", "x": 1})
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        reply = await client.request(
            {"type": "of_the_future", "requestId": "mine", "someField": [1]}
        )
    assert reply == {"type": "future_reply", "requestId": "mine", "x": 1}


async def test_unreadable_frames_do_no_harm() -> None:
    """Frames that cannot be read, and events of the future, are passed over."""

    async def script(peer: Peer) -> None:
        await peer.send_raw("not json")
        await peer.send_raw(b"\xc1")
        await peer.send_raw("[1]")
        await peer.send_raw('{"no": "type"}')
        await peer.send_raw('{"type": 5}')
        await peer.greet()
        await peer.send({"type": "of_the_future", "roomId": "r", "streamId": "s"})
        await peer.token("nobody's", 8, "s-unknown")
        await peer.send({"type": "error", "code": "rate_limited", "error": "too many frames"})
        await peer.expect("stream")
        await peer.send({"type": "stream_start", "requestId": peer.received[-1]["requestId"]})
        await peer.send({"type": "server_draining", "reconnectAfter": "soon"})
        ping = await peer.expect("ping")
        await peer.send({"type": "pong", "requestId": ping["requestId"], "timestamp": 1})
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        client.stream("x")
        assert await client.ping() < 5


async def test_message_that_is_too_large_stays_here() -> None:
    """A message over the server's limit fails here; the connection lives."""

    async def script(peer: Peer) -> None:
        await peer.greet(limits={"maxMessageBytes": 500})
        ping = await peer.expect("ping")
        await peer.send({"type": "pong", "requestId": ping["requestId"], "timestamp": 1})
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        with pytest.raises(WireFailure) as caught:
            await client.stream("x" * 600).result()
        assert caught.value.code == "payload_too_large"
        await client.ping()


async def test_body_that_fails_closes_the_client() -> None:
    """An exception in the ``async with`` body closes the connection and passes on."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        assert await peer.expect_nothing_until_close() == 1000

    async with staged(script) as stage:
        with pytest.raises(ZeroDivisionError):
            async with connect(stage.url) as client:
                assert client.session.heartbeat_interval == 20
                _ = 1 / 0
        with pytest.raises(ConnectionLost):
            await client.ping()
