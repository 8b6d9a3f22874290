"""A WebSocket server that says what a test tells it to: the network's other end, frame by frame.

It knows nothing of wsserver; a test writes the frames that a server might send, and drops
connections where a network might.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgpack
import orjson
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

Message = dict[str, Any]
Script = Callable[["Peer"], Awaitable[None]]

CONNECTED: Message = {
    "type": "connected",
    "clientId": "c-1",
    "resumeToken": "token-1",
    "protocolVersion": 1,
    "serverTime": "2026-01-01T00:00:00Z",
    "authRequired": False,
    "heartbeatInterval": 20_000,
    "capabilities": {
        "streaming": True,
        "batch": True,
        "models": True,
        "rooms": True,
        "sessions": True,
        "resume": True,
        "binary": True,
    },
    "limits": {
        "maxMessageBytes": 1_048_576,
        "maxBatch": 20,
        "requestsPerMinute": 0,
        "tokensPerMinute": 0,
        "maxConcurrentStreams": 64,
    },
}


class Peer:
    """The server's end of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket
        self.is_binary = socket.subprotocol == "wsserver.v1.msgpack"
        self.received: list[Message] = []

    @property
    def headers(self) -> dict[str, str]:
        assert self._socket.request is not None
        return dict(self._socket.request.headers.raw_items())

    async def greet(self, **changes: Any) -> None:
        await self.send({**CONNECTED, **changes})

    async def send(self, message: Message) -> None:
        if self.is_binary:
            await self._socket.send(msgpack.packb(message))
        else:
            await self._socket.send(orjson.dumps(message), text=True)

    async def send_raw(self, frame: str | bytes) -> None:
        await self._socket.send(frame)

    async def receive(self) -> Message:
        frame = await self._socket.recv()
        message: Message = orjson.loads(frame) if isinstance(frame, str) else msgpack.unpackb(frame)
        self.received.append(message)
        return message

    async def expect(self, kind: str) -> Message:
        """The next message, which must be of this type."""
        message = await self.receive()
        assert message["type"] == kind, message
        return message

    async def expect_nothing_until_close(self) -> int | None:
        """Wait for the client to leave; it must not say anything before. Its close code."""
        try:
            message = await self.receive()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None
        raise AssertionError(f"unexpected {message}")

    async def closed(self) -> int | None:
        """Wait for the client to leave, whatever it says; its close code."""
        await self._socket.wait_closed()
        return self._socket.close_code

    async def close(self, code: int, reason: str = "") -> None:
        await self._socket.close(code, reason)

    def cut(self) -> None:
        """End the connection as a broken network does."""
        self._socket.transport.abort()

    # --- what a server says, in short ----------------------------------------------------------

    async def start(self, asked: Message, stream_id: str = "s-1", **more: Any) -> None:
        await self.send(
            {
                "type": "stream_start",
                "requestId": asked["requestId"],
                "streamId": stream_id,
                "model": "m",
                **more,
            }
        )

    async def token(self, text: str, offset: int, stream_id: str = "s-1", **more: Any) -> None:
        await self.send(
            {
                "type": "stream_token",
                "streamId": stream_id,
                "token": text,
                "position": 1,
                "count": 1,
                "offset": offset,
                "timestamp": 0,
                **more,
            }
        )

    async def complete(self, offset: int, stream_id: str = "s-1", **more: Any) -> None:
        await self.send(
            {
                "type": "stream_complete",
                "streamId": stream_id,
                "totalTokens": 3,
                "duration": 40,
                "timeToFirstToken": 10,
                "finishReason": "stop",
                "usage": {
                    "promptTokens": 5,
                    "completionTokens": 3,
                    "totalTokens": 8,
                    "cachedTokens": 0,
                },
                "offset": offset,
                **more,
            }
        )

    async def stopped(self, offset: int, stream_id: str = "s-1", **more: Any) -> None:
        await self.send(
            {
                "type": "stream_stopped",
                "streamId": stream_id,
                "totalTokens": 2,
                "offset": offset,
                "reason": "client",
                "stoppedBy": "c-1",
                **more,
            }
        )


class Stage:
    """A server that plays one script per connection, in order."""

    def __init__(self, scripts: tuple[Script, ...]) -> None:
        self._scripts = list(scripts)
        self._failures: list[BaseException] = []
        self._played = 0
        self.server: Server | None = None
        self.peers: list[Peer] = []
        self.changed = asyncio.Condition()

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    @property
    def connections(self) -> int:
        return len(self.peers)

    async def play(self, socket: ServerConnection) -> None:
        index = len(self.peers)
        peer = Peer(socket)
        self.peers.append(peer)
        try:
            if index >= len(self._scripts):
                raise AssertionError(f"connection {index + 1} was not expected")
            await self._scripts[index](peer)
        except ConnectionClosed as closed:
            self._failures.append(AssertionError(f"the client left too early: {closed}"))
        except Exception as failure:
            self._failures.append(failure)
        finally:
            async with self.changed:
                self._played += 1
                self.changed.notify_all()

    async def played(self, count: int) -> None:
        """Wait until so many connections have had their script."""
        async with self.changed:
            await self.changed.wait_for(lambda: self._played >= count)

    def check(self) -> None:
        """Fail as a script failed."""
        if self._failures:
            raise self._failures[0]
        assert self._played == len(self._scripts), f"{self._played} of the scripts were played"


@asynccontextmanager
async def staged(*scripts: Script) -> AsyncIterator[Stage]:
    """A server on loopback that plays the scripts; on leaving, all must have been played."""
    stage = Stage(scripts)
    async with serve(
        stage.play,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol("wsserver.v1.json"), Subprotocol("wsserver.v1.msgpack")],
        compression=None,
    ) as server:
        stage.server = server
        yield stage
        async with asyncio.timeout(10):
            await stage.played(len(scripts))
        stage.check()


@contextmanager
def staged_in_thread(*scripts: Script) -> Iterator[str]:
    """The same for tests without a loop of their own; gives the server's address."""
    ready: Future[str] = Future()
    finish: Future[Callable[[], object]] = Future()

    async def run() -> None:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        finish.set_result(lambda: loop.call_soon_threadsafe(done.set))
        async with staged(*scripts) as stage:
            ready.set_result(stage.url)
            await done.wait()

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(asyncio.run, run())
        try:
            yield ready.result(10)
        finally:
            finish.result(10)()
        running.result(20)
