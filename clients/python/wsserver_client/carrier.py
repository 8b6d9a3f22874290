"""What carries the requests of handles and rooms: the client's side of their ports.

This room decides what happens to a request whose caller gives up or whose time is over. It knows
the tables and the connection, and no request in particular.
"""

from __future__ import annotations

import asyncio

from wsserver_client.calls import Call, Message, Reply
from wsserver_client.errors import ConnectionLost, RequestTimeout
from wsserver_client.exchange import Exchange
from wsserver_client.link import Link
from wsserver_client.rooms import Room
from wsserver_client.streams import StreamHandle


class Carrier:
    """Base of the client; is the `StreamPort` and the `RoomPort` of what it makes.

    Attributes:
        request_timeout: Seconds that a request with one reply may take.
    """

    def __init__(self, exchange: Exchange, link: Link, request_timeout: float) -> None:
        self.request_timeout = request_timeout
        self._exchange = exchange
        self._link = link

    def submit(self, call: Call) -> None:
        self._require_open()
        self._exchange.submit(call)

    def post(self, message: Message) -> None:
        if self._link.end is None:
            self._exchange.post(message)

    def withdraw(self, call: Call) -> bool:
        return self._exchange.withdraw(call)

    def forget(self, call: Call) -> None:
        self._exchange.forget(call)

    def ended(self, stream: StreamHandle) -> None:
        self._exchange.ended(stream)

    def start_stream(self, message: Message) -> StreamHandle:
        self._require_open()
        stream = StreamHandle(self, message)
        self.submit(stream)
        return stream

    def adopt_stream(self, stream_id: str, room_id: str) -> StreamHandle:
        return self._exchange.adopt_stream(stream_id, room_id)

    def streams_in(self, room_id: str) -> list[StreamHandle]:
        return self._exchange.streams_in(room_id)

    def forget_room(self, room: Room) -> None:
        self._exchange.forget_room(room)

    async def ask(self, message: Message) -> Message:
        return await self._answer(Reply(message), None)

    def _require_open(self) -> None:
        end = self._link.end
        if end is not None:
            raise ConnectionLost(str(end), code=end.code)

    async def _answer(self, call: Reply, timeout: float | None) -> Message:
        limit = self.request_timeout if timeout is None else timeout
        self.submit(call)
        try:
            async with asyncio.timeout(limit):
                return await call.answer()
        except TimeoutError:
            raise RequestTimeout(f"{call.kind} had no answer within {limit:g} s") from None
        finally:
            if not call.is_settled and not self._exchange.withdraw(call):
                self._exchange.forget(call)
