"""Rooms as Redis keeps them, and back: members, settings, entries, changes, replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from wsserver.core.rooms.changes import (
    Asked,
    Change,
    Configured,
    Draft,
    Entered,
    Left,
    Logged,
    OpenAsk,
    Origin,
    Ranked,
    Stated,
    Withdrawn,
)
from wsserver_protocol.events import Member, RoomEntry
from wsserver_protocol.fields import Role
from wsserver_protocol.requests import RoomSettings


class StoredMember(msgspec.Struct, frozen=True):
    """A member, as scripts have it."""

    id: str
    name: str
    role: Role
    state: str  # JSON
    seats: tuple[tuple[str, str, int], ...]  # clientId, node, the client's last take

    def shown(self) -> Member:
        return Member(
            user_id=self.id,
            name=self.name,
            role=self.role,
            state=msgspec.json.decode(self.state),
            client_ids=tuple(client_id for client_id, _, _ in self.seats),
        )


class StoredAsk(msgspec.Struct, frozen=True):
    """An open ask, as scripts have it."""

    stream: str
    client: str
    model: str
    seq: int
    node: str

    def shown(self) -> OpenAsk:
        return OpenAsk(
            stream_id=self.stream, client_id=self.client, model_id=self.model, seq=self.seq
        )


class Moved(NamedTuple):
    """A seat is another node's now, or ("") nobody's. Nobody is told."""

    client_id: str
    node: str


class Told(NamedTuple):
    """A change in its place."""

    epoch: str
    place: int
    before: str  # the mark of the change before
    mark: str
    change: Change | Moved | None  # None: nothing that anyone is told
    node: str = ""  # of an ask: whose it is


class Granted(NamedTuple):
    """A reply to a step that was not refused."""

    epoch: str
    place: int
    mark: str
    news: list[Told]
    rest: list[Any]


member_of = msgspec.json.Decoder(StoredMember).decode
ask_of = msgspec.json.Decoder(StoredAsk).decode
settings_of = msgspec.json.Decoder(RoomSettings).decode
_origin = msgspec.json.Decoder(Origin).decode
_said = msgspec.msgpack.Decoder(tuple[str, Draft]).decode
_item = msgspec.msgpack.Decoder(list[bytes]).decode


def blob_of(message_id: str, draft: Draft) -> bytes:
    """An entry without its time and its seq."""
    return msgspec.msgpack.encode((message_id, draft))


def entry_of(item: bytes) -> RoomEntry:
    """An entry of the log."""
    message_id, draft = _said(item[30:])
    return RoomEntry(
        seq=int(item[15:30]),
        message_id=message_id,
        role=draft.role,
        client_id=draft.client_id,
        user_id=draft.user_id,
        name=draft.name,
        text=draft.text,
        data=draft.data,
        stream_id=draft.stream_id,
        continues=draft.continues,
        timestamp=int(item[:15]),
    )


def origin_text(origin: Origin | None) -> bytes:
    """Where a change comes from, for its event."""
    return b"" if origin is None else msgspec.json.encode(origin)


def state_text(state: dict[str, Any] | None) -> bytes:
    """A presence state; nothing where none is given."""
    return b"" if state is None else msgspec.json.encode(state)


def settings_pairs(settings: RoomSettings) -> list[tuple[str, bytes]]:
    """Names and values of the settings that are given; no value where it is taken away."""
    raw: dict[str, msgspec.Raw] = msgspec.json.decode(
        msgspec.json.encode(settings), type=dict[str, msgspec.Raw]
    )
    return [(name, bytes(value).removeprefix(b'""')) for name, value in raw.items()]


def granted_of(reply: Sequence[Any]) -> Granted:
    """What ``ok()`` of the scripts returns."""
    _, epoch, place, mark, news, *rest = reply
    return Granted(epoch.decode(), place, mark.decode(), [told_of(item) for item in news], rest)


def told_of(data: bytes) -> Told:
    """A change, as a bell says it."""
    epoch, place, before, mark, kind, origin, *parts = _item(data)
    node = ask_of(parts[0]).node if kind == b"asked" else ""
    return Told(
        epoch.decode(),
        int(place),
        before.decode(),
        mark.decode(),
        _change(kind, _origin(origin) if origin else None, parts),
        node,
    )


def _change(kind: bytes, origin: Origin | None, parts: list[bytes]) -> Change | Moved | None:
    match kind:
        case b"logged":
            return Logged(entry=entry_of(parts[0]), origin=origin)
        case b"asked":
            return Asked(
                ask=ask_of(parts[0]).shown(),
                entry=entry_of(parts[1]) if parts[1] else None,
                steered=tuple(parts[2].decode().split()),
                origin=origin,
            )
        case b"configured":
            return Configured(settings=settings_of(parts[0]), by=parts[1].decode(), origin=origin)
        case b"ranked":
            user_key, user_id, role, by = (part.decode() for part in parts)
            given = Role(role) if role else None
            return Ranked(user_key=user_key, user_id=user_id, role=given, by=by, origin=origin)
        case b"withdrawn":
            return Withdrawn(stream_id=parts[0].decode())
        case b"moved":
            return Moved(parts[0].decode(), parts[1].decode())
        case b"entered" | b"stated" | b"left":
            return _presence(kind, origin, parts)
    return None


def _presence(kind: bytes, origin: Origin | None, parts: list[bytes]) -> Change:
    if kind == b"left":
        member, participants = member_of(parts[1]).shown(), int(parts[2])
        return Left(
            user_key=parts[0].decode(),
            user_id=member.user_id,
            client_ids=member.client_ids,
            participants=participants,
            reason=parts[3].decode(),
            member=member,
            origin=origin,
        )
    member, participants = member_of(parts[0]).shown(), int(parts[1])
    if kind == b"entered":
        return Entered(member=member, participants=participants, origin=origin)
    return Stated(member=member, participants=participants, origin=origin)
