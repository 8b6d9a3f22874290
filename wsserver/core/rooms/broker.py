"""The port through which processes share their rooms: one log, one membership, one order for all.

**Shared** is everything about a room: epoch, log and ``seq``, members and their seats, roles,
settings, bans, invites, open asks. A *seat* is one client of one process; a user is a member while
it has a seat, whatever tabs. **Not shared** are connections: each process keeps which of its own
clients sit where, and sends them what `listen` tells it, encoded once.

Each method that changes something is **one atomic step** (in Redis: one script): what it checks
holds when it changes, and its changes follow each other without another's between them. Who may
do a thing is decided before, by the caller's role (`rights`), but for what only the store can
know: whether someone is banned, whether there is room, how high the other one's role is.

**What the listener may rely on:**

1. It is told of a room's changes while this process has a seat there, or an ask of its own open.
2. It is told each change once, all in the one order of the room; an entry's ``seq`` is the one
   before it plus 1. A gap (a lost message of a pub/sub) is filled from the log before more is told.
3. When a method returns, this process's listener has been told what it changed.
4. After `Broken` it is told nothing more of that room until a client of this process has joined
   again: the store lost something, and what clients have of the log may be no part of it.
5. What `join` returns is the room as the listener knows it: everything up to ``Joined.seq`` has
   been told and nothing after. It is returned without letting the loop run in between, so that a
   caller that seats its client at once neither misses nor repeats a change.

The listener only updates memory and queues frames: it never blocks and never raises.

Refusals are `WireError`\\ s with the words of `refusals`; of a store that is away,
``store_unavailable`` with nothing changed, or, where that can't be known, `refusals.InDoubt`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from wsserver.core.ask import Claim
from wsserver.core.rooms.changes import Change, Draft, OpenAsk, Origin
from wsserver_protocol.events import Member, RoomEntry, RoomSummary
from wsserver_protocol.fields import Role
from wsserver_protocol.requests import RoomSettings

Listener = Callable[[str, Change], None]
"""Told the roomId and what happened there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A client that is to sit in a room, and its user as the others see it."""

    user_key: str
    user_id: str
    name: str
    client_id: str
    takes: int = 0  # `Client.takes`; refused if it has come back elsewhere since


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Up to where a client has a room's log. ``epoch`` None: it does not know."""

    seq: int
    epoch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a process last knew of a room that it has to enter anew: the store may have lost it."""

    role: Role
    settings: RoomSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A room as one of its members sees it on entering.

    ``entries`` is what came after the position that was given, all of it, and ``recovered`` is
    true; or the newest page, where none was given (recovered) or it can't be joined (not).
    """

    epoch: str
    seq: int
    recovered: bool
    entries: tuple[RoomEntry, ...]
    participants: int
    members: tuple[Member, ...]  # in order of joining, at most MEMBERS_SHOWN
    role: Role
    settings: RoomSettings
    open_asks: tuple[OpenAsk, ...]  # in order of asking


class Opened(NamedTuple):
    """An ask that stands in its room's line."""

    seq: int  # of its entry; 0 where nothing was said
    ahead: tuple[str, ...]  # streams of the asks that were open before it, in order


class Spoken(NamedTuple):
    """What was said, in its room's log."""

    entry: RoomEntry
    is_first: bool  # False: the same request was made before, and this is told to nobody


