"""A client of the first generation of the protocol, as it was written then, must go on working.

It knows the root path, camelCase, a ``requestId`` on each message, callbacks by ``requestId`` and
nothing newer: no subprotocol, no offsets, no sessions. It uses a WebSocket library and ``json``,
and nothing of this project. Fields that it does not know it ignores, as clients did.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets

from tests.conftest import StartServer
from tests.support.server import ServerProcess

Message = dict[str, Any]


class LLMClient:
    """The client as its users have it. Changing it to make a test pass would miss the point."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client_id: str | None = None
        self.capabilities: Message = {}
        self.events: asyncio.Queue[Message] = asyncio.Queue()
        self._ws: Any = None
        self._callbacks: dict[str, Callable[[Message], None]] = {}
        self._next_id = 0
        self._reader: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        self._ws = await websockets.connect(self.url)
        hello = json.loads(await self._ws.recv())
        assert hello["type"] == "connected"
        self.client_id = hello["clientId"]
        self.capabilities = hello["capabilities"]
        assert hello["serverTime"]
        self._reader = asyncio.create_task(self._read())

    async def disconnect(self) -> None:
        assert self._reader is not None
        await self._ws.close()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        async for text in self._ws:
            assert isinstance(text, str)  # frames were text, always
            message = json.loads(text)
            callback = self._callbacks.get(message.get("requestId", ""))
            if callback is not None:
                callback(message)
            else:
                self.events.put_nowait(message)

    async def _send(self, message: Message) -> None:
        await self._ws.send(json.dumps(message))

    def _new_id(self) -> str:
        self._next_id += 1
        return f"req_{int(time.time() * 1000)}_{self._next_id}"

    async def _request(self, message: Message, *ends: str) -> Message:
        """Send and wait for one of ``ends``; error events raise."""
        request_id = self._new_id()
        done: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        def callback(answer: Message) -> None:
            if answer["type"] in ends and not done.done():
                done.set_result(answer)
            elif answer["type"].endswith("error") and not done.done():
                done.set_exception(RuntimeError(answer["error"]))

        self._callbacks[request_id] = callback
        try:
            await self._send({**message, "requestId": request_id})
            return await asyncio.wait_for(done, 20)
        finally:
            del self._callbacks[request_id]

    async def generate_text(self, prompt: str, options: Message | None = None) -> Message:
        answer = await self._request(
            {"type": "generate", "prompt": prompt, "options": options or {}}, "generation_complete"
        )
        result: Message = answer["result"]
        return result

    async def stream_text(self, prompt: str, options: Message | None = None) -> Streaming:
        request_id = self._new_id()
        streaming = Streaming(self, request_id)
        self._callbacks[request_id] = streaming.handle
        await self._send(
            {"type": "stream", "prompt": prompt, "options": options or {}, "requestId": request_id}
        )
        return streaming

    async def batch_generate(self, prompts: list[str], options: Message | None = None) -> Message:
        request_id = self._new_id()
        done: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        results: list[Message | None] = [None] * len(prompts)
        seen: list[str] = []

        def callback(message: Message) -> None:
            seen.append(message["type"])
            if message["type"] == "batch_start":
                assert message["total"] == len(prompts) and message["batchId"]
            elif message["type"] == "batch_item":
                results[message["index"]] = message.get("result") or {"error": message["error"]}
            elif message["type"] == "batch_complete":
                done.set_result({"results": results, "summary": message["summary"], "seen": seen})
            elif message["type"] == "batch_error":
                done.set_exception(RuntimeError(message["error"]))

        self._callbacks[request_id] = callback
        await self._send(
            {
                "type": "batch",
                "prompts": prompts,
                "options": options or {},
                "requestId": request_id,
            }
        )
        return await asyncio.wait_for(done, 20)

    async def get_models(self) -> list[Message]:
        models: list[Message] = (await self._request({"type": "models"}, "models_list"))["models"]
        return models

    async def load_model(self, source: str, format_: str) -> Message:
        answer = await self._request(
            {"type": "load_model", "source": source, "format": format_, "immediate": False},
            "model_loaded",
        )
        model: Message = answer["model"]
        return model

    async def get_metrics(self) -> Message:
        data: Message = (await self._request({"type": "metrics"}, "metrics"))["data"]
        return data

    async def join_room(self, room_id: str) -> Message:
        return await self._request({"type": "join_room", "roomId": room_id}, "room_joined")

    async def leave_room(self) -> Message:
        return await self._request({"type": "leave_room"}, "room_left")

    async def ping(self) -> Message:
        await self._send({"type": "ping"})  # it never had a requestId
        return await self.next_event("pong")

    async def next_event(self, kind: str) -> Message:
        while True:
            event = await asyncio.wait_for(self.events.get(), 10)
            if event["type"] == kind:
                return event


class Streaming:
    """One running stream with its callbacks, as the old client had them."""

    def __init__(self, client: LLMClient, request_id: str) -> None:
        self._client = client
        self.request_id = request_id
        self.stream_id: str | None = None
        self.started: Message = {}
        self.tokens: list[Message] = []
        self.progress: list[Message] = []
        self.enough = asyncio.Event()
        self.done: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.after_end: list[Message] = []

    def handle(self, message: Message) -> None:
        if self.done.done():
            self.after_end.append(message)
        elif message["type"] == "stream_start":
            self.stream_id = message["streamId"]
            self.started = message
        elif message["type"] == "stream_token":
            self.tokens.append(message)
            if len(self.tokens) >= 3:
                self.enough.set()
        elif message["type"] == "stream_progress":
            self.progress.append(message)
        elif message["type"] in ("stream_complete", "stream_stopped", "stream_error"):
            self.done.set_result(message)

    async def stop(self) -> None:
        await self._client._send(
            {
                "type": "stop_stream",
                "streamId": self.stream_id,
                "requestId": self._client._new_id(),
            }
        )

    @property
    def text(self) -> str:
        return "".join(token["token"] for token in self.tokens)


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
