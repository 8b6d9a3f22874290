"""A client of the first generation of the protocol, as it was written then.

It knows the root path, camelCase, a ``requestId`` on each message, callbacks by ``requestId`` and
nothing newer: no subprotocol, no offsets, no sessions. It uses a WebSocket library and ``json``,
and nothing of this project. Fields that it does not know it ignores, as clients did.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import websockets

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
