"""Whole answers, batches and loads."""

from __future__ import annotations

import asyncio

import pytest

from tests.clients.python.scripted import Message, Peer, staged
from wsserver_client import (
    LoadProgress,
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
        stopped.set()
        await peer.closed()

    stopped = asyncio.Event()

    async with staged(script) as stage, connect(stage.url) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.generate("x")
        await stopped.wait()  # while the client is open: closing it would stop it, too


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
