"""A gate between one process and its Redis, which shuts at a chosen step of that process.

What came before the step has gone through; all that follows has not, on any of the process'
connections, and nor has the step, unless it is let through without its reply. So a test can end
the process, or let it believe Redis away, at exactly this moment. Nothing of what Redis does is
imitated.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.redis import RedisProcess
from wsserver.stores.redis.scripts import script

CHUNK = 65536


class RedisGate:
    """Stands at ``url`` and lets through to a Redis what comes."""

    def __init__(self, redis: RedisProcess) -> None:
        self._path = redis.url.removeprefix("unix://")
        self._shuts_at: bytes | None = None
        self._lets_through = False
        self._ways: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._serving = 0
        self._idle = asyncio.Event()
        self._opened = asyncio.Event()
        self.url = ""
        self.shut = asyncio.Event()

    def shut_at(self, step: str) -> None:
        """Shut as soon as the process asks for a step: ``area/name`` of the scripts."""
        self._shuts_at = script(step).digest.encode()

    def shut_after(self, step: str) -> None:
        """As `shut_at`, but the step itself takes place: what does not come back is its reply."""
        self._lets_through = True
        self.shut_at(step)

    def shut_now(self) -> None:
        """Shut, whatever the process asks for."""
        self._opened.clear()
        self.shut.set()

    def go_on(self) -> None:
        """Let through what was held back, and what comes from now on."""
        self._shuts_at, self._lets_through = None, False
        self.shut.clear()
        self._opened.set()

    def open(self) -> None:
        """Let through what comes on new connections. What was held back is lost."""
        for way in self._ways:
            way.close()
        self.go_on()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the process."""
        self._serving += 1
        self._idle.clear()
        try:
            await self._serve(reader, writer)
        finally:
            self._serving -= 1
            if not self._serving:
                self._idle.set()

    async def close(self) -> None:
        """Let go of all connections."""
        self.open()
        if self._serving:
            await self._idle.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        redis_reader, redis_writer = await asyncio.open_unix_connection(self._path)
        self._ways |= {writer, redis_writer}
        back = asyncio.create_task(self._carry(redis_reader, writer, is_asked=False))
        self._tasks.add(back)
        try:
            await self._carry(reader, redis_writer, is_asked=True)
        finally:
            back.cancel()
            self._tasks.discard(back)
            for way in (writer, redis_writer):
                way.close()
                self._ways.discard(way)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_asked: bool
    ) -> None:
        last = b""
        with suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                if is_asked and self._shuts_at is not None and self._shuts_at in last + data:
                    if self._lets_through and not self.shut.is_set():
                        writer.write(data)
                        data = b""
                    self.shut_now()
                last = data[-len(self._shuts_at or b"") :]
                if self.shut.is_set():
                    await self._opened.wait()  # bells, too
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def redis_gate(redis: RedisProcess) -> AsyncIterator[RedisGate]:
    """A gate in front of a Redis, open. Start what is to go through it in a thread."""
    gate = RedisGate(redis)
    server = await asyncio.start_server(gate.serve, "127.0.0.1", 0)
    gate.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield gate
    finally:
        server.close()
        await gate.close()
