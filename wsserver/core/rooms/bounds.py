"""How much is kept and shown of rooms, wherever they are."""

from __future__ import annotations

from dataclasses import dataclass

MEMBERS_SHOWN = 100
"""`Joined.members` holds at most this many."""

INVITES_KEPT = 100
"""Invites of a room that are good at once; with another one the oldest ends."""

BANS_KEPT = 10_000
"""Bans of a room. They do not end by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomBounds:
    """What is kept of rooms.

    Attributes:
        entries: Newest entries of a log that are kept.
        entry_seconds: Entries older than this are dropped; 0: not for their age.
        rooms: Rooms that there may be, empty ones that are kept included. One too many ends the
            one that has been empty longest, and is ``overloaded`` if there is none.
        keep_seconds: How long a room without members keeps its log, roles and settings; 0: not
            at all. Later a room of that name is a new one, with another epoch.
        repeat_seconds: For how long the id of a request is remembered after it was said.
    """

    entries: int = 1000
    entry_seconds: float = 0.0
    rooms: int = 10_000
    keep_seconds: float = 0.0
    repeat_seconds: float = 600.0
