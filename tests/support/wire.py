"""A raw client of the protocol: sends maps, keeps every frame, checks the contract on each.

Deliberately not the project's own client: tests must see what comes, in order, and send what a
client never would. It knows the WebSocket and the two encodings, nothing else.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.support.invariants import STREAM_TERMINALS, Invariants, StreamCopy
from wsserver_protocol.replies import REPLIES

Frame = dict[str, Any]

PATIENCE = 10.0
"""Seconds that a test waits for a frame before it fails."""

ERRORS = ("error", "generation_error", "stream_error", "batch_error", "model_load_error")


class Wire:
    """One connection. Frames are read at once, whether a test waits for them or not."""

    def __init__(self, socket: ClientConnection, *, binary: bool) -> None:
        self.socket = socket
        self.binary = binary
        self.frames: list[Frame] = []
        self.sizes: list[int] = []
        self.rules = Invariants()
        self.connected: Frame = {}
        self._read = 0  # frames that `receive` has given
        self._news = asyncio.Event()
        self._ended = False
        self._broken: Exception | None = None
        self._ids = itertools.count(1)
        self._reader = asyncio.create_task(self._read_frames())

    # Sending -----------------------------------------------------------------------------------

    async def send(self, **fields: Any) -> None:
        """Send a message as it is."""
        self.rules.sent(fields)
        await self.socket.send(self.encode(fields))

    async def send_raw(self, data: str | bytes) -> None:
        """Send a frame that need not be a message."""
        self.rules.sent_without_id = True
        await self.socket.send(data)

    def encode(self, fields: Frame) -> str | bytes:
        """A message in this connection's encoding."""
        if self.binary:
            packed: bytes = msgpack.packb(fields)
            return packed
        return json.dumps(fields, ensure_ascii=False)

    def new_id(self) -> str:
        """A requestId that was not used here."""
        return f"r{next(self._ids)}-{id(self):x}"

    # Receiving ---------------------------------------------------------------------------------

    async def receive(self, seconds: float = PATIENCE) -> Frame:
        """The next frame that was not received yet.

        Raises:
            ConnectionError: If the connection has ended.
        """
        async with asyncio.timeout(seconds):
            while self._read == len(self.frames):
                self._check()
                if self._ended:
                    raise ConnectionError(f"closed with {self.close_code}: {self.summary()}")
                self._news.clear()
                await self._news.wait()
        self._check()
        self._read += 1
        return self.frames[self._read - 1]

    async def until(self, *kinds: str, seconds: float = PATIENCE, **fields: Any) -> Frame:
        """Receive until a frame of one of these types has these fields; the others are passed."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    frame = await self.receive(seconds)
                    if frame["type"] in kinds and fields.items() <= frame.items():
                        return frame
        except TimeoutError:
            raise AssertionError(f"no {kinds} {fields} came: {self.summary()}") from None

    async def seen(self, kind: str, seconds: float = PATIENCE) -> Frame:
        """The newest frame of a type: one that has come, else the next one."""
        return come[-1] if (come := self.of_type(kind)) else await self.until(kind, seconds=seconds)

    async def ask(self, kind: str, *, seconds: float = PATIENCE, **fields: Any) -> Frame:
        """Send a request and return its one reply: the first frame with its requestId."""
        request_id = fields.setdefault("requestId", self.new_id())
        await self.send(type=kind, **fields)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    frame = await self.receive(seconds)
                    if frame.get("requestId") == request_id:
                        return frame
        except TimeoutError:
            raise AssertionError(f"{kind} was not answered: {self.summary()}") from None

    async def ask_until(self, kind: str, *, seconds: float = PATIENCE, **fields: Any) -> Frame:
        """Send a request and return the event that ends it, whatever came before."""
        request_id = fields.setdefault("requestId", self.new_id())
        await self.send(type=kind, **fields)
        ends = REPLIES[kind].terminal
        return await self.until(*ends, requestId=request_id, seconds=seconds)

    async def stream(self, prompt: str = "count for me", **fields: Any) -> Frame:
        """Ask for a stream and return its `stream_start`."""
        if "messages" not in fields:
            fields["prompt"] = prompt
        start = await self.ask("stream", **fields)
        assert start["type"] == "stream_start", start
        return start

    async def end_of(self, stream_id: str, seconds: float = PATIENCE) -> Frame:
        """The terminal event of a stream that is followed here."""
        for frame in self.frames[: self._read]:
            if frame.get("streamId") == stream_id and frame["type"] in STREAM_TERMINALS:
                return frame
        return await self.until(*STREAM_TERMINALS, streamId=stream_id, seconds=seconds)

    async def first_token(self, stream_id: str, seconds: float = PATIENCE) -> Frame:
        """The next piece of a stream."""
        return await self.until("stream_token", streamId=stream_id, seconds=seconds)

    async def settle(self) -> list[Frame]:
        """All frames that came until a `ping` sent now is answered: what was to come is there."""
        before = self._read
        await self.ask("ping")
        return self.frames[before : self._read - 1]

    def copy(self, stream_id: str) -> StreamCopy:
        """A stream as this connection has it."""
        return self.rules.streams[stream_id]

    def of_type(self, *kinds: str) -> list[Frame]:
        """All frames of these types that came, received or not."""
        return [frame for frame in self.frames if frame["type"] in kinds]

    def summary(self) -> str:
        """What came, in short."""
        return ", ".join(str(frame["type"]) for frame in self.frames[-30:])

    # The end -----------------------------------------------------------------------------------

    @property
    def close_code(self) -> int | None:
        """The code that the connection was closed with."""
        return self.socket.close_code

    async def closed(self, seconds: float = PATIENCE) -> int | None:
        """Wait for the end; returns the close code."""
        async with asyncio.timeout(seconds):
            await asyncio.wait({self._reader})
            await self.socket.wait_closed()
        self._check()
        return self.close_code

    async def cut(self) -> None:
        """End the TCP connection without a closing handshake."""
        self.socket.transport.abort()
        await asyncio.wait({self._reader})

    async def close(self) -> None:
        """Close in order."""
        await self.socket.close()
        await asyncio.wait({self._reader})
        self._check()

    def pause_reading(self) -> None:
        """Stop reading from the TCP connection: what a stalled client does."""
        self.socket.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self.socket.transport.resume_reading()

    async def _read_frames(self) -> None:
        try:
            while True:
                data = await self.socket.recv()
                self._take(data)
                self._news.set()
        except ConnectionClosed:
            pass
        except Exception as error:  # the test's own task must fail, not this one
            self._broken = error
        finally:
            self._ended = True
            self._news.set()

    def _take(self, data: str | bytes) -> None:
        assert isinstance(data, bytes) is self.binary, "a frame of the wrong opcode"
        frame = msgpack.unpackb(data) if isinstance(data, bytes) else json.loads(data)
        size = len(data if isinstance(data, bytes) else data.encode())
        self.frames.append(frame)
        self.sizes.append(size)
        self.rules.received(frame, size)

    def _check(self) -> None:
        if self._broken is not None:
            raise self._broken


async def open_wire(
    url: str,
    *,
    binary: bool = False,
    subprotocol: str | None = None,
    headers: dict[str, str] | None = None,
    greeted: bool = True,
    **options: Any,
) -> Wire:
    """Connect; with ``greeted`` also wait for `connected`."""
    chosen = "wsserver.v1.msgpack" if binary else subprotocol
    options.setdefault("max_size", None)
    options.setdefault("max_queue", None)
    socket = await connect(
        url,
        subprotocols=None if chosen is None else [Subprotocol(chosen)],
        additional_headers=headers,
        compression=None,
        proxy=None,
        **options,
    )
    wire = Wire(socket, binary=binary)
    if greeted:
        wire.connected = await wire.until("connected")
    return wire


@asynccontextmanager
async def wired(url: str, **options: Any) -> AsyncIterator[Wire]:
    """A connection for the length of the block, closed in the end; broken rules fail the test."""
    wire = await open_wire(url, **options)
    try:
        yield wire
        wire._check()
    finally:
        await wire.socket.close()
        await asyncio.wait({wire._reader})
