"""A client that costs almost nothing: it counts marks in what comes, and decodes nothing.

Run as its own process, so that its time never counts as the server's:
``python -m scripts.bench.counting_client URL CONNECTIONS SECONDS MARK [FRAME]``
opens connections, sends FRAME (text) on each, counts occurrences of MARK, and prints JSON.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import uvloop


class Counter(asyncio.Protocol):
    """One connection: a handshake, one frame out, then counting."""

    def __init__(self, host: str, frame: bytes | None, mark: bytes, tally: Tally) -> None:
        self._host, self._frame, self._mark, self._tally = host, frame, mark, tally
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET / HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        if self._frame is not None:
            transport.write(masked_text_frame(self._frame))

    def data_received(self, data: bytes) -> None:
        # A mark may lie across two reads: keep one byte less than it is long.
        seen = self._tail + data
        self._tally.marks += seen.count(self._mark)
        self._tail = seen[-(len(self._mark) - 1) :]
        self._tally.bytes += len(data)


class Tally:
    """What all connections have seen."""

    marks = 0
    bytes = 0


def masked_text_frame(payload: bytes) -> bytes:
    """A client's text frame (RFC 6455 §5.2); a mask of zeros leaves the payload as it is."""
    size = len(payload)
    head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else b""
    if size >= 126:
        head = struct.pack("!BBH", 0x81, 0x80 | 126, size)
    return head + b"\0\0\0\0" + payload


async def main(url: str, connections: int, seconds: float, mark: str, frame: str | None) -> None:
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    host, port = parts.hostname, parts.port
    loop = asyncio.get_running_loop()
    tally = Tally()
    body = frame.encode() if frame else None
    for _ in range(connections):
        await loop.create_connection(
            lambda: Counter(parts.netloc, body, mark.encode(), tally), host, port
        )
    print("open", flush=True)
    await asyncio.sleep(0.5)  # start-up is not what is measured
    marks, octets, started = tally.marks, tally.bytes, time.perf_counter()
    print("go", flush=True)
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - started
    print(
        json.dumps(
            {"marks": tally.marks - marks, "bytes": tally.bytes - octets, "seconds": elapsed}
        ),
        flush=True,
    )
    os._exit(0)


if __name__ == "__main__":
    given = sys.argv[1:]
    uvloop.run(
        main(given[0], int(given[1]), float(given[2]), given[3], given[4] if given[4:] else None)
    )
