"""What one client has on its screen of its rooms: members and logs, by WIRE's rules alone.

A log is joined by ``seq``: what people say comes in order and once; questions and answers show
their places in the events of their streams, and may lag behind. Who comes and who goes is told
once. What breaks these rules is a violation.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from scripts.chaos.room_book import Frame, RoomBook
from tests.support.invariants import STREAM_TERMINALS

NOT_OF_THE_ENTRY = ("type", "requestId", "roomId")
"""Fields of a `room_message` that its entry does not have."""


@dataclass(slots=True)
class RoomView:
    """One room as this client has it.

    Attributes:
        is_wanted: The client wants to be there.
        is_seated: It has been told that it is.
        first: ``seq`` that its copy of the log begins with.
        have: ``seq`` up to which nothing is missing in it.
        live: The last ``seq`` that was said, or known at entering.
        members: userIds.
        told_at: When it was last shown the room: what Redis lost before is mended.
    """

    room_id: str
    is_wanted: bool = False
    is_seated: bool = False
    epoch: str = ""
    first: int = 1
    have: int = 0
    live: int = 0
    role: str = ""
    told_at: float = 0.0
    entries: dict[int, Frame] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)

    @property
    def position(self) -> Frame:
        """Up to where the client has the log."""
        return {"epoch": self.epoch, "seq": self.have}

    def add(self, entry: Frame) -> None:
        """Note what was told of an entry."""
        self.entries.setdefault(entry["seq"], {}).update(entry)
        while self.have + 1 in self.entries:
            self.have += 1

    def begin(self, epoch: str, seq: int, entries: list[Frame]) -> None:
        """Begin anew with the newest page."""
        self.epoch = epoch
        self.entries = {}
        self.live = 0
        self.first = entries[0]["seq"] if entries else seq + 1
        self.have = self.first - 1

    def moderates(self) -> bool:
        """Whether its user runs the room."""
        return self.is_seated and self.role in ("owner", "moderator")


class RoomScreen:
    """The rooms of one client, over all its connections.

    Args:
        book: Where logs are compared.
        device: The client's name in the harness.
        user: Its user.
        wrong: Takes violations.

    Attributes:
        client_id: Its present id on the server.
    """

    def __init__(self, book: RoomBook, device: str, user: str, wrong: Callable[..., None]) -> None:
        self.views: dict[str, RoomView] = {}
        self.client_id = ""
        self._book = book
        self._device = device
        self._user = user
        self._wrong = wrong

    def view(self, room_id: str) -> RoomView:
        """The view of a room, from now on."""
        return self.views.setdefault(room_id, RoomView(room_id))

    @property
    def wanted(self) -> list[RoomView]:
        """Rooms where this client wants to be."""
        return [view for view in self.views.values() if view.is_wanted]

    @property
    def seated(self) -> list[RoomView]:
        """Rooms where it wants to be, and is."""
        return [view for view in self.views.values() if view.is_wanted and view.is_seated]

    def positions(self) -> dict[str, Frame]:
        """Where this client stands in each log that it knows."""
        return {view.room_id: view.position for view in self.wanted if view.epoch}

    def shows(self, frame: Frame) -> bool:
        """Whether a stream's event is of a room where this client is."""
        view = self.views.get(frame.get("roomId", ""))
        return view is not None and view.is_seated

    def take(self, frame: Frame) -> None:
        """Take in what has come."""
        kind = frame["type"]
        if kind == "room_joined":
            self.joined(frame)
        elif kind == "room_left":
            self.out(frame["roomId"])
        elif kind == "stream_start" or kind in STREAM_TERMINALS:
            if self.shows(frame) and frame.get("seq") is not None:
                self._of_stream(self.views[frame["roomId"]], frame)
        elif kind in _EVENTS:
            view = self.views.get(frame["roomId"])
            if view is None or not view.is_seated:
                if "requestId" not in frame:
                    self._wrong("was told of a room where it is not", frame)
                return
            _EVENTS[kind](self, view, frame)

    def joined(self, frame: Frame) -> None:
        """The client is in a room, or is shown it anew."""
        view = self.view(frame["roomId"])
        is_lost = self._book.has_lost(view.told_at)
        entries = frame["messages"]
        if view.epoch not in ("", frame["epoch"]) and not is_lost:
            self._wrong(f"another log of {view.room_id}", view.epoch, frame)
        if not frame["recovered"] and view.epoch and not is_lost:
            self._wrong(f"its log of {view.room_id} can't be gone on with", view.position, frame)
        if view.epoch != frame["epoch"] or not frame["recovered"]:
            view.begin(frame["epoch"], frame["seq"], entries)
        elif entries and entries[0]["seq"] > view.have + 1:
            self._wrong(f"a replay leaves a gap after {view.have}", frame)
        for entry in entries:
            self._compare_missed(view, entry)
            self._note(view, entry)
        if view.have != frame["seq"]:
            self._wrong(f"a log that ends at {view.have}", frame)
        view.is_seated, view.role, view.live = True, frame["role"], frame["seq"]
        view.told_at = time.monotonic()
        view.members = {member["userId"] for member in frame["members"]}
        self._count(view, frame)
        if self._user not in view.members:
            self._wrong("is not among those who are there", frame)
        self._book.sits(view.room_id, self._device, self._user)

    def out(self, room_id: str) -> None:
        """The client is in a room no more."""
        view = self.view(room_id)
        view.is_seated = False
        self._book.leaves(room_id, self._device)

    def lost(self) -> None:
        """The client has become another one, which is in no room."""
        for view in self.views.values():
            self.out(view.room_id)

    def _compare_missed(self, view: RoomView, entry: Frame) -> None:
        """What is said comes in order: a replay brings nothing that lies before what came live."""
        is_new = entry["seq"] not in view.entries
        is_talk = entry["role"] == "user" and entry.get("streamId") is None
        if view.is_seated and is_new and is_talk and entry["seq"] < view.live:
            self._wrong(f"was not told what was said before {view.live}", entry)

    def _note(self, view: RoomView, entry: Frame) -> None:
        if entry["seq"] >= view.first:
            view.add(entry)
            self._book.fact(view.room_id, view.epoch, entry)

    # Events.

    def _said(self, view: RoomView, frame: Frame) -> None:
        entry = {name: value for name, value in frame.items() if name not in NOT_OF_THE_ENTRY}
        seq = entry["seq"]
        is_reply = "requestId" in frame  # to a request that was sent again, perhaps
        if not is_reply and (seq in view.entries or seq <= view.live):
            self._wrong(f"was told {seq} of {view.room_id} after {view.live}", frame)
        view.live = max(view.live, seq)
        self._note(view, entry)

    def _of_stream(self, view: RoomView, frame: Frame) -> None:
        """A question or an answer shows its place in the log."""
        if not self._book.is_in_log(frame["streamId"], view.room_id, view.epoch):
            return  # its places are those of a log that Redis has lost
        entry = {"seq": frame["seq"], "streamId": frame["streamId"]}
        if frame["type"] == "stream_start":
            entry["role"] = "user"
            if "prompt" in frame:
                entry["text"] = frame["prompt"]
        else:
            entry["role"] = "assistant"
        self._note(view, entry)

    def _came(self, view: RoomView, frame: Frame) -> None:
        user = frame["member"]["userId"]
        if user in view.members:
            self._wrong("was told again that someone came", frame)
        view.members.add(user)
        self._count(view, frame)

    def _went(self, view: RoomView, frame: Frame) -> None:
        user = frame.get("userId", "")
        if frame["clientId"] == self.client_id:
            self._thrown_out(view, frame)
            return
        if user not in view.members:
            self._wrong("was told that someone went who was not there", frame)
        view.members.discard(user)
        self._count(view, frame)

    def _thrown_out(self, view: RoomView, frame: Frame) -> None:
        is_kicked = frame["reason"] == "kicked"
        may_be = self._book.may_be_kicked(view.room_id, self._user)
        if not (is_kicked and may_be) and not self._book.has_lost(view.told_at):
            self._wrong("was thrown out", frame)
        view.is_wanted = view.is_wanted and not is_kicked
        self.out(view.room_id)

    def _stated(self, view: RoomView, frame: Frame) -> None:
        if frame["member"]["userId"] not in view.members:
            self._wrong("was told how someone is who is not there", frame)

    def _ranked(self, view: RoomView, frame: Frame) -> None:
        if frame["userId"] == self._user:
            view.role = frame["role"]

    def _count(self, view: RoomView, frame: Frame) -> None:
        if frame["participants"] != len(view.members):
            self._wrong(f"{len(view.members)} are in the room", sorted(view.members), frame)


_EVENTS: dict[str, Callable[[RoomScreen, RoomView, Frame], None]] = {
    "room_message": RoomScreen._said,
    "room_user_joined": RoomScreen._came,
    "room_user_left": RoomScreen._went,
    "room_presence": RoomScreen._stated,
    "room_role": RoomScreen._ranked,
}
