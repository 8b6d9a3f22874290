"""One connection to one Redis: commands out, replies in, in their order.

A protocol of our own over hiredis' parser rather than the client library's connection: replies are
taken where they arrive, without a task or a timer for each, and a subscriber's connection is the
same thing with another listener. Whoever uses it decides what to send and when to give up.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import hiredis

from wsserver.stores.redis.address import Address

CONNECT_SECONDS = 1.0
"""For a connection and its greeting. A Redis that hangs accepts connections but says nothing."""

_NOTHING: Final = object()

Value = str | bytes | int | float
Command = tuple[Value, ...]
"""Its name and arguments; numbers go out as text."""


class Lost(Exception):
    """The connection can't be made, broke, or brought no answer in time."""


class Refusal(Exception):
    """An error that Redis replied with: a value among the replies, not raised by the connection."""

    @property
    def code(self) -> str:
        """Its first word, as ``MOVED``."""
        return str(self).partition(" ")[0]


class Connection(asyncio.Protocol):
    """Open with `Connection.open`.

    Attributes:
        on_reply: Told of each reply; errors among them are `Refusal`.
        on_lost: Told once that no more will come, unless `close` was called.
    """

    def __init__(self) -> None:
        self._reader = hiredis.Reader(replyError=Refusal, notEnoughData=_NOTHING)
        self._transport: asyncio.Transport | None = None
        self.on_reply: Callable[[Any], None] = _ignore
        self.on_lost: Callable[[Lost], None] = _ignore

    @classmethod
    async def open(cls, address: Address) -> Connection:
        """Connect, and make sure that Redis answers.

        Raises:
            Lost: If it does not within `CONNECT_SECONDS`, or refuses the password or database.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await cls._connect(address)
                try:
                    await connection._greet(address)
                except BaseException:
                    connection.close()
                    raise
        except (OSError, ssl.SSLError, TimeoutError) as error:
            raise Lost(str(error) or "no answer to the greeting") from error
        return connection

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def write(self, commands: Iterable[Command]) -> None:
        """Send commands, in one piece."""
        if self._transport is not None:
            # hiredis takes any length, but says one in its types.
            pack = cast(Callable[[Command], bytes], hiredis.pack_command)
            self._transport.write(b"".join([pack(command) for command in commands]))

    def close(self) -> None:
        """Cut it. Nothing is told any more."""
        self.on_reply = self.on_lost = _ignore
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's derive from another class

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not _NOTHING:
            self.on_reply(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.on_lost(Lost(str(exc) if exc is not None else "Redis closed the connection"))

    @classmethod
    async def _connect(cls, address: Address) -> Connection:
        loop = asyncio.get_running_loop()
        if address.path is not None:
            _, connection = await loop.create_unix_connection(cls, address.path)
        else:
            tls = address.tls_context()
            _, connection = await loop.create_connection(cls, address.host, address.port, ssl=tls)
        return connection

    async def _greet(self, address: Address) -> None:
        commands = address.greeting()
        replies: list[Any] = []
        is_done = asyncio.get_running_loop().create_future()

        def collect(reply: Any) -> None:
            replies.append(reply)
            if len(replies) == len(commands) and not is_done.done():
                is_done.set_result(None)

        def give_up(error: Lost) -> None:
            if not is_done.done():
                is_done.set_exception(error)

        self.on_reply, self.on_lost = collect, give_up
        self.write(commands)
        await is_done
        self.on_reply = self.on_lost = _ignore
        for reply in replies:
            if isinstance(reply, Refusal):
                raise Lost(str(reply))


def _ignore(_: Any) -> None:
    pass
