"""What one client has on its screen: its answers, put together by offsets alone.

WIRE's rules and nothing else: a piece begins where the text so far ends, a step back is announced
(`stream_rewind`), all text comes before the end, and the end is told once. What breaks them is a
violation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from scripts.chaos.book import Book, Frame
from scripts.chaos.recovery import Recoveries
from scripts.chaos.room_screen import RoomScreen
from tests.support.invariants import STREAM_TERMINALS

TEXT = ("stream_token", "stream_snapshot", "stream_rewind")


@dataclass(slots=True)
class View:
    """One answer as this client has it.

    Attributes:
        room_id: The room in which it is made.
    """

    stream_id: str
    room_id: str = ""
    have: int = 0
    state: str = "unseen"
    is_ended: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self) -> None:
        """There is no more to come."""
        self.is_ended = True
        self.over.set()

    def begin_again(self) -> None:
        """There is more to come: a snapshot, from wherever it begins."""
        self.is_ended = False
        self.over.clear()


class Screen:
    """The answers of one client, over all its connections.

    Args:
        book: Where texts and ends are compared.
        recoveries: Told of each piece of text.
        rooms: Of the same client: they show their answers unasked.
        wrong: Takes violations.
    """

    def __init__(
        self, book: Book, recoveries: Recoveries, rooms: RoomScreen, wrong: Callable[..., None]
    ) -> None:
        self.views: dict[str, View] = {}
        self._book = book
        self._recoveries = recoveries
        self._rooms = rooms
        self._wrong = wrong

    def view(self, stream_id: str) -> View:
        """The view of an answer, from now on."""
        return self.views.setdefault(stream_id, View(stream_id))

    @property
    def open(self) -> list[View]:
        """Views of what has not ended."""
        return [view for view in self.views.values() if not view.is_ended]

    def shown_room(self, room: Frame) -> None:
        """The answers that a room is getting are shown from their beginnings, unless they are
        followed on this connection already."""
        for entry in room["messages"]:
            self._book.heard_question(entry.get("text", ""), entry.get("streamId"))
        for active in room["activeStreams"]:
            view = self.view(active["streamId"])
            view.room_id = room["roomId"]
            if view.is_ended:
                view.begin_again()

    def take(self, frame: Frame) -> None:
        """Take in what has come."""
        kind, stream_id = frame["type"], frame.get("streamId")
        if stream_id is None or kind == "room_message":
            return
        if kind in ("stream_start", "stream_snapshot") and self._rooms.shows(frame):
            self._open_in_room(frame)
        if kind == "stream_start":
            view = self.view(stream_id)
            view.have, view.state = 0, "begun"  # it is told from its beginning
        elif kind in STREAM_TERMINALS and stream_id in self.views:
            self._take_end(self.views[stream_id], frame)
        elif kind in TEXT and stream_id not in self.views:
            self._wrong("was sent text that it did not ask for", frame)
        elif kind == "stream_rewind":
            view = self.views[stream_id]
            view.have = min(view.have, frame["offset"])
            self._book.counts["rewinds"] += 1
        elif kind in TEXT:
            self._take_text(self.views[stream_id], frame)

    def _open_in_room(self, frame: Frame) -> None:
        """A room shows an answer, from wherever it likes."""
        self._book.heard_question(frame.get("prompt", ""), frame["streamId"])
        if (asked := self._book.answers.get(frame["streamId"])) is not None:
            asked.has_begun = True
        view = self.view(frame["streamId"])
        view.room_id = frame["roomId"]
        if view.is_ended:
            view.begin_again()
        view.have = min(view.have, frame.get("fromOffset", 0))

    def _take_text(self, view: View, frame: Frame) -> None:
        data = frame["token" if frame["type"] == "stream_token" else "text"].encode()
        begin = frame["offset"] - len(data)
        view.state = frame.get("state", view.state)
        if begin != view.have:
            self._wrong(f"{begin} after {view.have} in {view.stream_id}", frame)
        self._book.text(view.stream_id, begin, data)
        if frame["offset"] > view.have:
            self._recoveries.progress(self, view.stream_id)
        view.have = frame["offset"]

    def _take_end(self, view: View, frame: Frame) -> None:
        book, stream_id = self._book, view.stream_id
        asked = book.answers.get(stream_id)
        if frame["type"] == "stream_error" and frame.get("code") == "stream_not_found":
            if asked is not None and not book.may_have_lost(asked):
                self._wrong("not found", asked, frame)
        elif frame.get("offset", view.have) != view.have:
            self._wrong(f"the end of {stream_id} is not at {view.have}", asked, frame)
        else:
            book.ended(stream_id, frame)
        self._recoveries.progress(self, stream_id)
        view.end()
