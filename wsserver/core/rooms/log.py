"""Reading a room's log: what a client missed, pages, and what one frame holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from wsserver.core.rooms.broker import Position
from wsserver_protocol.codec import Encoding, encode
from wsserver_protocol.events import RoomEntry

REPLAY_BYTES = 512 * 1024
"""Entries of one frame hold at most so much as JSON: a frame is at most 1 MiB."""

REPLAY_PAGE = 100
"""Entries of the newest page, where a replay from a position is not possible."""


def replay(
    entries: Sequence[RoomEntry], epoch: str, seq: int, position: Position | None
) -> tuple[bool, list[RoomEntry]]:
    """What came after a position: all of it; or the newest page, and False.

    Args:
        entries: Those that are kept, oldest first, with no gap up to ``seq``.
        epoch: Of the log.
        seq: Of the log's last entry, also where it is kept no more.
        position: What the client has; None: nothing, and the newest page is what it wants.
    """
    if position is None:
        return True, as_fits(islice(reversed(entries), REPLAY_PAGE))
    oldest = entries[0].seq if entries else seq + 1
    is_known = position.epoch in (None, epoch)
    if is_known and oldest - 1 <= position.seq <= seq:
        count = seq - position.seq
        missed = as_fits(islice(reversed(entries), count))
        if len(missed) == count:
            return True, missed
    # All or nothing: a replay with a hole would look like the whole log.
    return False, as_fits(islice(reversed(entries), REPLAY_PAGE))


def page(
    entries: Sequence[RoomEntry], before: int | None, limit: int
) -> tuple[list[RoomEntry], bool]:
    """At most ``limit`` entries before ``before``, oldest first; whether others precede."""
    older = (entry for entry in reversed(entries) if before is None or entry.seq < before)
    found = as_fits(islice(older, limit))
    first = found[0].seq if found else before or 0
    return found, bool(entries) and entries[0].seq < first


def as_fits(newest_first: Iterable[RoomEntry], size: int = REPLAY_BYTES) -> list[RoomEntry]:
    """The newest entries that ``size`` bytes of JSON hold, at least one, oldest first."""
    found: list[RoomEntry] = []
    for entry in newest_first:
        size -= len(encode(entry, Encoding.JSON))
        if found and size < 0:
            break
        found.append(entry)
    return found[::-1]
