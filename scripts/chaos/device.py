"""One client: a plain WebSocket, and what WIRE's rules make of what comes through it.

It has none of the project's client in it. Text is put together here by offsets alone, over all
connections that the client has had; a gap, a step back that nobody announced, or an end that is
not where the text ends, is a violation. A request is sent again, under the same id, on every new
connection until it has its end.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgpack
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.typing import Subprotocol

from scripts.chaos.book import EXCUSES, Asked, Book, Frame
from scripts.chaos.recovery import Recoveries
from scripts.chaos.rules import Rules
from scripts.chaos.screen import Screen, View
from tests.support.invariants import STREAM_TERMINALS, Broken
from wsserver_protocol.replies import REPLIES

OPEN_SECONDS, GREET_SECONDS = 4.0, 10.0
PING_EVERY, PONG_WITHIN = 4.0, 5.0

UNKNOWN_FOR = 9.0
"""Seconds for which a gateway may be without Redis: a client that was on it alone, and not for
longer, may be unknown elsewhere."""

TRAIL = 12
"""How much of what happened to a client is shown with a violation."""


class Gone(Exception):
    """The connection has ended, or whoever had it has gone."""


@dataclass(slots=True, eq=False)
class Pending:
    """A request that has had no end yet."""

    fields: Frame
    asked: Asked | None
    reply: asyncio.Future[Frame]
    has_started: bool = False
    sent_at: float = 0.0


@dataclass(slots=True)
class Surroundings:
    """What all clients share.

    Attributes:
        window: Seconds for which the servers keep a client's place.
    """

    book: Book
    addresses: list[str]
    window: float
    recoveries: Recoveries


class Device:
    """A client that comes back until it is closed."""

    def __init__(self, around: Surroundings, user: str, name: str, rng: random.Random) -> None:
        self.user = user
        self.name = name
        self.screen = Screen(around.book, around.recoveries, self._wrong)
        self.away_since: float | None = None
        self.connections = 0
        self._around = around
        self._rng = rng
        self._binary = rng.random() < 0.5
        self._ids = itertools.count(1)
        self._sent_ids: set[str] = set()
        self._pending: dict[str, Pending] = {}
        self._looks: dict[str, View] = {}
        self._shown: set[str] = set()  # views that the greeting of this connection has taken up
        self._socket: ClientConnection | None = None
        self._rules = Rules(around.book, self._sent_ids)
        self._token: str | None = None
        self._is_closed = False
        self._is_known = False  # has been taken up by its token once
        self._present = 0.0  # seconds on the connection before
        self._connected_at = 0.0
        self._is_greeted = asyncio.Event()
        self._away_until = 0.0
        self._last_frame = 0.0
        self._trail: deque[str] = deque(maxlen=TRAIL)
        self._life = asyncio.create_task(self._live())

    # What people do with it.

    async def ask(self, kind: str, *, asked: Asked | None = None, **fields: Any) -> Frame:
        """Send a request, again on each new connection, until its end comes.

        Raises:
            Gone: If the client vanishes before.
        """
        request_id = fields.setdefault("requestId", self.new_id())
        message = {"type": kind, **fields}
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        pending = self._pending[request_id] = Pending(message, asked, future)
        if self._is_greeted.is_set():
            with suppress(Gone):
                await self._send_pending(pending)
        return await future

    async def tell(self, kind: str, **fields: Any) -> None:
        """Send a control message whose own reply is of no interest."""
        if self._is_greeted.is_set():
            with suppress(Gone):
                await self._send({"type": kind, "requestId": self.new_id(), **fields})

    async def watch(self, stream_id: str) -> View:
        """Look at an answer of another client of this user."""
        is_new = stream_id not in self.screen.views
        view = self.screen.view(stream_id)
        if is_new:
            await self._look_again(view)
        return view

    async def _look_again(self, view: View) -> None:
        if self._is_greeted.is_set():  # else the next connection looks at it
            with suppress(Gone):
                await self._look(view)

    async def _look(self, view: View) -> None:
        request_id = self.new_id()
        self._looks[request_id] = view
        message = {"type": "watch_stream", "streamId": view.stream_id, "fromOffset": view.have}
        await self._send({**message, "requestId": request_id})

    def new_id(self) -> str:
        """A requestId that nobody has used."""
        return f"{self.name}-{next(self._ids)}"

    def cut(self, away: float = 0.0) -> None:
        """Lose the connection without a word, and stay away for so many seconds."""
        self._away_until = time.monotonic() + away
        self._around.recoveries.forget(self.screen)
        if self._socket is not None:
            self._socket.transport.abort()

    def stall(self, seconds: float) -> None:
        """Read nothing for a while."""
        if self._socket is not None:
            transport = self._socket.transport
            self._around.recoveries.forget(self.screen)
            transport.pause_reading()
            asyncio.get_running_loop().call_later(seconds, _resume_reading, transport)

    async def close(self) -> None:
        """Go for good, orderly."""
        self._is_closed = True
        if self._socket is not None:
            with suppress(WebSocketException, OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await self._socket.close()
        self._life.cancel()
        await asyncio.wait({self._life})

    def vanish(self) -> None:
        """Go for good, without a word."""
        self._is_closed = True
        self._life.cancel()
        self._around.recoveries.forget(self.screen)
        for pending in self._pending.values():
            pending.reply.set_exception(Gone())
        self._pending.clear()
        if self._socket is not None:
            self._socket.transport.abort()

    def complain(self) -> None:
        """Tell of every request and every answer that has had no end."""
        book = self._around.book
        for pending in self._pending.values():
            self._wrong("waits for ever", pending.asked or pending.fields)
        for view in self.screen.open:
            asked = book.answers.get(view.stream_id)
            self._wrong(f"waits for the end of {view}", asked)

    # Its connections.

    async def _live(self) -> None:
        pause = 0.05
        while not self._is_closed:
            await asyncio.sleep(max(0.0, self._away_until - time.monotonic()))
            try:
                await self._connect()
                pause = 0.05
                await self._read()
            except (OSError, TimeoutError, WebSocketException, InvalidHandshake, Gone):
                pass
            except Broken as error:
                self._wrong("a broken rule", error)
            finally:
                self._lose()
            await asyncio.sleep(self._rng.uniform(0, pause))
            pause = min(2 * pause, 1.0)

    def _wrong(self, what: str, *about: object) -> None:
        trail = "\n    " + "; ".join(self._trail)
        self._around.book.wrong(f"{self.name}: {what}", *about, trail)

    def _note(self, what: str) -> None:
        self._trail.append(f"{self._around.book.now():.2f} {what}")

    def _lose(self) -> None:
        self._note("lost")
        if self._socket is not None:
            self._present = max(self._present, self._last_frame - self._connected_at)
        if self.away_since is None and self._token is not None:
            self.away_since = self._last_frame
        self._is_greeted.clear()
        if self._socket is not None:
            self._socket.transport.abort()
            self._socket = None

    async def _connect(self) -> None:
        self._rules = Rules(self._around.book, self._sent_ids)
        address = self._rng.choice(self._around.addresses)
        self._socket = await connect(
            address,
            subprotocols=[Subprotocol("wsserver.v1.msgpack")] if self._binary else None,
            compression=None,
            proxy=None,
            open_timeout=OPEN_SECONDS,
            ping_interval=None,
            max_size=None,
        )
        self.connections += 1
        async with asyncio.timeout(GREET_SECONDS):
            connected = await self._receive()
            self._connected_at = self._last_frame
            self._note(f"connected to {address} as {connected['clientId']}")
            await self._take_up(connected)
        self._is_greeted.set()
        self._note("greeted")
        self._note_absence()
        for pending in list(self._pending.values()):
            if not pending.has_started:
                await self._send_pending(pending)
        for view in self.screen.open:
            if view.stream_id not in self._shown:  # asked for while this connection was greeted
                await self._look(view)

    async def _take_up(self, connected: Frame) -> None:
        """Resume; where that can't be, become the user anew and look at what is open."""
        open_views = {view.stream_id: view.have for view in self.screen.open}
        self._shown = set(self.screen.views)
        if self._token is not None:
            resume = {"type": "resume", "resumeToken": self._token, "streams": open_views}
            request_id = resume["requestId"] = self.new_id()
            await self._send(resume)
            while (reply := await self._receive()).get("requestId") != request_id:
                self._take(reply)
            if reply["type"] == "resumed":
                self._token, self._is_known = reply["resumeToken"], True
                self._note(f"resumed {reply['clientId']}")
                self._resumed(reply)
                await self._name_myself()  # the gateway before may have died before it told of it
                return
            self._refused_resume(reply)
            if reply["code"] != "resume_expired":
                raise Gone
        self._token, self._is_known, self._present = connected["resumeToken"], False, 0.0
        await self._name_myself()
        for pending in self._pending.values():
            pending.has_started = False  # the same request again, under its id
        asked_again = {p.asked.stream_id for p in self._pending.values() if p.asked is not None}
        for stream_id in open_views:
            if stream_id not in asked_again:
                await self._look(self.screen.view(stream_id))

    async def _name_myself(self) -> None:
        request_id = self.new_id()
        await self._send({"type": "authenticate", "requestId": request_id, "userId": self.user})
        while (reply := await self._receive()).get("requestId") != request_id:
            self._take(reply)

    def _note_absence(self) -> None:
        """Who was away for longer than the window may find his answers stopped."""
        if self.away_since is not None:
            if time.monotonic() - self.away_since > self._around.window - 2:
                for pending in self._pending.values():
                    if pending.asked is not None:
                        pending.asked.may_stop = True
            self.away_since = None

    def _resumed(self, reply: Frame) -> None:
        book = self._around.book
        for status in reply["streams"]:
            view = self.screen.views.get(status["streamId"])
            asked = book.answers.get(status["streamId"])
            if status["state"] == "gone" and view is not None and asked is not None:
                view.end()
                if not book.may_have_lost(asked):
                    self._wrong("an answer is gone", asked, status)

    def _refused_resume(self, reply: Frame) -> None:
        """Only who was away for too long may be told that he was."""
        book = self._around.book
        away = time.monotonic() - (self.away_since or self._last_frame)
        book.errors[reply["code"]] += 1
        if reply["code"] == "resume_expired":
            is_known = self._is_known or self._present > UNKNOWN_FOR
            if is_known and away < self._around.window - 1.0 and not book.lost_data_at:
                self._wrong(f"was away for {away:.1f} s only", reply)
        elif reply["code"] not in ("store_unavailable", "draining"):
            self._wrong("a resume was refused", reply)

    async def _read(self) -> None:
        """All frames until the connection ends, or is silent for too long."""
        while True:
            try:
                async with asyncio.timeout(PING_EVERY):
                    frame = await self._receive()
            except TimeoutError:
                await self.tell("ping")
                async with asyncio.timeout(PONG_WITHIN):
                    frame = await self._receive()
            self._take(frame)

    async def _receive(self) -> Frame:
        assert self._socket is not None
        data = await self._socket.recv()
        frame: Frame = msgpack.unpackb(data) if isinstance(data, bytes) else json.loads(data)
        self._last_frame = time.monotonic()
        self._rules.received(frame, len(data))
        return frame

    async def _send_pending(self, pending: Pending) -> None:
        pending.sent_at = time.monotonic()
        await self._send(pending.fields)

    async def _send(self, fields: Frame) -> None:
        if self._socket is None:
            raise Gone
        self._rules.sent(fields)
        try:
            await self._socket.send(msgpack.packb(fields) if self._binary else json.dumps(fields))
        except WebSocketException as error:
            raise Gone from error

    # What comes.

    def _take(self, frame: Frame) -> None:
        if frame.get("requestId") in self._rules.stops:
            return  # the reply to a stop: it tells an end besides the view of that answer
        self.screen.take(frame)
        if frame["type"] in STREAM_TERMINALS:
            self._settle_others(frame)
        kind, request_id = frame["type"], frame.get("requestId", "")
        if kind == "error" and request_id in self._looks:
            self._refused_look(self._looks.pop(request_id), frame)
        pending = self._pending.get(request_id)
        if pending is None:
            return
        if kind == "stream_start" and pending.asked is not None:
            pending.has_started = True
            self._around.book.started(pending.asked, frame)
        elif kind in REPLIES[pending.fields["type"]].terminal:
            self._settle(pending, frame)

    def _settle_others(self, frame: Frame) -> None:
        """Who repeated another client's request is, after a resume, one who watches: no requestId
        comes with its end."""
        for pending in list(self._pending.values()):
            asked = pending.asked
            if (
                pending.has_started
                and asked is not None
                and asked.stream_id == frame.get("streamId")
            ):
                self._settle(pending, frame)

    def _refused_look(self, view: View, frame: Frame) -> None:
        """A `watch_stream` was refused: it is tried again, unless the answer is not there."""
        book = self._around.book
        book.errors[frame["code"]] += 1
        if frame["code"] not in EXCUSES:
            asked = book.answers.get(view.stream_id)
            if asked is None or not (book.may_have_lost(asked) or asked.is_empty):
                self._wrong("can't look at an answer", asked, frame)
            view.end()
            return
        loop = asyncio.get_running_loop()
        loop.call_later(0.5, lambda: loop.create_task(self._look_again(view)))

    def _settle(self, pending: Pending, frame: Frame) -> None:
        del self._pending[pending.fields["requestId"]]
        asked, book = pending.asked, self._around.book
        if asked is not None and asked.kind == "generate":
            book.generated(asked, frame)
        elif asked is not None and asked.stream_id is None:
            book.refused(asked, frame)
        elif asked is not None and frame.get("code", "store_unavailable") not in EXCUSES:
            self._wrong("a repeat was refused", asked, frame)
        if not pending.reply.done():
            pending.reply.set_result(frame)


def _resume_reading(transport: Any) -> None:
    if not transport.is_closing():
        transport.resume_reading()
