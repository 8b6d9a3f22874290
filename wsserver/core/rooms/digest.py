"""Presence of a big room, joined up: who came, who left, whose state changed, three times a second.

In a room of a thousand, each coming told to everyone at once would be a million frames for a
thousand arrivals. So in rooms of more than `BIG` members changes are gathered, and what cancels
out (came and left again) is never told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from wsserver.core.rooms.changes import Entered, Left, Stated
from wsserver_protocol.codec import Encoding, encode
from wsserver_protocol.events import Member, RoomPresence

BIG = 100
"""Members from which on changes are joined up."""

EVERY = 0.3
"""Seconds over which they are."""

FRAME_BYTES = 512 * 1024
"""Members of one frame take at most so much as JSON: a frame is at most 1 MiB."""


class PresenceDigest:
    """Gathers one room's changes, and tells them.

    Args:
        room_id: The room.
        tell: Sends an event to everyone who is there.
    """

    def __init__(self, room_id: str, tell: Callable[[RoomPresence], None]) -> None:
        self._room_id = room_id
        self._tell = tell
        self._joined: dict[str, Member] = {}  # by userId
        self._changed: dict[str, Member] = {}
        self._left: dict[str, None] = {}
        self._participants = 0
        self._timer: asyncio.TimerHandle | None = None

    def takes(self, participants: int) -> bool:
        """Whether a change is to be gathered: the room is big, or changes before it wait."""
        return participants > BIG or self._timer is not None

    def add(self, change: Entered | Left | Stated) -> None:
        """Gather a change."""
        user_id, member = change.member.user_id, change.member
        match change:
            case Entered():
                if user_id in self._left:  # it was there when this was last told
                    del self._left[user_id]
                    self._changed[user_id] = member
                else:
                    self._joined[user_id] = member
            case Left():
                self._changed.pop(user_id, None)
                if self._joined.pop(user_id, None) is None:
                    self._left[user_id] = None
            case Stated():
                known = self._joined if user_id in self._joined else self._changed
                known[user_id] = member
        self._participants = change.participants
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY, self._flush)

    def close(self) -> None:
        """Nobody is there to be told any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        self._timer = None
        left = tuple(self._left)
        joined, changed = list(chunks(self._joined.values())), list(chunks(self._changed.values()))
        self._joined.clear()
        self._changed.clear()
        self._left.clear()
        while joined or changed or left:
            event = RoomPresence(
                room_id=self._room_id,
                joined=joined.pop(0) if joined else None,
                changed=changed.pop(0) if changed and not joined else None,
                left=left or None,
                participants=self._participants,
            )
            left = ()
            self._tell(event)


def chunks(members: Iterable[Member], size: int = FRAME_BYTES // 2) -> Iterator[tuple[Member, ...]]:
    """Members in pieces of at most ``size`` bytes as JSON, and at least one each."""
    chunk: list[Member] = []
    left = size
    for member in members:
        taken = len(encode(member, Encoding.JSON))
        if chunk and taken > left:
            yield tuple(chunk)
            chunk, left = [], size
        chunk.append(member)
        left -= taken
    if chunk:
        yield tuple(chunk)
