"""One client's connections: it comes back until it is closed, by `resume` where that can be.

A plain WebSocket without any of the project's client in it. A request is sent again, under the same
id, on every new connection until it has its end.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from typing import Any

import msgpack
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.typing import Subprotocol

from scripts.chaos.book import Asked, Frame
from scripts.chaos.room_screen import RoomScreen, RoomView
from scripts.chaos.rules import Rules
from scripts.chaos.screen import Screen, View
from scripts.chaos.surroundings import Gone, Pending, Surroundings
from tests.support.invariants import Broken

OPEN_SECONDS, GREET_SECONDS = 4.0, 10.0
PING_EVERY, PONG_WITHIN = 4.0, 5.0

UNKNOWN_FOR = 9.0
"""Seconds for which a gateway may be without Redis: a client that was on it alone, and not for
longer, may be unknown elsewhere."""

LOST_LATELY = 20.0
"""Seconds in which a gateway may not have told a Redis that lost data of all its clients again."""

TRAIL = 12
"""How much of what happened to a client is shown with a violation."""


class Client(ABC):
    """A client that comes back until it is closed. What it does with what comes is a subclass's."""

    def __init__(self, around: Surroundings, user: str, name: str, rng: random.Random) -> None:
        self.user = user
        self.name = name
        self.rooms = RoomScreen(around.book.rooms, name, user, self.wrong)
        self.screen = Screen(around.book, around.recoveries, self.rooms, self.wrong)
        self.away_since: float | None = None
        self.connections = 0
        self._around = around
        self._rng = rng
        self._binary = rng.random() < 0.5
        self._ids = itertools.count(1)
        self._sent_ids: set[str] = set()
        self._pending: dict[str, Pending] = {}
        self._looks: dict[str, View] = {}
        self._steps: dict[str, str] = {}  # requests to enter or leave a room: roomId
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

    def new_id(self) -> str:
        """A requestId that nobody has used."""
        return f"{self.name}-{next(self._ids)}"

    @abstractmethod
    def take(self, frame: Frame) -> None:
        """What is to be done with a frame."""

    async def tell(self, kind: str, **fields: Any) -> None:
        """Send a control message whose own reply is of no interest."""
        if self._is_greeted.is_set():
            with suppress(Gone):
                await self._send({"type": kind, "requestId": self.new_id(), **fields})

    async def _look_again(self, view: View) -> None:
        if self._is_greeted.is_set():  # else the next connection looks at it
            with suppress(Gone):
                await self._look(view)

    async def _look(self, view: View) -> None:
        request_id = self.new_id()
        self._looks[request_id] = view
        message = {"type": "watch_stream", "streamId": view.stream_id, "fromOffset": view.have}
        await self._send({**message, "requestId": request_id})

    async def _enter(self, room_id: str) -> None:
        """Ask to be let into a room, from where the client has its log."""
        view = self.rooms.view(room_id)
        fields = {"lastSeq": view.position} if view.epoch else {}
        await self._step("join_room", room_id, **fields)

    async def _step(self, kind: str, room_id: str, **fields: Any) -> None:
        request_id = self.new_id()
        self._steps[request_id] = room_id
        await self._send({"type": kind, "requestId": request_id, "roomId": room_id, **fields})

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
                self.wrong("a broken rule", error)
            finally:
                self._lose()
            await asyncio.sleep(self._rng.uniform(0, pause))
            pause = min(2 * pause, 1.0)

    def wrong(self, what: str, *about: object) -> None:
        """A violation, told with what happened to this client lately."""
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
            self._around.book.rooms.away(self.name, self.away_since)
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
        self.away_since = None
        self._note("greeted")
        for pending in list(self._pending.values()):
            if not pending.has_started:
                await self._send_pending(pending)
        for view in self.screen.open:
            # Asked for while this connection was greeted.
            if view.stream_id not in self._shown and not view.room_id:
                await self._look(view)

    async def _take_up(self, connected: Frame) -> None:
        """Resume; where that can't be, become the user anew and look at what is open."""
        self._note_absence()
        open_views = {view.stream_id: view.have for view in self.screen.open}
        self._shown = set(self.screen.views)
        if self._token is not None:
            resume = {"type": "resume", "resumeToken": self._token, "streams": open_views}
            resume["rooms"] = self.rooms.positions()
            request_id = resume["requestId"] = self.new_id()
            await self._send(resume)
            while (reply := await self._receive()).get("requestId") != request_id:
                self.take(reply)
            if reply["type"] == "resumed":
                self._token, self._is_known = reply["resumeToken"], True
                self._note(f"resumed {reply['clientId']}")
                self._resumed(reply)
                await self._name_myself()  # the gateway before may have died before it told of it
                await self._mend_rooms(reply)
                return
            self._refused_resume(reply)
            if reply["code"] != "resume_expired":
                raise Gone
        self._token, self._is_known, self._present = None, False, 0.0
        self.rooms.lost()
        self.rooms.client_id = connected["clientId"]
        await self._name_myself()  # else its place is nobody's that the streams are of
        self._token = connected["resumeToken"]
        for room in self.rooms.wanted:
            await self._enter(room.room_id)
        for pending in self._pending.values():
            pending.has_started = False  # the same request again, under its id
        asked_again = {p.asked.stream_id for p in self._pending.values() if p.asked is not None}
        in_rooms = {room.room_id for room in self.rooms.wanted}
        for stream_id in open_views:
            view = self.screen.view(stream_id)
            if stream_id not in asked_again and view.room_id not in in_rooms:  # these show theirs
                await self._look(view)

    async def _name_myself(self) -> None:
        request_id = self.new_id()
        await self._send({"type": "authenticate", "requestId": request_id, "userId": self.user})
        while (reply := await self._receive()).get("requestId") != request_id:
            self.take(reply)
        if reply["type"] == "error":  # Redis is away: nobody else could know the name
            self._around.book.errors[reply["code"]] += 1
            if reply["code"] != "store_unavailable":
                self.wrong("a name was refused", reply)
            raise Gone

    async def _mend_rooms(self, reply: Frame) -> None:
        """Have the rooms be those that are wanted: something of that may not have come through."""
        there = {room["roomId"] for room in reply["rooms"]}
        for view in list(self.rooms.views.values()):
            if view.is_wanted and view.room_id not in there:
                self._missed(view)
            if view.is_wanted and not view.is_seated:
                await self._enter(view.room_id)
            elif view.room_id in there and not view.is_wanted:
                await self._step("leave_room", view.room_id)

    def _missed(self, view: RoomView) -> None:
        """A resume has not brought a room back."""
        rooms = self._around.book.rooms
        if view.is_seated and rooms.may_be_kicked(view.room_id, self.user, self.away_since or 0.0):
            view.is_wanted = False
        elif view.is_seated and rooms.has_sat(view.room_id, self.name, time.monotonic()):
            self.wrong(f"was in {view.room_id} and is not any more")
        self.left_room(view.room_id)

    @abstractmethod
    def is_lost(self, asked: Asked) -> None:
        """An answer is not there any more: whoever waits for its end has it."""

    @abstractmethod
    def left_room(self, room_id: str) -> None:
        """The client is in a room no more, and shown nothing of it."""

    def _note_absence(self) -> None:
        """Who was away for longer than the window may find his answers stopped."""
        now = time.monotonic()
        if now - (self.away_since or now) > self._around.window - 2:
            for pending in self._pending.values():
                if pending.asked is not None:
                    pending.asked.may_stop = True

    def _resumed(self, reply: Frame) -> None:
        book = self._around.book
        self.rooms.client_id = reply["clientId"]
        there = {room["roomId"] for room in reply["rooms"]}
        for room in reply["rooms"]:
            self.rooms.joined(room)
            self.screen.shown_room(room)
        for status in reply["streams"]:
            view = self.screen.views.get(status["streamId"])
            asked = book.answers.get(status["streamId"])
            if status["state"] == "gone" and view is not None and asked is not None:
                view.end()
                self.is_lost(asked)
                # It may have left: the reply to that was lost, with the connection.
                is_elsewhere = asked.room_id is not None and asked.room_id not in there
                has_left = is_elsewhere and asked.user != self.user
                if not has_left and not book.may_have_lost(asked):
                    self.wrong("an answer is gone", asked, status)

    def _refused_resume(self, reply: Frame) -> None:
        """Only who was away for too long may be told that he was."""
        book = self._around.book
        away = time.monotonic() - (self.away_since or self._last_frame)
        book.errors[reply["code"]] += 1
        if reply["code"] == "resume_expired":
            is_known = self._is_known or self._present > UNKNOWN_FOR
            lost_lately = book.has_lost(time.monotonic() - max(away, LOST_LATELY))
            if is_known and away < self._around.window - 1.0 and not lost_lately:
                self.wrong(f"was away for {away:.1f} s only", reply)
        elif reply["code"] not in ("store_unavailable", "draining"):
            self.wrong("a resume was refused", reply)

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
            self.take(frame)

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
