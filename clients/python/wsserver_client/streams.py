"""A running answer: its text as it comes, its end, and the stopping of it.

This room decides what an event does to a stream and when its readers wake. It knows no socket:
what it wants said to the server goes through its `StreamPort`. Two rules hold it together: the
text is the protocol's merge of all pieces, whichever connection brought them; and a stream ends
exactly once, so that every reader and every `StreamHandle.result` sees the same end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

from wsserver_client.answer import Answer, Outcome
from wsserver_client.calls import Call, Message, Reply, new_request_id
from wsserver_client.errors import ClientError, ConnectionLost, RequestTimeout, WireFailure
from wsserver_client.facts import StreamFacts
from wsserver_client.ports import StreamPort
from wsserver_client.reading import Pieces, StreamPhase, StreamUpdate, read_updates
from wsserver_client.results import StreamResult, stream_result_of
from wsserver_client.signal import Signal

LEAVE_TIMEOUT = 2.0
"""Seconds that leaving an ``async with`` block waits for a stopped stream to end."""


class StreamHandle(Call, StreamFacts):
    """An answer that is being made.

    Iterate over it for the text, ``await handle.result()`` for its end. Every ``async for`` (and
    every `updates`) reads from the beginning, at its own pace; what nobody reads waits as text.

    Who ends it: inside ``async with handle`` the block does, when it is left; otherwise a loop
    ``async for piece in handle`` that is left early stops the stream (as soon as the iterator is
    dropped, at once in CPython unless an exception still refers to it). A handle that is neither
    entered nor iterated runs to its end.

    `StreamFacts` lists its attributes.
    """

    def __init__(
        self, port: StreamPort, message: Message, *, stream_id: str | None = None, base: int = 0
    ) -> None:
        Call.__init__(self, message)
        StreamFacts.__init__(self, message, stream_id)
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._answer = Answer(base)
        self._changed = Signal()
        self._end: asyncio.Future[StreamResult] = self._loop.create_future()
        self._end.add_done_callback(_retrieve)
        self._repair: Reply | None = None
        self._stops: list[Reply] = []
        self._owned = False
        self._stop_asked = False
        self._version = 0

    # --- for users -----------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._answer.text

    @property
    def offset(self) -> int:
        """Length of the answer so far in UTF-8 bytes: the protocol's cursor."""
        return self._answer.end

    @property
    def is_ended(self) -> bool:
        return self._end.done()

    @property
    def error(self) -> ClientError | None:
        """Why the stream failed; None while it runs and if it ended in order."""
        if not self._end.done() or self._end.cancelled():
            return None
        failure = self._end.exception()
        return failure if isinstance(failure, ClientError) else None

    def __aiter__(self) -> AsyncIterator[str]:
        return Pieces(self, self._answer.reader())

    async def result(self) -> StreamResult:
        """Wait for the end.

        Raises:
            WireFailure: If the stream was refused or failed; with the text so far.
            ConnectionLost: If the connection was, and the stream could not be taken up again;
                with the text so far.
        """
        return await asyncio.shield(self._end)

    async def stop(self) -> None:
        """End the stream, wherever it is, and wait until it has ended. Idempotent.

        A stream that failed, or came to its own end first, has ended, too: `result` tells.

        Raises:
            WireFailure: If this client may not stop it (another member's stream in a room).
            RequestTimeout: If the server does not answer in time.
        """
        if self.is_ended:
            return
        reply = self._ask_stop()
        waiting: set[asyncio.Future[Any]] = {self._end}
        if reply is not None:
            waiting.add(reply.future)
        while not self.is_ended:
            done, waiting = await asyncio.wait(
                waiting, timeout=self._port.request_timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise RequestTimeout("the server did not stop the stream in time")
            if reply is not None and reply.error is not None and not self.is_ended:
                raise reply.error

    def updates(self) -> AsyncIterator[StreamUpdate]:
        """Every change: text, place in the queue, speed, the end (the last update).

        Unlike iteration over the handle it raises nothing when the stream fails, and leaving the
        loop does not stop the stream.
        """
        return read_updates(self, self._answer.reader())

    async def __aenter__(self) -> StreamHandle:
        self._owned = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.is_ended:
            return
        self.abandon()
        if error is None:
            with contextlib.suppress(TimeoutError, ClientError):
                async with asyncio.timeout(LEAVE_TIMEOUT):
                    await self.result()

    # --- for the client ------------------------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        return self.is_ended

    @property
    def is_watched_only(self) -> bool:
        """Whether this client did not ask for it: leaving must not stop it."""
        return self.kind == "watch_stream"

    @property
    def outlives_client(self) -> bool:
        return self.is_watched_only or super().outlives_client

    def abandon(self) -> None:
        """Ask for a stop (or, of another's stream, end one's watching) and do not wait."""
        if self.is_ended:
            return
        if self.is_watched_only and self.room_id is None:
            if self.stream_id is not None:
                request_id = new_request_id()
                self._port.submit(
                    Reply(
                        {
                            "type": "unwatch_stream",
                            "requestId": request_id,
                            "streamId": self.stream_id,
                        }
                    )
                )
            self.lose(ConnectionLost("no longer watched"))
        elif not self.is_watched_only:
            self._ask_stop()

    def abandon_unless_owned(self) -> None:
        """A loop over this stream was left early."""
        if not self._owned:
            self.abandon()

    def take(self, event: Message) -> None:
        if self.is_ended:
            return
        kind = event["type"]
        if kind == "stream_token":
            self._piece(str(event["token"]), event)
        elif kind == "stream_snapshot":
            self._snapshot(event)
        elif kind == "stream_start":
            self.note_start(event)
        elif kind == "stream_progress":
            self.note_progress(event)
        elif kind == "queue_position":
            self.queue_position = int(event["position"])
        elif kind == "stream_rewind":
            self._answer.rewind(int(event["offset"]))
        elif kind in ("stream_complete", "stream_stopped"):
            self._complete(event)
        elif kind == "stream_error":
            self.fail(self._failure(event))
        elif kind == "error" and not self._stop_asked:
            # An `error` under this id may be the reply to a stop by requestId, which ends nothing.
            self.fail(self._failure(event))
        self._touch()

    def fail(self, error: ClientError) -> None:
        if self._end.done():
            return
        self._end.set_exception(error)
        self._finish()

    def lose(self, error: ConnectionLost) -> None:
        self.fail(
            ConnectionLost(str(error), text=self.text, stream_id=self.stream_id, code=error.code)
        )

    def ask_again(self) -> None:
        """Have the server send what is missing from here; at most one such request at a time."""
        if self._repair is not None and not self._repair.is_settled:
            return
        if self.stream_id is None:
            raise AssertionError("a stream without an id has no text to miss")
        self._repair = Reply(
            {
                "type": "watch_stream",
                "requestId": new_request_id(),
                "streamId": self.stream_id,
                "fromOffset": self._answer.end,
            },
            on_error=self._cannot_repair,
        )
        self._port.submit(self._repair)

    def ask_stop_again(self) -> None:
        """The request goes out a second time: so does a stop that named it by its requestId."""
        if self._stop_asked and not self.is_ended:
            self._port.post({"type": "stop_stream", "requestId": self.request_id})

    def connection_dropped(self) -> None:
        """Text that was asked for again will not come; the next connection decides anew."""
        if self._repair is not None:
            self._repair.fail(ConnectionLost("the connection was lost"))
            self._repair = None

    # --- inside --------------------------------------------------------------------------------

    async def wait_change(self, version: int) -> int:
        """Wait until something has changed since ``version``; the new version."""
        while self._version == version and not self.is_ended:
            await self._changed.wait()
        return self._version

    @property
    def version(self) -> int:
        return self._version

    def _touch(self) -> None:
        self._version += 1
        self._changed.ring()

    def _piece(self, text: str, event: Message) -> None:
        if event.get("offset") is None:  # a server of the first generation: pieces in order
            end = self._answer.end + len(text.encode("utf-8"))
        else:
            end = int(event["offset"])
        if text:
            self.note_text(event)
        if self._answer.put(text, end) is Outcome.GAP:
            self.ask_again()

    def _snapshot(self, event: Message) -> None:
        text, start = str(event.get("text", "")), int(event["fromOffset"])
        self.note_snapshot(event)
        if self._answer.end == self._answer.base and start < self._answer.base:
            self._answer.place(start)  # the offset that was asked for lay within a character
        end = start + len(text.encode("utf-8"))
        if self._answer.put(text, end) is Outcome.GAP:
            self._repair = None
            self.ask_again()

    def _complete(self, event: Message) -> None:
        end = event.get("offset")
        if end is not None and int(end) > self._answer.end:
            # All text precedes the end, so something was lost on the way. The stream can still be
            # watched; its terminal event comes again after the text.
            self.ask_again()
            return
        if end is not None:
            self._answer.rewind(int(end))
        self.tokens = int(event.get("totalTokens", self.tokens))
        self._end.set_result(
            stream_result_of(event, self.text, self.stream_id, self.model, self.message_id)
        )
        self._finish()

    def _finish(self) -> None:
        self.phase = StreamPhase.ENDED
        self.queue_position = None
        self.connection_dropped()
        # A stop that worked has no reply of its own: the stream's end is its answer.
        for reply in self._stops:
            self._port.forget(reply)
        self._touch()
        self._port.ended(self)

    def _failure(self, event: Message) -> WireFailure:
        failure = WireFailure.from_event(event, text=self.text)
        failure.stream_id = failure.stream_id or self.stream_id
        return failure

    def _cannot_repair(self, error: ClientError) -> None:
        if not self.is_ended and not isinstance(error, ConnectionLost):
            self.lose(ConnectionLost(f"the rest of the answer cannot be had: {error}"))

    def _ask_stop(self) -> Reply | None:
        """Ask the server to stop; None if its answer comes only as the stream's own end."""
        if not self.is_watched_only and self._port.withdraw(self):
            self._end.set_result(
                StreamResult(self.text, "stopped", stop_reason="client", stream_id=self.stream_id)
            )
            self._finish()
            return None
        if self.stream_id is None:
            if not self._stop_asked:
                self._stop_asked = True
                self._port.post({"type": "stop_stream", "requestId": self.request_id})
            return None
        reply = Reply(
            {"type": "stop_stream", "requestId": new_request_id(), "streamId": self.stream_id}
        )
        self._stops.append(reply)
        self._port.submit(reply)
        return reply


def _retrieve(future: asyncio.Future[StreamResult]) -> None:
    # A stream that fails with nobody waiting is no fault of the program.
    if not future.cancelled():
        future.exception()
