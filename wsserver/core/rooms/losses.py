"""What is done about what the store lost, or could not take.

A store that is shared may lose what it was told last, or everything. Then each client that sits
here enters its rooms anew, as what it was, and is shown them as after a join: an unasked
`room_joined` by which it replaces what it has of the log. A place that could not be given up, as
the store was away, is owed, and given up later.

A client that has moved takes its seats along. But the process that it has left may not have heard
of that, and have it enter a lost room anew that it has left meanwhile: a ghost, of a process that
lives. So what a client has had here is given up a while after, unless it was taken up since.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from wsserver.core.clients import Client
from wsserver.core.errands import Errands
from wsserver.core.rooms import shown
from wsserver.core.rooms.broker import Known, Position, Seat
from wsserver.core.rooms.room import Room
from wsserver_protocol import events
from wsserver_protocol.errors import ErrorCode, WireError

if TYPE_CHECKING:
    from wsserver.core.rooms.service import Rooms

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Between two tries to enter while the store is away."""

TAKEN_UP_WITHIN = 15.0
"""Seconds in which a client that has moved takes its seats up where it is. It may be given up there
for the same time; nobody is to be told that it left and came."""

NOWHERE = Position(seq=0, epoch="none")
"""Joins no log: the newest page is given, and the client told to replace what it has."""


class Losses:
    """Makes good what a store lost.

    Args:
        rooms: The rooms of this process.
    """

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        # By room and client: user key, reason, and the client's last take.
        self._owed: dict[tuple[str, str], tuple[str, str, int]] = {}
        self._settling = asyncio.Lock()
        self._errands = Errands("what a store has lost could not be made good")

    def broken(self, room: Room) -> None:
        """Nothing more is told of a room: all who sit here enter anew."""
        room.entering.update(room.clients)
        for client in list(room.clients.values()):
            self._begin(client, room, Known(role=room.role_of(client), settings=room.settings))

    def missed(self, room: Room, stream_id: str) -> None:
        """The store has lost an answer, whose events would have shown what the room's log has: all
        who sit here enter anew. Nobody is to wait behind its question."""
        if room.is_asked(stream_id):
            self._errands.begin(self._withdraw(room.room_id, stream_id))
        self.broken(room)

    def owe(self, room_id: str, client_id: str, user_key: str, reason: str, takes: int) -> None:
        """A client's place is to be given up when the store is back."""
        owed = self._owed.get((room_id, client_id))
        if owed is None or owed[-1] <= takes:  # else it was here again since
            self._owed[room_id, client_id] = (user_key, reason, takes)

    def left_behind(self, seat: Seat, room_id: str) -> None:
        """A client has moved to another process, which may not know of this seat."""
        loop = asyncio.get_running_loop()
        args = (room_id, seat.client_id, seat.user_key, "timeout", seat.takes)
        loop.call_later(TAKEN_UP_WITHIN, self.owe, *args)

    async def forgive(self, room_id: str, client_id: str) -> Callable[[], None]:
        """The client is about to enter again: its new place is not to be given up for the old one.

        Returns:
            Has it owed as before, should the client not get in.
        """
        key = (room_id, client_id)
        if key not in self._owed:
            return _nothing
        async with self._settling:
            owed = self._owed.pop(key, None)
        return _nothing if owed is None else partial(self._owed.__setitem__, key, owed)

    async def settle(self) -> None:
        """Give up the places that are owed.

        Raises:
            WireError: ``store_unavailable``; the rest stays owed.
        """
        for key in list(self._owed):
            async with self._settling:
                if key in self._owed:
                    room_id, client_id = key
                    user_key, reason, takes = self._owed[key]
                    await self._rooms.give_up(room_id, user_key, client_id, reason, takes)
                    del self._owed[key]

    async def _withdraw(self, room_id: str, stream_id: str) -> None:
        while True:
            try:
                await self._rooms.broker.withdraw(room_id, stream_id)
            except WireError as error:
                log.info("a lost question is withdrawn later: %s", error.message)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    def _begin(self, client: Client, room: Room, known: Known) -> None:
        client.lane.begin(lambda: self._enter(client, room, known))

    async def _enter(self, client: Client, room: Room, known: Known) -> None:
        if room.clients.get(client.client_id) is not client:
            return  # it left meanwhile, or was taken to another process
        if client.client_id not in room.entering:
            return  # it came back meanwhile, and was shown the room then
        try:
            room, joined = await self._rooms.enter(
                client, room.room_id, position=NOWHERE, known=known
            )
        except WireError as error:
            if error.code is ErrorCode.STORE_UNAVAILABLE:
                # Not here: what the client asks for meanwhile is to be refused, not to wait.
                loop = asyncio.get_running_loop()
                loop.call_later(RETRY_SECONDS, self._begin, client, room, known)
            else:
                self._turn_away(client, room)
            return
        except Exception:
            log.exception("a client could not enter its room anew")
            self._turn_away(client, room)
            return
        if client.connection is not None:
            seen = shown.joined(room.room_id, joined, self._rooms.active_in(room))
            client.connection.send(seen)
            self._rooms.follow(client, room)

    def _turn_away(self, client: Client, room: Room) -> None:
        """Others have made a room of that name meanwhile, and the client may not be there."""
        if client.connection is not None:
            client.connection.send(
                events.RoomUserLeft(
                    room_id=room.room_id,
                    client_id=client.client_id,
                    participants=len(room.roles) - 1,
                    reason="timeout",
                    user_id=client.identity.user_id,
                )
            )
        self._rooms.unseat(client, room.room_id)


def _nothing() -> None:
    """Nothing was owed."""
