"""What a join asks for, and what it is given."""

from __future__ import annotations

import msgspec

from wsserver.core.rooms.bounds import MEMBERS_SHOWN
from wsserver.core.rooms.broker import Joined, Known, Position, Seat
from wsserver.core.rooms.changes import Origin
from wsserver.core.rooms.log import REPLAY_BYTES, REPLAY_PAGE, replay
from wsserver.stores.redis.link import Argument
from wsserver.stores.redis.rooms.format import (
    Granted,
    ask_of,
    entry_of,
    member_of,
    origin_text,
    settings_of,
    settings_pairs,
)
from wsserver_protocol.fields import Role


def entrance(
    seat: Seat, position: Position | None, known: Known | None, *, returns: bool
) -> tuple[Argument, ...]:
    """What a join says besides who enters."""
    settings: bytes = b""
    if known is not None:
        pairs = [(name, value.decode()) for name, value in settings_pairs(known.settings)]
        settings = msgspec.json.encode(pairs)
    return (
        *(("", "") if position is None else (position.seq, position.epoch or "")),
        origin_text(Origin(seat.client_id)),
        *(MEMBERS_SHOWN, REPLAY_BYTES, REPLAY_PAGE),
        "" if known is None else known.role.value,
        settings,
        seat.takes,
        int(returns),
    )


def joined(granted: Granted, position: Position | None) -> Joined:
    """A room as one who has entered sees it."""
    _, seq, participants, members, role, settings, asks, items = granted.rest
    entries = [entry_of(item) for item in items]
    recovered, shown = replay(entries, granted.epoch, seq, position)
    return Joined(
        epoch=granted.epoch,
        seq=seq,
        recovered=recovered,
        entries=tuple(shown),
        participants=participants,
        members=tuple(member_of(member).shown() for member in members),
        role=Role(role.decode()),
        settings=settings_of(settings),
        open_asks=tuple(ask_of(ask).shown() for ask in asks),
    )
