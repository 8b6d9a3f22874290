"""A client of the first generation of the protocol must go on working, unmodified."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.conftest import StartServer
from tests.support.first_generation import LLMClient
from tests.support.server import ServerProcess


@asynccontextmanager
async def connected(server: ServerProcess) -> AsyncIterator[LLMClient]:
    client = LLMClient(server.ws_url + "/")  # the root path was the only one
    await client.connect()
    try:
        yield client
    finally:
        await client.disconnect()


def counted(count: int) -> str:
    return "".join(f"{number} " for number in range(1, count + 1))


async def test_connect_says_what_the_server_can(server: ServerProcess) -> None:
    """The first message has the id, the time and the four capabilities of old."""
    async with connected(server) as client:
        assert client.client_id
        for name in ("streaming", "batch", "models", "rooms"):
            assert client.capabilities[name] is True


async def test_generate_gives_the_whole_text(server: ServerProcess) -> None:
    """One answer, with the fields that clients read."""
    async with connected(server) as client:
        result = await client.generate_text("Hello", {"maxTokens": 12, "temperature": 0.7})
    assert result["text"] == counted(12)
    assert result["tokens"] == 12
    assert isinstance(result["latency"], int) and isinstance(result["model"], str)
    assert result["cached"] is False


async def test_generate_that_is_refused_is_a_generation_error(server: ServerProcess) -> None:
    """The reason is a string under ``error``, as clients show it."""
    async with connected(server) as client:
        with pytest.raises(RuntimeError, match="maxTokens"):
            await client.generate_text("Hello", {"maxTokens": -1})


async def test_stream_with_progress_every_five_tokens(server: ServerProcess) -> None:
    """Start with the prompt's echo, tokens from position 1, progress each five, one end."""
    async with connected(server) as client:
        streaming = await client.stream_text("Hello", {"maxTokens": 20, "tokenInterval": 0})
        end = await asyncio.wait_for(streaming.done, 20)
    assert streaming.started["prompt"] == "Hello"
    assert streaming.text == counted(20)
    assert streaming.tokens[0]["position"] == 1
    assert all(token["streamId"] == streaming.stream_id for token in streaming.tokens)
    assert all(isinstance(token["timestamp"], int) for token in streaming.tokens)
    counts = [progress["tokenCount"] for progress in streaming.progress]
    assert counts == [5, 10, 15, 20]
    last = streaming.progress[-1]
    assert last["elapsedTime"] >= 0 and float(last["tokensPerSecond"]) > 0
    assert (end["type"], end["totalTokens"]) == ("stream_complete", 20)
    assert isinstance(end["duration"], int)
    assert streaming.after_end == []


async def test_many_streams_on_one_connection(server: ServerProcess) -> None:
    """Streams run side by side and are told apart by requestId and streamId."""
    async with connected(server) as client:
        streams = [await client.stream_text("x", {"maxTokens": 10 + n}) for n in range(8)]
        for n, streaming in enumerate(streams):
            await asyncio.wait_for(streaming.done, 20)
            assert streaming.text == counted(10 + n)
    assert len({streaming.stream_id for streaming in streams}) == 8


async def test_stop_stream_stops_it(server: ServerProcess) -> None:
    """A stop by streamId brings ``stream_stopped`` and nothing after it."""
    async with connected(server) as client:
        streaming = await client.stream_text("x", {"maxTokens": 100_000})
        await asyncio.wait_for(streaming.enough.wait(), 10)
        await streaming.stop()
        end = await asyncio.wait_for(streaming.done, 10)
        assert (end["type"], end["streamId"]) == ("stream_stopped", streaming.stream_id)
        assert counted(100_000).startswith(streaming.text)
        await client.ping()
        assert streaming.after_end == []


async def test_batch_gives_ordered_results_and_a_summary(server: ServerProcess) -> None:
    """Each prompt's result is at its index, and the summary counts them."""
    async with connected(server) as client:
        done = await client.batch_generate(["a", "b", "c"], {"maxTokens": 4})
    assert [result["text"] for result in done["results"]] == [counted(4)] * 3
    summary = done["summary"]
    assert (summary["total"], summary["successful"], summary["failed"]) == (3, 3, 0)
    assert done["seen"][0] == "batch_start" and done["seen"][-1] == "batch_complete"
    assert done["seen"].count("batch_item") == 3


@pytest.mark.parametrize("prompts", [[], ["x"] * 21])
async def test_batch_of_a_wrong_size_is_refused(server: ServerProcess, prompts: list[str]) -> None:
    """No prompts, or more than twenty: one ``batch_error``."""
    async with connected(server) as client:
        with pytest.raises(RuntimeError):
            await client.batch_generate(prompts)


async def test_models_and_load_model(start_server: StartServer) -> None:
    """The list has the old fields, and a loaded model is in it afterwards."""
    server = start_server()
    async with connected(server) as client:
        models = await client.get_models()
        for model in models:
            assert {"id", "name", "type", "size", "capabilities", "status"} <= model.keys()
        loaded = await client.load_model("synthetic:?tps=0", "synthetic")
        assert {"id", "name", "type", "status"} <= loaded.keys()
        assert loaded["status"] == "ready"
        assert loaded["id"] in {model["id"] for model in await client.get_models()}
        with pytest.raises(RuntimeError):
            await client.load_model("/etc/passwd", "gguf")
        assert (await client.generate_text("x", {"maxTokens": 2}))["text"] == counted(2)


async def test_metrics_and_ping(server: ServerProcess) -> None:
    """The figures that dashboards read, and the server's time."""
    async with connected(server) as client:
        system = (await client.get_metrics())["system"]
        for name in ("uptime", "memoryUsage", "connectedClients", "activeStreams"):
            assert name in system
        assert system["connectedClients"] >= 1
        pong = await client.ping()
        assert abs(pong["timestamp"] - time.time() * 1000) < 60_000


async def test_join_and_leave_a_room(server: ServerProcess) -> None:
    """Joining counts people; the others hear of it; leaving needs no room id."""
    async with connected(server) as ann, connected(server) as bob:
        joined = await ann.join_room("first-generation")
        assert (joined["roomId"], joined["participants"]) == ("first-generation", 1)
        assert (await bob.join_room("first-generation"))["participants"] == 2
        came = await ann.next_event("room_user_joined")
        assert (came["clientId"], came["participants"]) == (bob.client_id, 2)
        left = await bob.leave_room()
        assert left["type"] == "room_left"
        gone = await ann.next_event("room_user_left")
        assert (gone["clientId"], gone["participants"]) == (bob.client_id, 1)


async def test_unknown_type_is_an_error_and_the_connection_lives(server: ServerProcess) -> None:
    """An error with the requestId and a string, after which everything goes on."""
    async with connected(server) as client:
        with pytest.raises(RuntimeError):
            await client._request({"type": "no_such_type"}, "never")
        await client._ws.send("this is not json")
        refused = await client.next_event("error")
        assert isinstance(refused["error"], str)
        assert (await client.generate_text("x", {"maxTokens": 1}))["text"] == counted(1)
