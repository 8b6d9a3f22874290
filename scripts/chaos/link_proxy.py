"""The links between the fleet and its Redis, as a process of its own: ``python -m …link_proxy``.

Each process of the fleet reaches Redis through a port of its own here, so that its link alone can
be cut, slowed, held, forgotten or robbed of its bells. Told what to do by lines of JSON on standard
input, ``{"link": name, "do": …}``; says its ports on standard output. It knows no fault's length:
whoever breaks a link also mends it.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Callable
from typing import Any

import uvloop

from scripts.chaos.resp import is_bell, reply_end

CHUNK = 65536


class Link:
    """One process's way to Redis.

    Attributes:
        is_cut: Connections are refused.
        delay: Seconds that each piece of data takes, either way.
        lost, doubled: Share of the bells that don't arrive, or arrive twice.
        moves: Set while data moves; cleared, all of it waits.
    """

    def __init__(self, name: str, upstream: tuple[str, int], rng: random.Random) -> None:
        self.name = name
        self.is_cut = False
        self.delay = self.lost = self.doubled = 0.0
        self.bells_lost = self.bells_doubled = 0
        self.moves = asyncio.Event()
        self.moves.set()
        self._upstream = upstream
        self._rng = rng
        self._pipes: set[_Pipe] = set()

    async def listen(self, host: str) -> int:
        """Open a port there, and return it."""
        server = await asyncio.start_server(self._accept, host, 0)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Carry nothing any more."""
        lives = {pipe.life for pipe in self._pipes}
        for life in lives:
            life.cancel()
        if lives:
            await asyncio.wait(lives)

    def cut(self) -> None:
        """Break all connections, and take no new ones."""
        self.is_cut = True
        for pipe in tuple(self._pipes):
            pipe.life.cancel()

    def forget(self) -> None:
        """What is connected now stays so and carries nothing any more; new connections do."""
        for pipe in self._pipes:
            pipe.is_forgotten = True

    def heal(self) -> None:
        """As on the first day, but for connections that were forgotten."""
        self.is_cut = False
        self.delay = self.lost = self.doubled = 0.0
        self.moves.set()

    def ring(self, reply: bytes) -> bytes:
        """What becomes of a bell on its way."""
        chance = self._rng.random()
        if chance < self.lost:
            self.bells_lost += 1
            return b""
        if chance < self.lost + self.doubled:
            self.bells_doubled += 1
            return reply + reply
        return reply

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        try:
            upstream = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        pipe = _Pipe(self, (reader, writer), upstream)
        self._pipes.add(pipe)
        pipe.life.add_done_callback(lambda _: self._pipes.discard(pipe))


class _Pipe:
    """One connection through a link."""

    def __init__(
        self,
        link: Link,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._link = link
        self._near = near
        self._far = far
        self._rest = bytearray()  # of a reply that has not come whole
        self._hears_bells = False
        self.is_forgotten = False
        self.life = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Carry data both ways until one side ends or the link is cut."""
        down = asyncio.create_task(self._carry(self._far[0], self._near[1], self._listen))
        up = asyncio.create_task(self._carry(self._near[0], self._far[1], self._notice))
        try:
            await asyncio.wait((down, up), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.close()
            for task in (down, up):
                task.cancel()

    def close(self) -> None:
        for _, writer in (self._near, self._far):
            writer.transport.abort()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        look: Callable[[bytes], bytes],
    ) -> None:
        link = self._link
        try:
            while data := await reader.read(CHUNK):
                await link.moves.wait()
                if link.delay:
                    await asyncio.sleep(link.delay)
                if self.is_forgotten:
                    continue
                writer.write(look(data))
                await writer.drain()
            if self.is_forgotten:  # nobody learns that the other side has gone
                await asyncio.Event().wait()
        except OSError:
            return

    def _notice(self, data: bytes) -> bytes:
        if not self._hears_bells and b"SUBSCRIBE" in data.upper():
            self._hears_bells = True
        return data

    def _listen(self, data: bytes) -> bytes:
        """What is handed on of what Redis says; to subscribers it is read reply by reply."""
        if not self._hears_bells:
            return data
        rest = self._rest
        rest += data
        passed = bytearray()
        begin = 0
        while begin < len(rest) and (end := reply_end(rest, begin)) is not None:
            reply = bytes(rest[begin:end])
            passed += self._link.ring(reply) if is_bell(reply) else reply
            begin = end
        del rest[:begin]
        return bytes(passed)


class Proxy:
    """All links of a fleet."""

    def __init__(self, upstream: tuple[str, int], seed: int) -> None:
        self._upstream = upstream
        self._rng = random.Random(seed)
        self._links: dict[str, Link] = {}

    async def run(self) -> None:
        """Do as told until standard input ends."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        while line := await reader.readline():
            order = json.loads(line)
            print(json.dumps(await self._obey(order)), flush=True)
        for link in self._links.values():
            await link.close()

    async def _obey(self, order: dict[str, Any]) -> Any:
        name = order.get("link", "")
        match order["do"]:
            case "open":
                link = self._links[name] = Link(name, self._upstream, self._rng)
                return await link.listen(order["host"])
            case "cut":
                self._links[name].cut()
            case "slow":
                self._links[name].delay = order["delay"]
            case "hold":
                self._links[name].moves.clear()
            case "forget":
                self._links[name].forget()
            case "bells":
                self._links[name].lost = order["lost"]
                self._links[name].doubled = order["doubled"]
            case "heal":
                self._links[name].heal()
            case "count":
                links = self._links.values()
                return [sum(x.bells_lost for x in links), sum(x.bells_doubled for x in links)]
        return None


if __name__ == "__main__":
    uvloop.run(Proxy((sys.argv[1], int(sys.argv[2])), int(sys.argv[3])).run())
