"""What was said, asked and done in rooms, and whether a member may be shown what he is: the judge.

Each room has one log. Whatever any member is told of an entry, by an event, a replay or a page, is
a fact about it; facts about one entry agree. And the harness knows who sits in which room without
doubt: someone who has been let in, and has not begun to leave, been thrown out, or stayed away for
about as long as his place is kept.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Frame = dict[str, Any]

MENDED_WITHIN = 65.0
"""Seconds after a loss in which a room may be shown anew, and again: each process finds out itself,
at the next change or when it looks after a minute. What is so in the end is not excused by this."""

COMPARED = ("role", "messageId", "text", "userId", "clientId", "name", "streamId", "timestamp")

RULES = ("queue", "steer", "parallel", "reject")
"""What a question does while another one is answered, by the number of the room."""


@dataclass(slots=True)
class Said:
    """Something that somebody says, under one requestId however often it is sent.

    Attributes:
        reply: What its sender was told.
        is_given_up: Nobody waits for the reply any more.
    """

    request_id: str
    room_id: str
    user: str
    text: str
    reply: Frame | None = None
    is_given_up: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def is_logged(self) -> bool:
        return self.reply is not None and self.reply["type"] == "room_message"


@dataclass(slots=True)
class Stay:
    """A time for which one client sits in a room without doubt."""

    device: str
    user: str
    begun: float
    away_since: float | None = None
    ended: float | None = None


@dataclass(slots=True)
class Fact:
    """What is known of an entry, and since when."""

    entry: Frame
    since: float


@dataclass(slots=True)
class Kick:
    """A try to throw a user out: it may happen from its beginning until it is known to be over."""

    began: float
    over: float | None = None

    def end(self) -> None:
        """It has happened by now, or will not."""
        self.over = time.monotonic()


class RoomBook:
    """The rooms of a run.

    Args:
        wrong: Takes violations.
        has_lost: Whether Redis has lost data since a time.
        window: Seconds for which a place is kept.
    """

    def __init__(
        self, wrong: Callable[..., None], has_lost: Callable[[float], bool], window: float
    ) -> None:
        self.said: dict[str, Said] = {}  # by text
        self.facts: dict[tuple[str, str], dict[int, Fact]] = defaultdict(dict)
        self.entries_compared = 0
        self._logs: dict[str, tuple[str, str]] = {}  # roomId and epoch by streamId
        self._wrong = wrong
        self._has_lost = has_lost
        self._window = window
        self._stays: dict[str, list[Stay]] = defaultdict(list)
        self._kicks: dict[tuple[str, str], list[Kick]] = defaultdict(list)

    def has_lost(self, since: float) -> bool:
        """Whether what was so at some time may be otherwise now, since Redis has lost data."""
        return self._has_lost(since - MENDED_WITHIN)

    def rule(self, room_id: str) -> str:
        """The ``whenBusy`` that a room is given by whoever makes it."""
        return RULES[int(room_id.rpartition("-")[2]) % len(RULES)]

    def fact(self, room_id: str, epoch: str, entry: Frame) -> None:
        """Somebody was told (some of) an entry of a log."""
        self.entries_compared += 1
        fact = self.facts[room_id, epoch].setdefault(entry["seq"], Fact({}, time.monotonic()))
        told = {name: entry[name] for name in COMPARED if name in entry}
        if any(fact.entry.get(name, value) != value for name, value in told.items()):
            if not self.has_lost(fact.since):
                self._wrong(f"two entries {entry['seq']} of {room_id}", fact.entry, "and", entry)
            fact.entry.clear()
            fact.since = time.monotonic()
        fact.entry.update(told)

    def is_in_log(self, stream_id: str, room_id: str, epoch: str) -> bool:
        """Whether an answer has its places in this log, as it was when it was first seen."""
        return self._logs.setdefault(stream_id, (room_id, epoch)) == (room_id, epoch)

    # Who sits where.

    def sits(self, room_id: str, device: str, user: str) -> None:
        """A client is in a room: it was told so."""
        stay = self._stay(room_id, device)
        if stay is None:
            self._stays[room_id].append(Stay(device, user, time.monotonic()))
        else:
            stay.away_since = None

    def away(self, device: str, since: float) -> None:
        """A client has lost its connection."""
        for stays in self._stays.values():
            for stay in stays:
                if stay.device == device and stay.ended is None and stay.away_since is None:
                    stay.away_since = since

    def leaves(self, room_id: str, device: str) -> None:
        """A client begins to leave, or has been told that it is out."""
        stay = self._stay(room_id, device)
        if stay is not None:
            stay.ended = self._until(stay)

    def kick(self, room_id: str, user: str) -> Kick:
        """A user is about to be thrown out."""
        for stay in self._stays[room_id]:
            if stay.user == user and stay.ended is None:
                stay.ended = self._until(stay)
        kick = Kick(time.monotonic())
        self._kicks[room_id, user].append(kick)
        return kick

    def may_be_kicked(self, room_id: str, user: str, since: float = 0.0) -> bool:
        """Whether a user may have been thrown out after some time."""
        kicks = self._kicks[room_id, user]
        return any(kick.over is None or kick.over >= since for kick in kicks)

    def has_sat(self, room_id: str, device: str, since: float) -> bool:
        """Whether a client has been in a room without a doubt, from some time until now."""
        stay = self._stay(room_id, device)
        return stay is not None and stay.begun <= since and self._until(stay) >= time.monotonic()

    def may_have_been_empty(self, room_id: str, since: float) -> bool:
        """Whether at some time since then nobody was there for certain."""
        covered = since
        for stay in sorted(self._stays[room_id], key=lambda stay: stay.begun):
            if stay.begun <= covered:
                covered = max(covered, self._until(stay))
        return covered < time.monotonic()

    def _stay(self, room_id: str, device: str) -> Stay | None:
        for stay in reversed(self._stays[room_id]):
            if stay.device == device and stay.ended is None:
                if self._until(stay) < time.monotonic():
                    stay.ended = self._until(stay)  # it may have been given up meanwhile
                    return None
                return stay
        return None

    def _until(self, stay: Stay) -> float:
        if stay.ended is not None:
            return stay.ended
        now = time.monotonic()
        return now if stay.away_since is None else min(now, stay.away_since + self._window - 2)
