"""Rooms on this process: who of its clients sits where, and what they are told.

What is shared with other processes is asked of the `RoomBroker`, and everything that happens comes
back from it as changes, one after another (`telling`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from wsserver.core.ask import Claim
from wsserver.core.clients import Client
from wsserver.core.rooms import refusals, shown
from wsserver.core.rooms.answering import RoomAnswers
from wsserver.core.rooms.broker import Joined, Known, Position, RoomBroker, Seat, Spoken
from wsserver.core.rooms.changes import Draft, Origin
from wsserver.core.rooms.losses import Losses
from wsserver.core.rooms.presence import Lapsed
from wsserver.core.rooms.room import Room
from wsserver.core.rooms.telling import Telling
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.events import ActiveStream

log = logging.getLogger(__name__)

LOOKS = 10
"""Times that rooms are looked at for one client that comes back, while things happen there."""


class Rooms:
    """The rooms of this process.

    Args:
        broker: What is shared.
        answers: Finds and stops the answers of rooms.
    """

    def __init__(self, broker: RoomBroker, answers: RoomAnswers) -> None:
        self.broker = broker
        self.answers = answers
        self._rooms: dict[str, Room] = {}
        self._losses = Losses(self)
        self.telling = Telling(
            *(self._rooms, answers),
            unseat=self._unseat,
            broken=self._losses.broken,
            missed=self._losses.missed,
        )
        broker.listen(self.telling.told)

    def __len__(self) -> int:
        return len(self._rooms)

    def get(self, room_id: str) -> Room | None:
        """The room, if anyone here sits in it."""
        return self._rooms.get(room_id)

    def of_member(self, client: Client, room_id: str) -> Room:
        """The room, which the client must be in.

        Raises:
            WireError: ``not_in_room``, also if there is no such room.
        """
        room = self._rooms.get(room_id)
        if room is None or client.client_id not in room.clients:
            raise refusals.not_in_room()
        return room

    def active_in(self, room: Room) -> list[ActiveStream]:
        """The answers that a room is getting."""
        found = [(ask, self.answers.find(ask.stream_id)) for ask in room.asks.values()]
        return [
            shown.active(ask, answer)
            for ask, answer in found
            if answer is None or not answer.record.is_ended
        ]

    # Coming and going --------------------------------------------------------------------------

    async def join(
        self,
        client: Client,
        room_id: str,
        *,
        name: str | None = None,
        state: dict[str, Any] | None = None,
        invite: str | None = None,
        position: Position | None = None,
        returns: bool = False,
    ) -> tuple[Room, Joined]:
        """Put a client into a room, made if need be, or look at it again.

        Who is given the result sends it without awaiting anything before: changes go out at once.

        Raises:
            WireError: As for `RoomBroker.join`.
        """
        if name is not None:
            client.name = name
        room, joined = await self.enter(
            *(client, room_id),
            rename=name is not None,
            state=state,
            invite=invite,
            position=position,
            returns=returns,
        )
        client.room_ids.remove(room_id)  # joined last is last
        client.room_ids.append(room_id)
        return room, joined

    async def enter(
        self,
        client: Client,
        room_id: str,
        *,
        rename: bool = False,
        state: dict[str, Any] | None = None,
        invite: str | None = None,
        position: Position | None = None,
        known: Known | None = None,
        returns: bool = False,
    ) -> tuple[Room, Joined]:
        """As `join`; the room keeps its place among the client's."""
        if room_id not in self._rooms and self.answers.is_shared:
            # Nobody has told this process of what the room is getting.
            await self.answers.look_for(await self.broker.open_asks(room_id))
        seat = _seat(client)
        owe_again = await self._losses.forgive(room_id, client.client_id)
        try:
            joined = await self.broker.join(
                *(room_id, seat),
                state=state,
                rename=rename,
                invite=invite,
                position=position,
                known=known,
                returns=returns,
            )
        except WireError:
            owe_again()
            raise
        if client.has_moved:  # while this was under way
            self._losses.left_behind(seat, room_id)
            raise refusals.not_in_room()
        room = self._rooms.get(room_id)
        if room is None:
            room = self._rooms[room_id] = Room(room_id)
        room.seat(client, joined)
        if room_id not in client.room_ids:
            client.room_ids.append(room_id)
        return room, joined

    async def look_again(
        self, client: Client, positions: Mapping[str, Position | None]
    ) -> dict[str, Joined]:
        """The rooms of a client that comes back, each as of now; those it lost are left out.

        Its rights are looked at anew: who was kicked or banned meanwhile is out.

        Raises:
            WireError: ``store_unavailable``.
        """
        seen: dict[str, tuple[int, Joined]] = {}
        order = list(client.room_ids)
        for _ in range(LOOKS):
            # What was told while the next room was looked at would be missing: look again there.
            stale = [r for r in client.room_ids if r not in seen or self._moved(r, seen[r][0])]
            if not stale:
                break
            for room_id in stale:
                try:
                    room, joined = await self.join(
                        client, room_id, position=positions.get(room_id), returns=True
                    )
                except WireError as error:
                    if error.code is ErrorCode.STORE_UNAVAILABLE:
                        raise
                    self.unseat(client, room_id)
                else:
                    seen[room_id] = (room.heard, joined)
        client.room_ids.sort(key=order.index)
        return {room_id: joined for room_id, (_, joined) in seen.items()}

    def _moved(self, room_id: str, heard: int) -> bool:
        room = self._rooms.get(room_id)
        return room is None or room.heard != heard

    def unseat(self, client: Client, room_id: str) -> None:
        """A client sits in a room no more, and nobody is told."""
        room = self._rooms.get(room_id)
        if room is not None and client.client_id in room.clients:
            self._unseat(client, room)
        elif room_id in client.room_ids:
            client.room_ids.remove(room_id)

    async def leave(self, client: Client, room: Room, reason: str) -> None:
        """Take a client out: the user is gone with the last one, wherever the others are.

        If the store is away the others are told when it is back.
        """
        self._unseat(client, room)
        await self._leave(client, room.room_id, reason)

    def depart(self, client: Client) -> None:
        """A client is gone for good: it leaves its rooms, once what it began there is done.

        It may have been another process's, that died.
        """
        client.lane.begin(lambda: self._leave_all(client))

    async def lapse(self, seat: Lapsed) -> None:
        """Take a seat away that a process left behind.

        Not one of somebody who sits here, and has to enter anew.

        Raises:
            WireError: ``store_unavailable``.
        """
        room = self._rooms.get(seat.room_id)
        if room is not None and seat.client_id in room.clients:
            return
        # Its client may have taken it again since it was found to be nobody's.
        await self.give_up(seat.room_id, seat.user_key, seat.client_id, "timeout", seat.takes)

    async def sweep(self) -> None:
        """Give up what is owed, and have the store drop what is past its time.

        Raises:
            WireError: ``store_unavailable``.
        """
        await self._losses.settle()
        await self.broker.sweep()

    async def give_up(
        self, room_id: str, user_key: str, client_id: str, reason: str, takes: int | None = None
    ) -> None:
        """Have a place in a room be nobody's, and stop what nobody is left for.

        Raises:
            WireError: ``store_unavailable``.
        """
        for stream_id in await self.broker.leave(room_id, user_key, client_id, reason, takes):
            self.answers.abandon(stream_id)

    async def _leave_all(self, client: Client) -> None:
        for room_id in list(client.room_ids):
            self.unseat(client, room_id)
            try:
                await self._leave(client, room_id, "timeout")
            except Exception:
                log.exception("a client could not leave its room")

    async def _leave(self, client: Client, room_id: str, reason: str) -> None:
        key, takes = client.identity.key, client.takes
        try:
            await self.give_up(room_id, key, client.client_id, reason, takes)
        except WireError as error:
            log.warning("a place in a room is given up later: %s", error.message)
            self._losses.owe(room_id, client.client_id, key, reason, takes)

    def _unseat(self, client: Client, room: Room) -> None:
        for stream_id in room.asks:
            if client.connection is not None:
                client.connection.close_view(stream_id)
        room.unseat(client)
        client.room_ids.remove(room.room_id)
        if not room.clients:
            room.digest.close()
            del self._rooms[room.room_id]

    def vacate(self, client: Client) -> None:
        """A client has moved to another process, and its seats with it: nobody is told."""
        client.has_moved = True
        for room_id in list(client.room_ids):
            self.unseat(client, room_id)
            self._losses.left_behind(_seat(client), room_id)

    def follow(self, client: Client, room: Room) -> None:
        """Have a client follow the answers that a room is getting, from their beginnings."""
        connection = client.connection
        if connection is None:
            return
        for stream_id in list(room.asks):
            self.answers.when_found(
                stream_id,
                connection.join_stream,
                while_=lambda: client.connection is connection and client.client_id in room.clients,
                missed=partial(self._losses.missed, room, stream_id),
            )

    # Talking -----------------------------------------------------------------------------------

    async def say(
        self,
        client: Client,
        room: Room,
        text: str,
        data: object,
        origin: Origin,
        claim: Claim | None = None,
    ) -> Spoken:
        """Add a message to the log; all are told, the sender with its requestId.

        Raises:
            WireError: As for `RoomBroker.say`.
        """
        draft = Draft(
            role="user",
            client_id=client.client_id,
            user_id=client.identity.user_id,
            name=client.display_name,
            text=text,
            data=data,
        )
        return await self.broker.say(room.room_id, draft, origin, claim)

    async def set_state(
        self, client: Client, room: Room, state: dict[str, Any], origin: Origin
    ) -> None:
        """Replace a member's state, whichever of its clients says so; all are told.

        Raises:
            WireError: As for `RoomBroker.set_state`.
        """
        await self.broker.set_state(room.room_id, client.identity.key, state, origin)


def _seat(client: Client) -> Seat:
    return Seat(
        user_key=client.identity.key,
        user_id=client.identity.user_id,
        name=client.display_name,
        client_id=client.client_id,
        takes=client.takes,
    )
