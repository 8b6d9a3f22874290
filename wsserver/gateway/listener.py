"""The port: handshakes, HTTP, and the sockets that become connections.

The only room that knows the `websockets` library. Three of its habits are worked around here, each
seen to hang a server: its keepalive waits in ``drain()`` before its pong timer starts, so that a
peer which stopped reading is never evicted; ``close()`` waits there too, outside its own timeout;
and its default subprotocol choice refuses clients that offer none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, NegotiationError
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.typing import Subprotocol

from wsserver.core.limits import Meter
from wsserver.gateway.admission import client_address, is_origin_allowed
from wsserver.gateway.connection import Connection
from wsserver.gateway.dispatch import Dispatcher
from wsserver.gateway.framing import Shared, framed
from wsserver.gateway.handlers.connection import greet
from wsserver.gateway.http import HttpPages, HttpReply
from wsserver.gateway.services import Services
from wsserver_protocol.codec import Encoding
from wsserver_protocol.errors import CloseCode

log = logging.getLogger(__name__)

ENCODINGS = {encoding.subprotocol: encoding for encoding in Encoding}
WRITE_LIMIT = 32 * 1024
"""High-water mark of a transport's buffer, in bytes."""

PATHS = ("/", "/ws")


class Socket(ServerConnection):
    """One WebSocket, with a synchronous way to write and a word when it blocks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connection: Connection | None = None
        self.last_heard = self.loop.time()
        self.pinged_at: float | None = None  # while no answer has come
        self.next_ping = 0.0
        self._is_text = True

    def use(self, connection: Connection) -> None:
        """Tell ``connection`` from now on when the socket blocks."""
        self.connection = connection
        self._is_text = connection.encoding.is_text

    @property
    def is_writable(self) -> bool:
        return not self.paused and self.protocol.state is State.OPEN

    @property
    def unsent_bytes(self) -> int:
        return self.transport.get_write_buffer_size()

    def write(self, payloads: list[bytes]) -> None:
        # The library's send() costs twice as much as the system call: an await, a context
        # manager and a Frame for each message.
        if self.protocol.state is State.OPEN:
            self.transport.write(framed(payloads, is_text=self._is_text))

    def write_shared(self, frames: Shared) -> None:
        self.transport.write(frames.wire)

    def ping_now(self) -> None:
        """Send a ping without waiting for anything."""
        if self.protocol.state is State.OPEN:
            self.protocol.send_ping(b"")
            self.send_data()

    def send_close(self, code: int, reason: str) -> None:
        if self.protocol.state is State.OPEN:
            self.protocol.send_close(code, reason)
            self.send_data()

    def abort(self) -> None:
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.last_heard = self.loop.time()
        super().data_received(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.connection is not None:
            self.connection.outbox.blocked()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.connection is not None:
            self.connection.outbox.unblocked()


class Listener:
    """Accepts connections and reads them until they are lost."""

    def __init__(
        self,
        services: Services,
        dispatcher: Dispatcher,
        pages: HttpPages,
    ) -> None:
        self._services = services
        self._dispatcher = dispatcher
        self._pages = pages
        policy = services.policy
        self._pace = Meter(policy.connections_per_second, 1.0)
        self._server: Server | None = None
        self.sockets: set[Socket] = set()  # open ones, with a connection

    async def start(self, host: str, port: int) -> list[tuple[str, int]]:
        """Listen. Returns the addresses, with the port that was taken if ``port`` is 0.

        Raises:
            OSError: If the address can't be listened on.
        """
        policy = self._services.policy
        self._server = await serve(
            self._handle,
            host,
            port,
            create_connection=Socket,
            process_request=self._process_request,
            select_subprotocol=_select_subprotocol,
            compression=None,  # 14 KiB a connection instead of 50, and half the time a frame
            max_size=policy.max_message_bytes,
            write_limit=WRITE_LIMIT,
            ping_interval=None,  # see `Heartbeat`
            close_timeout=5,
            backlog=policy.backlog,
            reuse_port=policy.shares_port or None,
            server_header=None,
        )
        return [sock.getsockname()[:2] for sock in self._server.sockets]

    async def stop(self, code: CloseCode, deadline: float) -> None:
        """Close every connection, cut what has not gone after ``deadline`` seconds."""
        if self._server is None:
            return
        for socket in tuple(self.sockets):
            if socket.connection is not None:
                socket.connection.close(code, "going away")
        self._server.close(close_connections=False)
        waiting = asyncio.ensure_future(self._server.wait_closed())
        await asyncio.wait({waiting}, timeout=deadline)
        for lingering in tuple(self._server.all_connections):
            lingering.transport.abort()
        await waiting

    async def _handle(self, socket: ServerConnection) -> None:
        assert isinstance(socket, Socket)
        services, policy = self._services, self._services.policy
        headers = socket.request.headers if socket.request is not None else Headers()
        host = next(iter(headers.get_all("Host")), None)
        if not is_origin_allowed(headers.get_all("Origin"), host, policy):
            # Browsers can't see an HTTP status of a failed upgrade, but a close code they can.
            socket.send_close(CloseCode.FORBIDDEN, "origin not allowed")
            return
        encoding = ENCODINGS.get(socket.subprotocol or "", Encoding.JSON)
        peer = socket.remote_address[0] if socket.remote_address else "local"
        address = client_address(peer, headers.get_all("X-Forwarded-For"), policy)
        connection = Connection(socket, services, encoding=encoding, address=address)
        socket.use(connection)
        socket.next_ping = socket.loop.time() + policy.ping_interval
        self.sockets.add(socket)
        services.telemetry.connection_opened()
        try:
            await greet(connection)
            while True:
                # Bytes for text too: what is not UTF-8 is then ours to answer, not a close.
                self._dispatcher.receive(connection, await socket.recv(decode=False))
        except ConnectionClosed:
            pass  # every end of a connection is one, in order or not
        finally:
            self._lost(socket, connection)

    def _lost(self, socket: Socket, connection: Connection) -> None:
        self.sockets.discard(socket)
        socket.connection = None
        followed = connection.lost()
        code = connection.close_code or socket.protocol.close_code or 1006
        self._services.telemetry.connection_closed(code)
        client = connection.client
        if client.connection is connection:
            self._services.clients.detach(client)
            self._services.departures.dropped(client, followed)
        else:  # resumed elsewhere: nobody has gone
            for work in followed:
                self._services.departures.unfollowed(work)

    def _process_request(self, socket: ServerConnection, request: Request) -> Response | None:
        # get_all: a header sent twice must not be a fault of ours.
        if "websocket" not in [value.lower() for value in request.headers.get_all("Upgrade")]:
            return _response(self._pages.answer(request.method, request.path), request.method)
        if request.path.partition("?")[0] not in PATHS:
            return _response(HttpReply(HTTPStatus.NOT_FOUND, b"Not found.\n"), request.method)
        refusal = self._refusal()
        if refusal is None:
            return None
        self._services.telemetry.connection_refused(refusal)
        body = f"{refusal}; try again later\n".encode()
        reply = HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, body, headers={"Retry-After": "1"})
        return _response(reply, request.method)

    def _refusal(self) -> str | None:
        if self._services.drain.is_on:
            return "draining"
        if len(self.sockets) >= self._services.policy.max_connections:
            return "full"
        now = asyncio.get_running_loop().time()
        return "rate" if self._pace.take("", 1, now) > 0 else None


class Heartbeat:
    """Pings every connection in turn, and closes those that say nothing (4002).

    One timer for all: a task per connection, as the library has it, would cost more memory than
    everything else that an idle connection needs.
    """

    def __init__(self, listener: Listener, *, interval: float, timeout: float) -> None:
        self._listener = listener
        self._interval = interval
        self._timeout = timeout

    async def run(self) -> None:
        """Never returns."""
        loop = asyncio.get_running_loop()
        tick = min(1.0, self._interval / 4, self._timeout / 4)
        while True:
            await asyncio.sleep(tick)
            self.beat(loop.time())

    def beat(self, now: float) -> None:
        """Ping whose turn it is; close who has said nothing since its ping for the timeout."""
        for socket in tuple(self._listener.sockets):
            pinged = socket.pinged_at
            if pinged is not None and socket.last_heard >= pinged:
                pinged = socket.pinged_at = None
            if pinged is None:
                if now >= socket.next_ping:
                    socket.ping_now()
                    socket.pinged_at = now
                    socket.next_ping = now + self._interval
            elif now - pinged >= self._timeout and socket.connection is not None:
                socket.connection.close(CloseCode.NO_PONG, "no pong")


def _select_subprotocol(
    socket: ServerConnection, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    if not offered:
        return None
    for subprotocol in offered:
        if subprotocol in ENCODINGS:
            return subprotocol
    raise NegotiationError(f"known subprotocols: {', '.join(ENCODINGS)}")


def _response(reply: HttpReply, method: str) -> Response:
    headers = Headers(
        {
            "Date": formatdate(usegmt=True),
            "Connection": "close",
            "Content-Length": str(len(reply.body)),
            "Content-Type": reply.content_type,
            **reply.headers,
        }
    )
    body = b"" if method == "HEAD" else reply.body
    return Response(reply.status.value, reply.status.phrase, headers, body)
