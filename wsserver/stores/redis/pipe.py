"""A connection to one Redis, spoken on by whole writings.

redis-py makes it: addresses, TLS, who we are, which database. From then on its transport is ours.
The library awaits each reply by itself, and asks for a lock, a time limit and a retry besides: some
25 µs a command. Here a writing is packed by hiredis, and what one read brings is parsed in one go,
by hiredis too, and handed on without a task in between: 3 µs a command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.exceptions import InvalidResponse, RedisClusterException, RedisError

Value = str | bytes | int | float
Command = tuple[Value, ...]
"""Its name and arguments; numbers go out as text."""

FAULTS: Final = (RedisError, RedisClusterException, OSError)
"""What the client library raises when Redis can't be reached, or a cluster is none just now."""

_NOTHING = object()

_packed = cast("Callable[[Command], bytes]", hiredis.pack_command)


class Pipe(asyncio.Protocol):
    """Open it before anything else.

    Args:
        connection: The library's, not connected yet. Nobody else may use it.
        hear: Called with each reply, and with each message that comes unasked; what Redis refuses
            comes as the library's exception. Must not raise.
        lose: Called once with the reason when the connection has ended, but for `close`.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        hear: Callable[[Any], None],
        lose: Callable[[str], None],
    ) -> None:
        self.hear = hear
        self._lose = lose
        self._connection = connection
        self._transport: asyncio.WriteTransport | None = None
        self._parser = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_NOTHING,
        )

    async def open(self) -> None:
        """Connect.

        Raises:
            RedisError: If it can't be done, or we are not let in (one of `FAULTS`).
            OSError: Likewise.
        """
        try:
            await self._connection.connect()  # type: ignore[no-untyped-call]  # the library is
        except BaseException:
            self.close()
            raise
        writer = self._connection._writer
        assert writer is not None
        self._transport = writer.transport
        self._transport.set_protocol(self)

    def write(self, commands: Iterable[Command]) -> None:
        """Send commands; their replies are heard in this order. None where it has ended."""
        if self._transport is not None:
            self._transport.write(b"".join(map(_packed, commands)))

    def close(self) -> None:
        """End it; nothing is told any more. Idempotent."""
        self._transport = None
        self._connection._close()  # type: ignore[no-untyped-call]  # the library is

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        parser.feed(data)
        try:
            while (reply := parser.gets()) is not _NOTHING:
                if self._transport is None:  # closed by who heard the last one
                    return
                self.hear(reply)
        except RedisError as error:
            self._end(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the connection was closed" if exc is None else str(exc))

    def _end(self, reason: str) -> None:
        if self._transport is not None:
            self.close()
            self._lose(reason)
