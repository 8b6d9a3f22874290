"""Servers for the engine to talk to: a real llama-server, and a scripted one for faults.

The real one is llama.cpp's own HTTP server as xllamacpp ships it, with a tiny model, in a process
of its own. The scripted one stands at the network's edge: it reads a request and writes the bytes
that a test gives it, when the test says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SERVE = """
import os, sys, xllamacpp
path, slots, ctx, batch = sys.argv[1], *map(int, sys.argv[2:])
p = xllamacpp.CommonParams()
p.model.path = path
p.n_parallel, p.n_ctx, p.kv_unified = slots, ctx * slots, False
p.n_batch = p.n_ubatch = batch
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
p.cache_ram_mib, p.verbosity, p.ui = 0, 0, False
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
os._exit(0)
"""


@contextmanager
def llama_server(path: Path, *, slots: int = 4, ctx: int = 2048, batch: int = 32) -> Iterator[str]:
    """A llama-server on loopback; gives the address of its API. It ends with its stdin."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _SERVE, str(path), str(slots), str(ctx), str(batch)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_WAIT_POLICY": "passive"},
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address
        yield f"{address}/v1"
    finally:
        process.stdin.close()
        process.stdout.close()
        process.kill()
        process.wait()


@dataclass
class Exchange:
    """One request to the scripted server, and the means to answer it."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    writer: asyncio.StreamWriter
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, data: bytes | str) -> None:
        """Write bytes as they are."""
        self.writer.write(data.encode() if isinstance(data, str) else data)
        await self.writer.drain()

    async def respond(self, status: int, body: Any, **headers: str) -> None:
        """A whole answer."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = {"Content-Length": str(len(content)), "Connection": "close", **headers}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in head.items())
        await self.send(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + content)

    async def begin(self) -> None:
        """The head of an event stream, which the end of the connection ends."""
        await self.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        )

    async def tell(self, text: str | None = None, **fields: Any) -> None:
        """One event of a chat."""
        delta = {} if text is None else {"content": text}
        choice = {"index": 0, "delta": delta, "finish_reason": fields.pop("finish", None)}
        await self.event({"choices": [choice], **fields})

    async def event(self, content: Any) -> None:
        """One event."""
        await self.send(f"data: {json.dumps(content)}\n\n")

    async def reply(self, *pieces: str, finish: str = "stop", **usage: int) -> None:
        """A whole answer as a stream."""
        await self.begin()
        for piece in pieces:
            await self.tell(piece)
        await self.tell(finish=finish)
        if usage:
            await self.event({"choices": [], "usage": usage})
        await self.send("data: [DONE]\n\n")


Script = Callable[[Exchange], Awaitable[None]]


@dataclass
class Scripted:
    """A server that does what its script says; ``on_list`` takes the place of its model list."""

    url: str
    script: Script
    owner: str = "somebody"
    models: tuple[str, ...] = ("m",)
    max_model_len: int | None = 8192
    on_list: Script | None = None
    requests: list[Exchange] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def request(self, count: int = 1) -> Exchange:
        """The request of that number, waited for."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.requests) >= count)
        return self.requests[count - 1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            exchange = await read_request(reader, writer)
            if exchange is None:
                return
            watch = asyncio.create_task(_watch(reader, exchange))
            try:
                if exchange.path == "/v1/models":
                    await (self.on_list or self._list)(exchange)
                else:
                    async with self.arrived:
                        self.requests.append(exchange)
                        self.arrived.notify_all()
                    await self.script(exchange)
            finally:
                watch.cancel()
        except ConnectionError:
            pass  # the engine hung up, as it should
        finally:
            writer.close()

    async def _list(self, exchange: Exchange) -> None:
        card = {"owned_by": self.owner, "max_model_len": self.max_model_len}
        await exchange.respond(200, {"data": [{"id": name, **card} for name in self.models]})


async def read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Exchange | None:
    """A request, whole; None if the other side hung up before it."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.splitlines()
    method, path, _ = first.split(" ")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines if line)
    }
    content = await reader.readexactly(int(headers.get("content-length", "0")))
    return Exchange(method, path, headers, json.loads(content) if content else None, writer)


async def _watch(reader: asyncio.StreamReader, exchange: Exchange) -> None:
    try:
        while await reader.read(1024):
            pass
    except ConnectionError:
        pass
    exchange.hung_up.set()


@asynccontextmanager
async def scripted(script: Script, **fields: Any) -> AsyncIterator[Scripted]:
    """A scripted server on loopback."""
    server = Scripted("", script, **fields)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{port}/v1"
    async with listener:
        yield server
