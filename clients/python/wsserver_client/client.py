"""The client: one connection, and everything that can be asked over it.

`connect` makes a `Client` and keeps it connected. The client owns one `Link` and one `Exchange`;
its methods only build messages and handles. Nothing here outlives `Client.close`: every task has
ended then, and everything that was awaited has its result or its error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Unpack

from wsserver_client.backoff import Backoff
from wsserver_client.calls import Message, Reply
from wsserver_client.carrier import Carrier
from wsserver_client.entering import Entering
from wsserver_client.errors import ConnectionLost, UnexpectedReply, WireFailure
from wsserver_client.exchange import Exchange
from wsserver_client.handshake import Session
from wsserver_client.jobs import BatchHandle, GenerateJob, LoadHandle
from wsserver_client.link import Link, LinkSettings
from wsserver_client.options import ChatMessage, Options, generation_request, request, wire_options
from wsserver_client.results import Generation
from wsserver_client.rooms import Room
from wsserver_client.status import LinkStatus, StatusListener
from wsserver_client.streams import StreamHandle
from wsserver_client.thin import ThinCalls


class Client(Carrier, ThinCalls):
    """A connected client. Made by `connect`; event loop only.

    Attributes:
        request_timeout: Seconds that a request with one reply may take. Answers of models may
            take as long as they take: ``asyncio.timeout`` around them stops them.
    """

    def __init__(
        self,
        settings: LinkSettings,
        *,
        request_timeout: float,
        on_status: StatusListener | None,
        backoff: Backoff | None = None,
    ) -> None:
        exchange = Exchange(lambda message, id: StreamHandle(self, message, stream_id=id))
        link = Link(settings, exchange, on_status or _ignore, backoff)
        super().__init__(exchange, link, request_timeout)

    # --- connection ----------------------------------------------------------------------------

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self) -> Client:
        """Connect; `connect` calls it.

        Raises:
            ConnectFailed: If there is no connection to be had.
            WireFailure: If the server refuses the credentials.
        """
        await self._link.open()
        return self

    async def close(self) -> None:
        """Stop what this client runs (except what it asked to outlive it) and leave. Idempotent.

        Its rooms are left, too: a connection that just ends keeps its places for a while, and the
        others would see someone there who has gone.
        """
        if self._link.end is None:
            for call in self._exchange.running_calls():
                if not call.outlives_client:
                    call.abandon()
            for room in self._exchange.rooms():
                self.submit(Reply(request("leave_room", room_id=room.room_id)))
        await self._link.close()

    @property
    def connection(self) -> LinkStatus:
        """Where the connection stands."""
        return self._link.status

    @property
    def session(self) -> Session:
        """What the server said when it was last connected to: limits, capabilities, identity."""
        if self._link.session is None:
            raise ConnectionLost("not connected yet")
        return self._link.session

    @property
    def client_id(self) -> str:
        """The server's id of this client."""
        return self.session.client_id

    # --- answers -------------------------------------------------------------------------------

    def stream(
        self,
        prompt: str | None = None,
        *,
        messages: Sequence[ChatMessage] | None = None,
        model: str | None = None,
        system: str | None = None,
        raw: bool | None = None,
        session_id: str | None = None,
        parent_id: str | None = None,
        regenerate: str | None = None,
        request_id: str | None = None,
        **options: Unpack[Options],
    ) -> StreamHandle:
        """Ask for an answer as it comes. Sent at once, also if nobody iterates yet.

        Args:
            prompt: One user turn; or else ``messages``.
            messages: A conversation, oldest turn first.
            model: Id of the model; None for the server's default.
            system: System prompt.
            raw: Send the prompt without the model's chat template.
            session_id: Answer in this session.
            parent_id: In the session: the message after which the new turn stands.
            regenerate: In the session: the answer to make anew.
            request_id: An id of one's own: asked again under the same one, the server gives the
                same answer instead of a new one.
            options: See `Options`.

        Raises:
            ConnectionLost: If the client is closed.
            TypeError: If an option is unknown, or both prompt and messages are given.
        """
        message = generation_request(
            "stream",
            prompt,
            messages,
            options,
            model=model,
            system=system,
            raw=raw,
            session_id=session_id,
            parent_id=parent_id,
            regenerate=regenerate,
        )
        if request_id is not None:
            message["requestId"] = request_id
        return self.start_stream(message)

    async def generate(
        self,
        prompt: str | None = None,
        *,
        messages: Sequence[ChatMessage] | None = None,
        model: str | None = None,
        system: str | None = None,
        raw: bool | None = None,
        session_id: str | None = None,
        **options: Unpack[Options],
    ) -> Generation:
        """Ask for a whole answer; the arguments are those of `stream`.

        Cancelled (by ``asyncio.timeout``, for instance), it is stopped on the server, too.
        """
        message = generation_request(
            "generate",
            prompt,
            messages,
            options,
            model=model,
            system=system,
            raw=raw,
            session_id=session_id,
        )
        job = GenerateJob(self, message)
        self.submit(job)
        try:
            return await job.result()
        except asyncio.CancelledError:
            job.abandon()
            raise

    def batch(
        self, prompts: Sequence[str], *, model: str | None = None, **options: Unpack[Options]
    ) -> BatchHandle:
        """Ask for several answers at once (the server's ``maxBatch`` is 20 by default)."""
        message = request(
            "batch", prompts=list(prompts), model=model, options=wire_options(options) or None
        )
        batch = BatchHandle(self, message)
        self.submit(batch)
        return batch

    def continue_(
        self,
        stream: StreamHandle | str | None = None,
        *,
        session_id: str | None = None,
        **options: Unpack[Options],
    ) -> StreamHandle:
        """Go on with an answer that was stopped, failed or ended by length.

        Args:
            stream: The stream, or its id; or else ``session_id``.
            session_id: The session whose last answer to go on with.
            options: What differs from before.
        """
        stream_id = stream.stream_id if isinstance(stream, StreamHandle) else stream
        return self.start_stream(
            request(
                "continue",
                stream_id=stream_id,
                session_id=session_id,
                options=wire_options(options) or None,
            )
        )

    def watch(self, stream_id: str, *, from_offset: int = 0) -> StreamHandle:
        """Follow a stream of this user's (from any device), or of a room. Stops nothing.

        Args:
            stream_id: The stream.
            from_offset: UTF-8 bytes of the answer that are not wanted.
        """
        known = self._exchange.stream(stream_id)
        if known is not None:
            return known
        self._require_open()
        message = request("watch_stream", stream_id=stream_id, from_offset=from_offset)
        stream = StreamHandle(self, message, stream_id=stream_id, base=from_offset)
        self.submit(stream)
        self._exchange.add_stream(stream)
        return stream

    async def stop(self, stream: StreamHandle | str) -> None:
        """Stop a stream, by its id also one that was begun elsewhere; wait until it has ended.

        Raises:
            WireFailure: If there is no such stream for this user, or they may not stop it.
        """
        if isinstance(stream, StreamHandle):
            await stream.stop()
            return
        # The answer to a stop is the stream's own end, which only those attached to it see.
        watched = self.watch(stream)
        await watched.stop()
        if isinstance(watched.error, WireFailure):
            raise watched.error

    # --- models and rooms ----------------------------------------------------------------------

    def load_model(
        self,
        source: str,
        *,
        format: str | None = None,
        immediate: bool = False,
        model_id: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> LoadHandle:
        """Load a model: ``await`` it for the model's id, iterate over it for the progress."""
        load = LoadHandle(
            self,
            request(
                "load_model",
                source=source,
                format=format,
                immediate=immediate or None,
                id=model_id,
                options=None if options is None else dict(options),
            ),
        )
        self.submit(load)
        return load

    async def join_room(
        self,
        room_id: str,
        *,
        name: str | None = None,
        state: Mapping[str, Any] | None = None,
        invite: str | None = None,
    ) -> Room:
        """Enter a room, or look at it again if this client is in it already."""
        entrance = request(
            "join_room",
            room_id=room_id,
            name=name,
            state=None if state is None else dict(state),
            invite=invite,
        )
        call = Entering(self, self._exchange, entrance)
        joined = await self._answer(call, None)
        if call.room is None:
            raise UnexpectedReply(f"join_room was answered with {joined['type']}")
        return call.room

    # --- anything ------------------------------------------------------------------------------

    async def request(self, message: Mapping[str, Any], *, timeout: float | None = None) -> Message:
        """Send any message, as the wire spells it, and wait for its terminal event.

        Events before the terminal one are not given (a ``stream`` is better asked for with
        `stream`). Without a ``requestId`` it gets one. A stop has no reply of its own unless it is
        refused (what it stops ends): stop with `stop`.

        Args:
            message: The message; ``type`` at least.
            timeout: Seconds; None for ``request_timeout``.

        Raises:
            WireFailure: If the reply is an error.
            RequestTimeout: If there is none in time.
            ConnectionLost: If the connection went and the request must not be repeated.
        """
        full = {**request(""), **message}
        return await self._answer(Reply(full), timeout)

    async def ping(self) -> float:
        """Ask whether the server is there; seconds until its answer."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        await self.request(request("ping"))
        return loop.time() - asked


def _ignore(status: LinkStatus) -> None:
    pass
