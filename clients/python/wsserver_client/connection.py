"""One WebSocket connection: the only module that knows the WebSocket library.

It opens, sends, receives and closes, and translates every error of the library and of the
operating system into `ConnectFailed` or `Disconnected`. It decides nothing: whether to come
back, and when, is the link's business.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Mapping
from typing import Literal

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
    NegotiationError,
)
from websockets.typing import Subprotocol

from wsserver_client.errors import ConnectFailed

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""A frame of the server is at most 1 MiB; beyond this bound it is not one of ours."""

PING_INTERVAL = 20.0
PING_TIMEOUT = 20.0
CLOSE_TIMEOUT = 2.0

RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which trying again may help; any other refusal will come again."""


class Disconnected(Exception):
    """The connection is over. ``code`` is the server's close code, None without a handshake."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(reason or (f"closed with code {code}" if code else "connection lost"))
        self.code = code
        self.reason = reason


class Connection:
    """An open connection. Made by `open_connection`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    @property
    def subprotocol(self) -> str | None:
        """What the server chose; None from a server that knows no subprotocols."""
        return self._socket.subprotocol

    async def send(self, frame: bytes, *, is_text: bool) -> None:
        """Send one frame, as text or as binary; waits while the peer does not read.

        Raises:
            Disconnected: If the connection is over.
        """
        try:
            await self._socket.send(frame, text=is_text)
        except ConnectionClosed as error:
            raise _disconnected(error) from None

    async def receive(self) -> str | bytes:
        """The next frame.

        Raises:
            Disconnected: If the connection is over.
        """
        try:
            return await self._socket.recv()
        except ConnectionClosed as error:
            raise _disconnected(error) from None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End with a closing handshake, or without one where the peer does not take part."""
        try:
            # The library's own close waits for a full send buffer outside of its timeout.
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._socket.close(code, reason)
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Cut the transport. Whoever sends or receives gets `Disconnected`."""
        self._socket.transport.abort()


async def open_connection(
    url: str,
    *,
    subprotocol: str,
    headers: Mapping[str, str],
    open_timeout: float,
    ssl: tls.SSLContext | None,
    proxy: str | Literal[True] | None,
) -> Connection:
    """Connect and shake hands.

    Raises:
        ConnectFailed: If that does not succeed, with the reason in words.
        ValueError: If ``url`` is not a WebSocket address.
    """
    try:
        socket = await websocket_connect(
            url,
            subprotocols=[Subprotocol(subprotocol)],
            additional_headers=dict(headers),
            compression=None,  # token frames are small; deflate costs 50 KiB and half the CPU
            open_timeout=open_timeout,
            ping_interval=PING_INTERVAL,
            ping_timeout=PING_TIMEOUT,
            close_timeout=CLOSE_TIMEOUT,
            max_size=MAX_FRAME_BYTES,
            proxy=proxy,
            ssl=ssl,
        )
    except InvalidURI as error:
        raise ValueError(f"not a WebSocket address: {url!r}") from error
    except InvalidStatus as error:
        raise _refused(url, error) from None
    except NegotiationError as error:
        raise ConnectFailed(f"{url} does not speak {subprotocol}", retryable=False) from error
    except InvalidHandshake as error:
        raise ConnectFailed(f"{url} is not a WebSocket server: {error}") from error
    except TimeoutError:
        raise ConnectFailed(f"{url} did not answer within {open_timeout:g} s") from None
    except OSError as error:
        raise ConnectFailed(f"cannot reach {url}: {_words(error)}") from error
    except ConnectionClosed as error:
        raise ConnectFailed(f"{url} closed the connection at once") from error
    return Connection(socket)


def _disconnected(error: ConnectionClosed) -> Disconnected:
    if error.rcvd is None:
        return Disconnected(None, "")
    return Disconnected(error.rcvd.code, error.rcvd.reason)


def _refused(url: str, error: InvalidStatus) -> ConnectFailed:
    response = error.response
    status = response.status_code
    body = bytes(response.body or b"").decode("utf-8", "replace").strip()
    words = body.splitlines()[0][:200] if body else response.reason_phrase
    return ConnectFailed(
        f"{url} refused the connection: HTTP {status} {words}".rstrip(),
        status=status,
        retryable=status in RETRYABLE_STATUS,
        retry_after=_retry_after(response.headers.get("Retry-After")),
    )


def _retry_after(value: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header; dates, which need a clock, are left to the backoff."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        return None


def _words(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).strip()
