"""The harness's hand on the links: starts `link_proxy`, and breaks and mends what it carries."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from scripts.bench.harness import ROOT


class Links:
    """The ways of all processes to one Redis."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self.ports: dict[str, int] = {}

    @classmethod
    async def start(cls, redis_port: int, seed: int) -> Links:
        """Start the proxy; it has no links yet."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "scripts.chaos.link_proxy"),
            *("127.0.0.1", str(redis_port), str(seed)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        return cls(process)

    async def open(self, name: str, host: str) -> str:
        """A link of this name, entered at a host. Returns the address of Redis through it."""
        self.ports[name] = await self._tell("open", link=name, host=host)
        return f"redis://{host}:{self.ports[name]}"

    async def cut(self, name: str) -> None:
        """All connections break, and new ones are refused."""
        await self._tell("cut", link=name)

    async def slow(self, name: str, delay: float) -> None:
        """Each piece of data takes so many seconds longer."""
        await self._tell("slow", link=name, delay=delay)

    async def hold(self, name: str) -> None:
        """Nothing moves; it does later."""
        await self._tell("hold", link=name)

    async def forget(self, name: str) -> None:
        """The connections that are open now carry nothing any more, and nobody is told."""
        await self._tell("forget", link=name)

    async def rob(self, name: str, *, lost: float = 0.0, doubled: float = 0.0) -> None:
        """Shares of the bells get lost or come twice."""
        await self._tell("bells", link=name, lost=lost, doubled=doubled)

    async def heal(self, name: str) -> None:
        """The link is whole again."""
        await self._tell("heal", link=name)

    async def bells(self) -> tuple[int, int]:
        """How many bells got lost, and how many came twice."""
        lost, doubled = await self._tell("count")
        return lost, doubled

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def _tell(self, order: str, **fields: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn:
            self._process.stdin.write(json.dumps({"do": order, **fields}).encode() + b"\n")
            return json.loads(await self._process.stdout.readline())
