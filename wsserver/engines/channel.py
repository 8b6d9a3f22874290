"""The parent's end of a child's socket, on the event loop.

Decides when bytes move; what they mean is `wsserver.engines.link`, and what follows is the host's.
The rule: what is sent is on the socket before the call returns, unless the child has fallen behind
in reading. That is why the socket is used itself and no stream or transport: uvloop's keep what is
written until the end of the loop's turn, and a cancel would wait for all that this turn does.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from wsserver.core.engine import Output
from wsserver.engines import link

# One read of the socket: some 600 deltas, a millisecond or two of the loop with all that follows.
_READ_SIZE: Final = 16 * 1024

MessageSink = Callable[[link.ToHost | list[Output]], None]
EndSink = Callable[[str | None], None]


class Channel:
    """Frames to and from one child. Event loop only."""

    def __init__(self, sock: socket.socket, on_message: MessageSink, on_end: EndSink) -> None:
        """Begin to read.

        Args:
            sock: Connected, non-blocking; closed by this channel.
            on_message: Called with each message in order.
            on_end: Called once: with None when the child closed its end, or with what was wrong
                with the bytes that it sent. Not called after `close`.
        """
        self._socket: socket.socket | None = sock
        self._on_message = on_message
        self._on_end = on_end
        self._splitter = link.FrameSplitter()
        self._unsent = bytearray()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._readable)

    def send(self, frame: bytearray) -> None:
        """Write now what the socket takes, the rest as it takes more; nothing after the end."""
        if self._socket is None:
            return
        if self._unsent:
            self._unsent += frame
            return
        self._unsent = frame
        self._flush(self._socket)
        if self._unsent:
            self._loop.add_writer(self._socket, self._writable)

    def close(self) -> None:
        """Close the socket. Idempotent."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None

    def _readable(self) -> None:
        """Take one read; the loop calls again while there is more."""
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._end(None)
            return
        try:
            for kind, body in self._splitter.feed(data):
                self._on_message(link.decode_to_host(kind, body))
        except link.LinkError as error:
            self._end(str(error))

    def _writable(self) -> None:
        if self._socket is not None:
            self._flush(self._socket)
            if not self._unsent:
                self._loop.remove_writer(self._socket)

    def _flush(self, sock: socket.socket) -> None:
        try:
            sent = sock.send(self._unsent)
        except BlockingIOError:
            return
        except ConnectionError:
            # The reader sees the same end, after what the child had still sent.
            self._unsent = bytearray()
            return
        del self._unsent[:sent]

    def _end(self, fault: str | None) -> None:
        self.close()
        self._on_end(fault)