class RoomBroker(Protocol):
    """Rooms that several processes share. One instance a process."""

    def listen(self, listener: Listener) -> None:
        """Tell changes to this one, from now on. Called once, before all else."""

    async def join(
        self,
        room_id: str,
        seat: Seat,
        *,
        state: dict[str, Any] | None = None,
        rename: bool = False,
        invite: str | None = None,
        position: Position | None = None,
        known: Known | None = None,
        returns: bool = False,
    ) -> Joined:
        """Give a client its seat in a room, made if need be. Again: the seat is this process's now.

        Atomic. A user with no seat yet becomes a member: refused if it is banned; if the room is
        locked and the user is no moderator of it; if the room is for invited ones and the user has
        neither a valid ``invite`` nor a role remembered here; or if the room is full. Its role is
        the one remembered, or the invite's if that is higher; owner of a room that was new; else
        member. An invited one's role is remembered, also for a member who is there already.
        Tells `Entered`. A user who is there is asked for nothing but not to be banned; with
        another state, or (``rename``) name, `Stated` is told; with a higher role by an invite,
        `Ranked`.

        A client that sat there until `Broken` was told gives what was ``known``: it is let in, in
        that role unless another one is remembered; and a room that has to be made has these
        settings. One that ``returns`` takes up the seat that it had, if it was not kicked since.

        Raises:
            WireError: ``forbidden``, ``room_full``, or ``overloaded`` where the room would be one
                too many; ``not_in_room`` if it ``returns`` and was kicked.
        """

    async def leave(
        self, room_id: str, user_key: str, client_id: str, reason: str, takes: int | None = None
    ) -> list[str]:
        """Take a seat away, if the client has one there, and has not come back since (``takes``).

        Atomic. With a user's last seat the member is gone: `Left` is told, once for all
        processes. If it was the last owner there, the highest of those left, of equals the one
        there longest, becomes one: `Ranked` by "server". The leaver's role is remembered. A room
        without members is forgotten, at once or after `RoomBounds.keep_seconds`.

        Returns:
            The streams that nobody is left for, of a room without members: the caller stops them,
            in whichever process they run. Not returned twice.
        """

    async def say(
        self, room_id: str, draft: Draft, origin: Origin, claim: Claim | None = None
    ) -> Spoken:
        """Add what somebody said to the log. Atomic. Tells `Logged`.

        Args:
            room_id: The room.
            draft: What was said.
            origin: Who says it.
            claim: The id that the request was given: under one id something is said once,
                whichever process is told so.

        Raises:
            WireError: ``not_in_room`` if ``origin`` has no seat there any more;
                ``duplicate_request`` if the id was used for something else in this room.
        """

    async def ask(
        self,
        room_id: str,
        ask: OpenAsk,
        draft: Draft | None,
        origin: Origin,
        *,
        is_alone: bool = False,
        steers: bool = False,
    ) -> Opened:
        """Open an ask, and add it to the log unless it continues an answer (no ``draft``).

        Atomic. Tells `Asked`. Asks stay open, in this order, until `answer`. Can be repeated.

        Args:
            room_id: The room.
            ask: The ask; its ``seq`` is given here.
            draft: What was said.
            origin: Who asks.
            is_alone: Refuse it while another ask is open.
            steers: Name all asks that are open in `Asked.steered`; who hears it stops those.

        Raises:
            WireError: ``not_in_room``; ``overloaded`` if it had to be alone.
        """

    async def answer(self, room_id: str, draft: Draft) -> RoomEntry | None:
        """Add an answer to the log and close its ask (``draft.stream_id``). Atomic. Tells `Logged`.

        Whoever ends the answer calls this, before its end is told, and again if it does not know
        whether it has: a stream has one answer, and the second call returns its entry. None if
        the room has gone, or no ask of it stands there: then nothing is added, and an ask that is
        still on its way will be refused. The room may be another one of that name by now, or have
        lost the ask; who came since would be shown an answer to nothing, or have a hole in the log.
        """

    async def withdraw(self, room_id: str, stream_id: str) -> None:
        """Close an ask that gets no answer, if it is open. Atomic. Tells `Withdrawn`."""

    async def set_state(self, room_id: str, user_key: str, state: Any, origin: Origin) -> None:
        """Replace a member's presence state. Atomic. Tells `Stated`.

        Raises:
            WireError: ``not_in_room``.
        """

    async def configure(self, room_id: str, changes: RoomSettings, by: str, origin: Origin) -> None:
        """Replace those settings that are given; an empty text takes one away. Atomic.

        Tells `Configured`.

        A room that becomes one for the invited remembers the roles of all who are there.

        Raises:
            WireError: ``not_in_room`` if ``origin`` has no seat there any more.
        """

    async def set_role(
        self,
        room_id: str,
        user_key: str,
        user_id: str,
        role: Role,
        *,
        reach: Role,
        by: str,
        origin: Origin,
    ) -> None:
        """Give a user, there or not, a role, and remember it. Atomic. Tells `Ranked`.

        Args:
            room_id: The room.
            user_key: Whom.
            user_id: Likewise, as the wire names it.
            role: The role to have.
            reach: The highest present role that the caller may change.
            by: The caller's userId.
            origin: The caller's request.

        Raises:
            WireError: ``not_in_room``; ``forbidden`` if the user's role is above ``reach``, if it
                is banned, or if the members would have no owner left among them;
                ``invalid_parameters`` (userId) if the room knows no such user.
        """

    async def kick(self, room_id: str, user_key: str, *, reach: Role, origin: Origin) -> None:
        """Take all seats of a member away, and forget its role. Atomic. Tells `Left`, "kicked".

        Raises:
            WireError: ``not_in_room``; ``forbidden`` if its role is above ``reach``;
                ``invalid_parameters`` (userId) if it is no member.
        """

    async def ban(
        self, room_id: str, user_key: str, user_id: str, *, reach: Role, by: str, origin: Origin
    ) -> None:
        """Keep a user out from now on; if it is there, it is thrown out. Atomic.

        Tells `Left` ("banned", without origin) if it was a member, then `Ranked` with no role.

        Raises:
            WireError: ``not_in_room``; ``forbidden`` if its role is above ``reach``;
                ``overloaded`` past `BANS_KEPT` bans.
        """

    async def unban(
        self, room_id: str, user_key: str, user_id: str, *, by: str, origin: Origin
    ) -> None:
        """Let a user come again. Atomic. Tells `Ranked`, as a member.

        Raises:
            WireError: ``not_in_room``; ``invalid_parameters`` (userId) if it is not banned.
        """

    async def invite(self, room_id: str, role: Role, seconds: float, origin: Origin) -> str:
        """A new invite: a secret that lets anyone in, with this role, for so long. Atomic.

        Raises:
            WireError: ``not_in_room``.
        """

    async def history(
        self, room_id: str, before: int | None, limit: int
    ) -> tuple[list[RoomEntry], bool]:
        """A page of the log that ends before a ``seq``, oldest first; whether others precede it.

        No more than `log.REPLAY_BYTES`, and at least one entry if there is one.
        """

    async def newest(self, room_id: str, size: int) -> list[RoomEntry]:
        """The newest entries, oldest first, with up to ``size`` UTF-8 bytes of text."""

    async def open_asks(self, room_id: str) -> list[str]:
        """The streams of open asks, in order of asking."""

    async def rooms(
        self, user_key: str, cursor: str | None, limit: int
    ) -> tuple[list[RoomSummary], bool]:
        """Rooms that a user may see, after ``cursor``, by roomId; whether there are more.

        Those it is a member of or has a role remembered in, and the open ones; not those it is
        banned from. Empty rooms that are kept are among them.
        """

    async def sweep(self) -> None:
        """Drop what is past its time: old entries, rooms that were kept long enough."""
