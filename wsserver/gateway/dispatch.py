"""From a frame to its handler, and from an exception to the one error that tells of it.

Dispatch never awaits work: a handler either acts at once, or returns a coroutine that runs as the
connection's own task. A stop is therefore read while everything else goes on. This is the only
place that turns an exception into an error message.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from wsserver.core.ids import new_id
from wsserver.gateway.connection import Connection
from wsserver_protocol.codec import decode_frame, parse_request
from wsserver_protocol.errors import (
    CloseCode,
    ErrorCode,
    UnreadableFrame,
    WireError,
    error_event,
)
from wsserver_protocol.events import Event
from wsserver_protocol.requests import REQUEST_TYPES

log = logging.getLogger(__name__)

# More unreadable frames than this within so many seconds close the connection (1008).
UNREADABLE_FRAMES, UNREADABLE_WITHIN = 20, 10.0

STOPS = frozenset(("stop_stream", "stop_batch", "interrupt"))
"""Never refused for sending too many frames: who floods must still be able to stop."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way through a handler."""

    connection: Connection
    request: Any  # one of `Request`: which, the handler knows by its place in the table
    request_id: str


Reply = Event | None
Handler = Callable[[Call], Reply | Coroutine[None, None, Reply]]


class Dispatcher:
    """Reads the frames of all connections.

    Args:
        handlers: By request type. A type that is known to the protocol and has no handler here
            is answered `unknown_type`, like one that nobody knows.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers

    def receive(self, connection: Connection, data: bytes) -> None:
        """Act on one frame. Never raises, never blocks."""
        if not connection.is_open:
            return
        now = asyncio.get_running_loop().time()
        if connection.flood.take("", 1, now) > 0:
            connection.close(CloseCode.ABUSE, "too many frames")
            return
        try:
            fields = decode_frame(data)
        except UnreadableFrame as error:
            self._unreadable(connection, error, now)
            return
        kind = fields.get("type")
        wait = connection.frames.take("", 1, now)
        if wait > 0 and kind not in STOPS:
            connection.services.telemetry.rate_limited("frames_per_second")
            self._refuse(connection, _too_many_frames(wait), *_name_of(fields))
            return
        self._handle(connection, fields)

    def _handle(self, connection: Connection, fields: dict[str, Any]) -> None:
        try:
            request = parse_request(fields)
            kind = str(type(request).__struct_config__.tag)
            handler = self._handlers.get(kind)
            if handler is None:
                raise WireError(
                    ErrorCode.UNKNOWN_TYPE,
                    f"This server does not answer {kind!r}.",
                    request_id=request.request_id,
                    request_type=kind,
                )
        except WireError as error:
            self._refuse(connection, error, error.request_type, error.request_id)
            return
        request_id = request.request_id or new_id("req")
        call = Call(connection, request, request_id)
        try:
            reply = handler(call)
        except Exception as error:
            self._fail(connection, error, kind, request_id)
            return
        if isinstance(reply, Coroutine):
            connection.spawn(self._finish(connection, reply, kind, request_id))
        else:
            self._answer(connection, reply, kind)

    async def _finish(
        self,
        connection: Connection,
        work: Coroutine[None, None, Reply],
        kind: str,
        request_id: str,
    ) -> None:
        try:
            reply = await work
        except Exception as error:
            self._fail(connection, error, kind, request_id)
            return
        self._answer(connection, reply, kind)

    def _answer(self, connection: Connection, reply: Reply, kind: str) -> None:
        if reply is not None:
            connection.send(reply)
        connection.services.clients.touched(connection.client)
        connection.services.telemetry.request_ended(kind, "ok")

    def _fail(self, connection: Connection, error: Exception, kind: str, request_id: str) -> None:
        if not isinstance(error, WireError):
            # The client is told nothing of it: an exception's text may hold anything.
            log.error("%s failed", kind, exc_info=error)
            error = WireError(ErrorCode.INTERNAL_ERROR, "Something went wrong in the server.")
        self._refuse(connection, error, kind, request_id)

    def _refuse(
        self,
        connection: Connection,
        error: WireError,
        kind: str | None,
        request_id: str | None,
    ) -> None:
        known = kind if kind in REQUEST_TYPES else "unknown"
        connection.services.telemetry.request_ended(known, error.code.value)
        connection.send(
            error_event(
                error,
                kind,
                request_id,
                stream_id=getattr(error, "stream_id", None),
                session_id=getattr(error, "session_id", None),
                message_id=getattr(error, "message_id", None),
            )
        )

    def _unreadable(self, connection: Connection, error: WireError, now: float) -> None:
        strikes = [t for t in connection.unreadable if t > now - UNREADABLE_WITHIN]
        strikes.append(now)
        connection.unreadable = strikes
        self._refuse(connection, error, error.request_type, error.request_id)
        if len(strikes) >= UNREADABLE_FRAMES:
            connection.close(CloseCode.POLICY_VIOLATION, "too many unreadable frames")


def _name_of(fields: dict[str, Any]) -> tuple[str | None, str | None]:
    """Type and requestId of a message that is not parsed, where they can be read."""
    kind, request_id = fields.get("type"), fields.get("requestId", fields.get("request_id"))
    return (
        kind if isinstance(kind, str) else None,
        request_id if isinstance(request_id, str) and len(request_id) <= 128 else None,
    )


def _too_many_frames(wait: float) -> WireError:
    return WireError(
        ErrorCode.RATE_LIMITED,
        "Too many frames a second on this connection.",
        retry_after=max(1, int(wait * 1000 + 0.999)),
    )
