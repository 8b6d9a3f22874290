"""The baseline: token frames sent by a bare websockets + uvloop + orjson loop.

``python -m scripts.bench.bare_loop`` listens on a free port, prints it, and sends token frames as
fast as it can on every connection: what a server would do that did nothing else.
"""

from __future__ import annotations

import asyncio
import itertools
import time

import orjson
import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


async def send_tokens(socket: ServerConnection) -> None:
    offset = 0
    try:
        for number in itertools.count(1):
            token = f"{number} "
            offset += len(token)
            frame = {
                "type": "stream_token",
                "requestId": "1",
                "streamId": "str_0123456789abcdef01234567",
                "token": token,
                "position": number,
                "count": 1,
                "offset": offset,
                "timestamp": time.time_ns() // 1_000_000,
            }
            await socket.send(orjson.dumps(frame), text=True)
            if number % 16 == 0:
                await asyncio.sleep(0)  # send() returns at once while the buffer takes it
    except ConnectionClosed:
        return


async def main() -> None:
    async with serve(send_tokens, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"ws://127.0.0.1:{port}/", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
