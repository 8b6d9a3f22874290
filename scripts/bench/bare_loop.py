"""The baseline: token frames sent by a bare websockets + uvloop + orjson loop.

``python -m scripts.bench.bare_loop`` listens on a free port, prints it, and sends token frames as
fast as it can on every connection: what a server would do that did nothing else. With ``broadcast``
it sends one frame to all at once, 40 times a second.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time

import orjson
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed


async def send_tokens(socket: ServerConnection) -> None:
    offset = 0
    try:
        for number in itertools.count(1):
            offset += len(str(number)) + 1
            await socket.send(piece(number, offset), text=True)
            if number % 16 == 0:
                await asyncio.sleep(0)  # send() returns at once while the buffer takes it
    except ConnectionClosed:
        return


def piece(number: int, offset: int) -> bytes:
    """A token's frame."""
    frame = {
        "type": "stream_token",
        "requestId": "1",
        "streamId": "str_0123456789abcdef01234567",
        "token": f"{number} ",
        "position": number,
        "count": 1,
        "offset": offset,
        "timestamp": time.time_ns() // 1_000_000,
    }
    return orjson.dumps(frame)


async def stay(socket: ServerConnection) -> None:
    await socket.wait_closed()


async def main(does_broadcast: bool) -> None:
    handler = stay if does_broadcast else send_tokens
    async with serve(handler, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"ws://127.0.0.1:{port}/", flush=True)
        for number in itertools.count(1):
            await asyncio.sleep(0.025)
            if does_broadcast:
                broadcast(server.connections, piece(number, 8 * number), text=True)


if __name__ == "__main__":
    uvloop.run(main("broadcast" in sys.argv[1:]))
