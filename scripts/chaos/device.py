"""What people do on a client, and what becomes of what they asked for."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from websockets.exceptions import WebSocketException

from scripts.chaos.book import EXCUSES, Asked, Frame
from scripts.chaos.client import Client, Gone, Pending
from scripts.chaos.screen import View
from tests.support.invariants import STREAM_TERMINALS
from wsserver_protocol.replies import REPLIES


class Device(Client):
    """A client in somebody's hands."""

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

    def take(self, frame: Frame) -> None:
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
            if asked is None or not (book.may_have_lost(asked) or asked.is_empty):
                self._wrong("can't look at an answer", asked, frame)
            view.end()
            return
        self._look_later(view)

    def _settle(self, pending: Pending, frame: Frame) -> None:
        del self._pending[pending.fields["requestId"]]
        asked, book = pending.asked, self._around.book
        if asked is not None and asked.kind == "generate":
            book.generated(asked, frame)
        elif asked is not None and asked.stream_id is None:
            book.refused(asked, frame)
        elif asked is not None and frame.get("code", "store_unavailable") not in EXCUSES:
            self._wrong("a repeat was refused", asked, frame)
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
