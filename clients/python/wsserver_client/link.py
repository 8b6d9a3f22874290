"""The connection over time: opened, lost, opened again.

This room decides when to connect, whom to tell that the connection was lost, and when to give
up. It moves frames between one `Connection` at a time and the `Exchange`, and knows neither
streams nor rooms. One task runs all of it; `close` ends that task and everything it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl as tls
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from wsserver_client.backoff import STEADY_AFTER, Backoff, Drain
from wsserver_client.calls import Call, Message
from wsserver_client.connection import Connection, Disconnected, open_connection
from wsserver_client.endings import as_lost, leaves, reason, too_large
from wsserver_client.errors import ClientError, ConnectFailed, ConnectionLost, WireFailure
from wsserver_client.exchange import Exchange
from wsserver_client.handshake import Credentials, Handshake, Session
from wsserver_client.signal import Signal
from wsserver_client.status import LINK_STEPS, LinkState, LinkStatus, StatusListener
from wsserver_protocol.codec import Encoding, decode_frame, encode
from wsserver_protocol.errors import UnreadableFrame, may_reconnect

LOGGER = logging.getLogger("wsserver_client")

FLUSH_TIMEOUT = 1.0
"""Seconds that `Link.close` waits for what is in the outbox to go out."""


@dataclass(frozen=True)
class LinkSettings:
    """How to connect; times in seconds.

    Attributes:
        url: ``ws://`` or ``wss://`` address.
        encoding: How frames are written.
        credentials: Who this client says it is.
        headers: Further headers of the handshake.
        reconnect: Whether to come back after a loss.
        open_timeout: For the WebSocket handshake, and again for the first messages.
        give_up_after: How long to try to come back; None: for ever.
        ssl: TLS settings, None for the defaults.
        proxy: A proxy's address, True for the environment's, None for none.
    """

    url: str
    encoding: Encoding = Encoding.JSON
    credentials: Credentials = field(default_factory=Credentials)
    headers: Mapping[str, str] = field(default_factory=dict)
    reconnect: bool = True
    open_timeout: float = 10.0
    give_up_after: float | None = 300.0
    ssl: tls.SSLContext | None = None
    proxy: str | Literal[True] | None = True


class Link:
    """Keeps one client connected. Not thread-safe: event loop only."""

    def __init__(
        self,
        settings: LinkSettings,
        exchange: Exchange,
        on_status: StatusListener,
        backoff: Backoff | None = None,
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._on_status = on_status
        self._backoff = backoff if backoff is not None else Backoff()
        self._status = LinkStatus(LinkState.CONNECTING)
        self._connection: Connection | None = None
        self._session: Session | None = None
        self._drain: Drain | None = None
        self._closing = False
        self._flushed = Signal()
        self._is_flushed = False
        self._last_frame = 0.0
        self._opened: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._end: ConnectionLost | None = None

    @property
    def status(self) -> LinkStatus:
        return self._status

    @property
    def session(self) -> Session | None:
        """What the server said of this connection (or of the last one); None before the first."""
        return self._session

    @property
    def end(self) -> ConnectionLost | None:
        """Why there is no connection any more and will be none; None while there may be."""
        return self._end

    async def open(self) -> None:
        """Connect for the first time, and stay connected from then on.

        Raises:
            ConnectFailed: If there is no connection to be had.
            ConnectionLost: If it went before it was of use.
            WireFailure: If the server refuses the credentials.
        """
        self._opened = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name="wsserver-client")
        try:
            await asyncio.shield(self._opened)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Send what is to be sent, close, and end every task. Idempotent."""
        self._closing = True
        connection = self._connection
        if connection is not None and self._status.state is LinkState.ONLINE:
            await self._flush()
            await connection.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._finish(ConnectionLost("the client was closed"))
        if self._opened is not None and not self._opened.done():
            self._opened.cancel()
        if self._task is not None and not self._task.cancelled():
            failure = self._task.exception()
            if failure is not None:  # a fault of this package; never silent
                raise failure

    # --- the one task --------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._stay_connected()
        except Exception as fault:
            # A fault of this package. Whoever waits must not wait for ever; `close` raises it.
            self._give_up(ConnectionLost(f"the client failed: {fault!r}"))
            raise

    async def _stay_connected(self) -> None:
        loop = asyncio.get_running_loop()
        lost_at: float | None = None
        while True:
            begun = loop.time()
            error = await self._attempt()
            was_online = self._status.state is LinkState.ONLINE
            if was_online and loop.time() - begun >= STEADY_AFTER:
                self._backoff.reset()
            lost_at = loop.time() if was_online or lost_at is None else lost_at
            if not self._may_retry(error, loop.time() - lost_at):
                self._give_up(error)
                return
            at_least = getattr(error, "retry_after", None) or 0.0
            delay = self._backoff.next_delay(drain=self._drain, at_least=at_least)
            self._drain = None
            if was_online:
                self._exchange.drop(as_lost(error))
            self._become(LinkStatus(LinkState.OFFLINE, str(error), delay))
            await asyncio.sleep(delay)
            self._become(LinkStatus(LinkState.CONNECTING))

    async def _attempt(self) -> ClientError:
        """One connection from its beginning to its end; the reason of the end."""
        settings = self._settings
        try:
            connection = await open_connection(
                settings.url,
                subprotocol=settings.encoding.subprotocol,
                headers=settings.headers,
                open_timeout=settings.open_timeout,
                ssl=settings.ssl,
                proxy=settings.proxy,
            )
        except ConnectFailed as error:
            return error
        self._connection = connection
        try:
            return await self._serve(connection)
        finally:
            self._connection = None
            # Not the polite way: either the connection is over, or this task was cancelled.
            connection.abort()

    async def _serve(self, connection: Connection) -> ClientError:
        handshake = Handshake(self._settings.credentials, self._settings.open_timeout)
        self._last_frame = asyncio.get_running_loop().time()
        reasons: list[BaseException] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(connection, handshake))
                tasks.create_task(self._work(connection, handshake))
        except* (Disconnected, ClientError) as group:
            reasons.extend(leaves(group))
        return reason(reasons)

    async def _read(self, connection: Connection, handshake: Handshake) -> None:
        loop = asyncio.get_running_loop()
        while True:
            frame = await connection.receive()
            self._last_frame = loop.time()
            try:
                event = decode_frame(frame)
            except UnreadableFrame as fault:
                # One bad frame of a server is no reason to lose what works: a gap in a text is
                # seen by its offsets, a missing reply by its timeout.
                LOGGER.warning("ignored a frame: %s", fault)
                continue
            try:
                self._take(event, handshake)
            except (KeyError, TypeError, ValueError, AttributeError):
                # Nor is an event without the fields that it must have.
                LOGGER.warning("ignored an unreadable %s", event.get("type"), exc_info=True)

    def _take(self, event: Message, handshake: Handshake) -> None:
        kind = event.get("type")
        if kind == "server_draining":
            self._drain = Drain(
                float(event.get("reconnectAfter", 0)) / 1000, float(event.get("spread", 0)) / 1000
            )
        elif kind == "resumed":
            # Here and not where it is awaited: what follows this frame needs the tables.
            self._exchange.resumed(event)
            handshake.take(event)
        elif isinstance(kind, str) and not handshake.take(event):
            self._exchange.take(event)

    async def _work(self, connection: Connection, handshake: Handshake) -> None:
        """Introduce this client, then send what there is to send and watch for silence."""

        async def send(message: Message) -> None:
            await connection.send(self._frame(message), is_text=self._settings.encoding.is_text)

        session = await handshake.introduce(send, self._session, self._exchange.positions)
        before, self._session = self._session, session
        if before is not None and not session.resumed:
            self._exchange.began_anew(
                ConnectionLost("the connection was lost, and the server could not take it up"),
                same_identity=session.is_same_user(before),
            )
        self._become(LinkStatus(LinkState.ONLINE))
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(None)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write(connection, session))
            tasks.create_task(self._watch(connection, session))

    async def _write(self, connection: Connection, session: Session) -> None:
        outbox_text = self._settings.encoding.is_text
        while True:
            while not self._exchange.outbox:
                self._is_flushed = True
                self._flushed.ring()
                await self._exchange.queued.wait()
            self._is_flushed = False
            entry = self._exchange.outbox.popleft()
            call = entry if isinstance(entry, Call) else None
            if call is not None and call.is_settled:
                continue
            frame = self._frame(entry.message if isinstance(entry, Call) else entry)
            if call is not None:
                if len(frame) > session.max_message_bytes:
                    self._exchange.forget(call)
                    call.fail(too_large(len(frame), session.max_message_bytes))
                    continue
                # Before the send: half a frame may have reached the server when it fails.
                call.sent = True
            await connection.send(frame, is_text=outbox_text)

    async def _watch(self, connection: Connection, session: Session) -> None:
        """Cut a connection on which nothing comes, not even the answer to a ping of ours.

        The library's keepalive does not see a peer that takes no more bytes: its ping waits for
        the send buffer before its clock starts.
        """
        interval = session.heartbeat_interval
        loop = asyncio.get_running_loop()
        pinged_at = 0.0
        while True:
            silent = loop.time() - self._last_frame
            if silent >= 1.5 * interval:
                raise Disconnected(None, f"nothing heard from the server for {silent:.1f} s")
            if silent >= interval and pinged_at < self._last_frame:
                pinged_at = loop.time()
                self._exchange.post({"type": "ping"})
            await asyncio.sleep(max(0.01, (1.5 if silent >= interval else 1.0) * interval - silent))

    # --- decisions -----------------------------------------------------------------------------

    def _may_retry(self, error: ClientError, lost_for: float) -> bool:
        opened = self._opened is not None and self._opened.done()
        if self._closing or not opened or not self._settings.reconnect:
            return False
        limit = self._settings.give_up_after
        if limit is not None and lost_for >= limit:
            return False
        if isinstance(error, ConnectFailed):
            return error.retryable
        if isinstance(error, ConnectionLost):
            return error.code is None or may_reconnect(error.code)
        return isinstance(error, WireFailure) and error.retryable

    def _give_up(self, error: ClientError) -> None:
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(error)
        self._finish(as_lost(error))

    def _finish(self, error: ConnectionLost) -> None:
        if self._end is not None:
            return
        self._end = error
        self._exchange.lose_all(error)
        self._become(LinkStatus(LinkState.CLOSED, str(error)))

    def _become(self, status: LinkStatus) -> None:
        if status.state not in LINK_STEPS[self._status.state]:
            raise AssertionError(f"{status.state} cannot follow {self._status.state}")
        self._status = status
        self._on_status(status)

    def _frame(self, message: Message) -> bytes:
        # `encode` serves structs; a map of builtins passes through it unchanged.
        return encode(cast(Any, message), self._settings.encoding)

    async def _flush(self) -> None:
        """Wait until the outbox is empty, at most `FLUSH_TIMEOUT`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT):
                while self._exchange.outbox or not self._is_flushed:
                    await self._flushed.wait()
