"""Reading a stream: the ways in which a program sees an answer grow.

Every reader has a position of its own in the one text; how fast it reads changes nothing for
anybody else. This room decides when a reader wakes and what leaving a loop means; it changes no
stream itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from wsserver_client.answer import Reader
from wsserver_client.results import StreamResult


class StreamPhase(Enum):
    """Where a stream stands, as far as this client knows."""

    ASKED = "asked"  # the server has not answered yet
    WAITING = "waiting"  # accepted; in the queue, or its model is loading, or reading the prompt
    RUNNING = "running"  # text comes
    ENDED = "ended"


@dataclass(frozen=True)
class StreamUpdate:
    """What has changed since the last update of the same reader; all changes since, joined.

    Attributes:
        text: New text.
        rewound: Text shown before is no longer part of the answer (a server that died lost it):
            show `StreamHandle.text` anew. Rare.
        phase: Where the stream stands now.
        queue_position: Its place in the queue, 1 is next; None if it does not wait in one.
        tokens: Tokens so far, as last told.
        tokens_per_second: Speed as last told, None before.
    """

    text: str
    rewound: bool
    phase: StreamPhase
    queue_position: int | None
    tokens: int
    tokens_per_second: float | None


class Readable(Protocol):
    """What a reader needs of a stream."""

    phase: StreamPhase
    queue_position: int | None
    tokens: int
    tokens_per_second: float | None

    @property
    def version(self) -> int:
        """Grows with every change."""

    @property
    def is_ended(self) -> bool: ...

    async def wait_change(self, version: int) -> int:
        """Wait until something has changed since ``version``; the new version."""

    async def result(self) -> StreamResult: ...

    def abandon_unless_owned(self) -> None: ...


class Pieces(AsyncIterator[str]):
    """The text of a stream from its beginning. Dropped before the end, it stops the stream."""

    def __init__(self, stream: Readable, reader: Reader) -> None:
        self._stream = stream
        self._reader = reader
        self._loop = asyncio.get_running_loop()
        self._begun = False

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> str:
        self._begun = True
        while True:
            version = self._stream.version
            text, _ = self._reader.take()
            if text:
                return text
            if self._stream.is_ended:
                await self._stream.result()  # raises if the stream failed
                raise StopAsyncIteration
            await self._stream.wait_change(version)

    def __del__(self) -> None:
        # May run in any thread, and after the loop is closed: only ever hand over.
        if self._begun and not self._stream.is_ended and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stream.abandon_unless_owned)


async def read_updates(stream: Readable, reader: Reader) -> AsyncIterator[StreamUpdate]:
    version = -1
    ended = False
    while not ended:
        version = await stream.wait_change(version)
        ended = stream.is_ended
        text, rewound = reader.take()
        yield StreamUpdate(
            text=text,
            rewound=rewound,
            phase=stream.phase,
            queue_position=stream.queue_position,
            tokens=stream.tokens,
            tokens_per_second=stream.tokens_per_second,
        )
