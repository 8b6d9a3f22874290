"""What a supervisor tells a process of its own: the configuration first, later who has died.

What holds is handed on as one piece, not read again from files and environment: all processes of a
server then have the same settings, whatever was edited since. It goes through a pipe, where no
list of processes shows its secrets. The pipe stays open as long as the supervisor lives, and brings
one line for each process that it has seen die.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import BinaryIO

import msgspec

from wsserver.config.sections import Config

_LENGTH = struct.Struct("!I")


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """What a process begins its life with.

    Attributes:
        config: The configuration, checked.
        node: Its id in the fleet; empty: it takes one.
        dead: Ids of processes that have died, it may be unnoticed by the others.
    """

    config: Config
    node: str = ""
    dead: tuple[str, ...] = ()


class Lifeline:
    """What a process knows from whoever has started it: its own name, and who has died.

    Args:
        node: Its id in the fleet; empty: it takes one.
        dead: Who is known to have died.
    """

    def __init__(self, node: str = "", dead: Iterable[str] = ()) -> None:
        self.node = node
        self._told = deque(dead)
        self._wake: Callable[[], object] = _nothing

    def hold(self, pipe: int) -> None:
        """Take what comes through the pipe, until it ends. Blocks: for a thread of its own.

        The descriptor, not a stream: an interpreter that ends waits for a stream's lock, and this
        thread would hold it for ever.
        """
        rest = b""
        while data := os.read(pipe, 4096):
            *lines, rest = (rest + data).split(b"\n")
            self._told.extend(line.decode() for line in lines)
            with suppress(RuntimeError):  # the loop has ended, and soon the process has
                self._wake()

    async def deaths(self) -> AsyncIterator[str]:
        """The ids of those that have died, as they are told, for ever. For one reader."""
        told = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._wake = lambda: loop.call_soon_threadsafe(told.set)
        while True:
            told.clear()
            while self._told:
                yield self._told.popleft()
            await told.wait()


def pack(config: Config, node: str = "", dead: tuple[str, ...] = ()) -> bytes:
    """A `Handover` as bytes that `receive` reads, their length first."""
    body = msgspec.msgpack.encode(Handover(config=config, node=node, dead=dead))
    return _LENGTH.pack(len(body)) + body


def receive(stream: BinaryIO) -> Handover:
    """Read what `pack` has made and not a byte more; ``stream`` has to be an unbuffered one.

    Raises:
        EOFError: If the stream ends before it does.
    """
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return msgspec.msgpack.decode(_exactly(stream, length), type=Handover)


def death_notice(node: str) -> bytes:
    """What says through the pipe that a process has died."""
    return f"{node}\n".encode()


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            raise EOFError("the configuration ended too early")
        data += more
    return data


def _nothing() -> None:
    pass
