"""What people do on a client, and what becomes of what they asked for."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from websockets.exceptions import WebSocketException

from scripts.chaos.book import EXCUSES, Asked, Frame
from scripts.chaos.client import Client
from scripts.chaos.room_book import Said
from scripts.chaos.screen import View
from scripts.chaos.surroundings import Gone, Pending, Surroundings
from tests.support.invariants import STREAM_TERMINALS
from wsserver_protocol.replies import REPLIES

SAY_AGAIN_SECONDS = 0.5


class Device(Client):
    """A client in somebody's hands."""

    def __init__(self, around: Surroundings, user: str, name: str, rng: random.Random) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        super().__init__(around, user, name, rng)

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

    async def watch(self, stream_id: str) -> View:
        """Look at an answer of another client of this user."""
        is_new = stream_id not in self.screen.views
        view = self.screen.view(stream_id)
        if is_new:
            await self._look_again(view)
        return view

    async def enter(self, room_id: str) -> None:
        """Go into a room, and stay there."""
        self.rooms.view(room_id).is_wanted = True
        if self._is_greeted.is_set():  # else the next connection asks for it
            with suppress(Gone):
                await self._enter(room_id)

    async def leave(self, room_id: str) -> None:
        """Leave a room on purpose."""
        self.rooms.view(room_id).is_wanted = False
        self._around.book.rooms.leaves(room_id, self.name)
        if self._is_greeted.is_set():
            with suppress(Gone):
                await self._step("leave_room", room_id)

    async def say(self, said: Said) -> None:
        """Say something in a room, under one requestId until it is in the log, or can't be."""
        while True:
            fields: Frame = {"requestId": said.request_id, "roomId": said.room_id}
            reply = await self.ask("room_message", text=said.text, **fields)
            said.reply = reply
            code = reply.get("code", "")
            if code not in EXCUSES:
                break
            self._around.book.errors[code] += 1
            await asyncio.sleep(SAY_AGAIN_SECONDS)
        if code == "not_in_room":
            rooms = self._around.book.rooms
            if rooms.has_sat(said.room_id, self.name, said.began):
                self.wrong("is in the room, and may not talk", said, reply)
        elif code:
            self.wrong("may not talk", said, reply)

    def left_room(self, room_id: str) -> None:
        self.rooms.out(room_id)
        for view in self.screen.open:
            if view.room_id != room_id:
                continue
            asked = self._around.book.answers.get(view.stream_id)
            if asked is not None and (asked.device == self.name or self._waits_for(asked)):
                self._look_later(view)  # leaving ends one's view of one's own answers, too
            else:
                view.end()

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
        for room in self.rooms.views.values():
            self._around.book.rooms.leaves(room.room_id, self.name)
        for pending in self._pending.values():
            pending.reply.set_exception(Gone())
        self._pending.clear()
        if self._socket is not None:
            self._socket.transport.abort()

    def complain(self) -> None:
        """Tell of every request and every answer that has had no end."""
        book = self._around.book
        for pending in self._pending.values():
            self.wrong("waits for ever", pending.asked or pending.fields)
        for view in self.screen.open:
            asked = book.answers.get(view.stream_id)
            # One that Redis lost and that was asked again goes on for who watches it.
            if asked is None or asked.stream_id == view.stream_id:
                self.wrong(f"waits for the end of {view}", asked)

    def take(self, frame: Frame) -> None:
        if frame.get("requestId") in self._rules.stops:
            return  # the reply to a stop: it tells an end besides the view of that answer
        kind, request_id = frame["type"], frame.get("requestId", "")
        self._take_room(kind, request_id, frame)
        self.screen.take(frame)
        if kind in STREAM_TERMINALS:
            self._settle_others(frame)
        if kind == "error" and request_id in self._looks:
            self._refused_look(self._looks.pop(request_id), frame)
        pending = self._pending.get(request_id)
        if pending is None:
            return
        if kind == "stream_start" and pending.asked is not None:
            pending.has_started = True
            former = pending.asked.stream_id
            self._around.book.started(pending.asked, frame)
            if former not in (None, pending.asked.stream_id) and former in self.screen.views:
                self.screen.view(former).end()  # lost, and run again
        elif kind in REPLIES[pending.fields["type"]].terminal:
            self._settle(pending, frame)

    def _take_room(self, kind: str, request_id: str, frame: Frame) -> None:
        """Mind rooms: entered, left, thrown out, or refused."""
        room_id = self._steps.pop(request_id, None)
        was_there = {view.room_id for view in self.rooms.views.values() if view.is_seated}
        self.rooms.take(frame)
        if kind == "room_joined":
            self.screen.shown_room(frame)
            self._look_at_ended(frame)
            view = self.rooms.view(frame["roomId"])
            if not view.is_wanted:  # thought better of it meanwhile
                self._spawn_step(lambda: self._step("leave_room", view.room_id), 0.0)
        elif kind == "error" and room_id is not None:
            self._refused_step(room_id, frame)
        elif was_there - {view.room_id for view in self.rooms.views.values() if view.is_seated}:
            self.left_room(frame["roomId"])

    def _look_at_ended(self, room: Frame) -> None:
        """What was open here and is made no more: its end can be looked at."""
        running = {active["streamId"] for active in room["activeStreams"]}
        for view in self.screen.open:
            if view.room_id == room["roomId"] and view.stream_id not in running:
                self._look_later(view)

    def _refused_step(self, room_id: str, frame: Frame) -> None:
        """Entering or leaving was refused: it is tried again, if it still has to be."""
        code, view = frame["code"], self.rooms.view(room_id)
        self._around.book.errors[code] += 1
        if code not in EXCUSES and code != "not_in_room":
            self.wrong(f"can't enter or leave {room_id}", frame)
        elif view.is_wanted and not view.is_seated:
            self._spawn_step(lambda: self._enter(room_id), 0.5)
        elif view.is_seated and not view.is_wanted:
            if code == "not_in_room":
                self.left_room(room_id)
            else:
                self._spawn_step(lambda: self._step("leave_room", room_id), 0.5)

    def _spawn_step(self, step: Callable[[], Awaitable[None]], seconds: float) -> None:
        connection = self.connections

        async def take() -> None:
            await asyncio.sleep(seconds)
            if self.connections == connection and self._is_greeted.is_set():
                with suppress(Gone):
                    await step()

        self._later(take())

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _waits_for(self, asked: Asked) -> bool:
        """Whether this client has asked for it, too, under the same id."""
        return any(pending.asked is asked for pending in self._pending.values())

    def _settle_others(self, frame: Frame) -> None:
        """Who repeated another client's request is, after a resume, one who watches: no requestId
        comes with its end."""
        stream_id = frame.get("streamId")
        for pending in list(self._pending.values()):
            if stream_id is not None and pending.asked and pending.asked.stream_id == stream_id:
                self._settle(pending, frame)

    def _refused_look(self, view: View, frame: Frame) -> None:
        """A `watch_stream` was refused: it is tried again, unless the answer is not there."""
        book = self._around.book
        book.errors[frame["code"]] += 1
        if frame["code"] not in EXCUSES:
            asked = book.answers.get(view.stream_id)
            if asked is None or not (
                book.may_have_lost(asked) or asked.is_empty or self._is_foreign(asked)
            ):
                self.wrong("can't look at an answer", asked, frame)
            view.end()
            if asked is not None:
                self.is_lost(asked)
            return
        self._look_later(view)

    def _is_foreign(self, asked: Asked) -> bool:
        """Whether an answer is another's, and of a room where this client may not be any more."""
        rooms = self._around.book.rooms
        is_in = asked.room_id and rooms.has_sat(asked.room_id, self.name, time.monotonic())
        return asked.user != self.user and not is_in

    def is_lost(self, asked: Asked) -> None:
        for pending in list(self._pending.values()):
            if pending.asked is asked:
                del self._pending[asked.request_id]
                if not pending.reply.done():
                    pending.reply.set_result({"type": "error", "code": "stream_not_found"})

    def _settle(self, pending: Pending, frame: Frame) -> None:
        del self._pending[pending.fields["requestId"]]
        asked, book = pending.asked, self._around.book
        if asked is not None and asked.kind == "generate":
            book.generated(asked, frame)
        elif asked is not None and asked.stream_id is None:
            book.refused(asked, frame)
        elif asked is not None and not book.is_excused(asked, frame):
            self.wrong("a repeat was refused", asked, frame)
        if asked is not None and asked.stream_id in self.screen.views and "code" in frame:
            self._look_later(self.screen.view(asked.stream_id))  # the repeat was refused, not it
        if not pending.reply.done():
            pending.reply.set_result(frame)

    def _look_later(self, view: View) -> None:
        loop = asyncio.get_running_loop()
        if not view.is_ended:
            loop.call_later(0.5, lambda: loop.create_task(self._look_again(view)))


def _resume_reading(transport: Any) -> None:
    if not transport.is_closing():
        transport.resume_reading()
