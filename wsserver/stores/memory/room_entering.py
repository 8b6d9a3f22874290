"""How a user becomes a member of a room in memory, or a member takes another seat."""

from __future__ import annotations

from typing import Any

import msgspec

from wsserver.core.rooms import refusals
from wsserver.core.rooms.broker import Known, Seat
from wsserver.core.rooms.changes import Change, Entered, Origin, Ranked, Stated
from wsserver.core.rooms.rights import higher, moderates
from wsserver.stores.memory.room_state import MemberState, RoomState
from wsserver_protocol.fields import Access, Role


def require_entry(room: RoomState, seat: Seat, invite: str | None, invited: Role | None) -> None:
    """Raises the reason why this user may not become a member."""
    settings, known = room.settings, room.roles.get(seat.user_key)
    if settings.locked and not (known is not None and moderates(known)):
        raise refusals.locked()
    if settings.access is Access.INVITED and known is None and invited is None:
        raise refusals.not_invited(had_invite=invite is not None)
    if settings.max_members is not None and len(room.members) >= settings.max_members:
        raise refusals.full(settings.max_members)


def enter(
    room: RoomState,
    seat: Seat,
    state: dict[str, Any] | None,
    invited: Role | None,
    known: Known | None,
) -> tuple[MemberState, Entered]:
    """A new member, with no seat yet."""
    remembered = room.roles.get(seat.user_key)
    if invited is not None:
        remembered = room.roles[seat.user_key] = higher(remembered or invited, invited)
    if remembered is None and known is not None:
        remembered = room.roles[seat.user_key] = known.role
    role = remembered or Role.MEMBER
    if known is None and not room.members and not room.emptied_at:
        role = room.roles[seat.user_key] = Role.OWNER
    member = MemberState(seat.user_key, seat.user_id, seat.name, role, state or {})
    room.members[seat.user_key] = member
    shown = member.shown()
    change = Entered(
        member=msgspec.structs.replace(shown, client_ids=(seat.client_id,)),
        participants=len(room.members),
        origin=Origin(seat.client_id),
    )
    return member, change


def join_again(
    room: RoomState,
    member: MemberState,
    seat: Seat,
    state: dict[str, Any] | None,
    rename: bool,
    invited: Role | None,
) -> list[Change]:
    """What another join of a member changes."""
    told: list[Change] = []
    is_other = (rename and seat.name != member.name) or (
        state is not None and state != member.state
    )
    if rename:
        member.name = seat.name
    if state is not None:
        member.state = state
    if is_other:
        told.append(stated(room, member, Origin(seat.client_id)))
    if invited is not None:
        role = higher(member.role, invited)
        room.roles[member.user_key] = role
        if role is not member.role:
            member.role = role
            told.append(
                Ranked(user_key=member.user_key, user_id=member.user_id, role=role, by="server")
            )
    return told


def invited_as(room: RoomState | None, invite: str | None, now: int) -> Role | None:
    """The role that an invite gives at a time, in milliseconds since the epoch."""
    if room is None or invite is None:
        return None
    found = room.invites.get(invite)
    return found.role if found is not None and found.expires_at > now else None


def stated(room: RoomState, member: MemberState, origin: Origin) -> Stated:
    """A member's state as it is now."""
    return Stated(member=member.shown(), participants=len(room.members), origin=origin)
