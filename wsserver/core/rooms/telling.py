"""What this process's clients are told of their rooms: each change is one event, encoded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from wsserver.core.ask import Answer
from wsserver.core.clients import Attached, Client
from wsserver.core.rooms import shown
from wsserver.core.rooms.answering import RoomAnswers
from wsserver.core.rooms.changes import (
    Asked,
    Broken,
    Change,
    Configured,
    Entered,
    Left,
    Logged,
    Ranked,
    Stated,
    Withdrawn,
)
from wsserver.core.rooms.room import Room
from wsserver_protocol import events
from wsserver_protocol.lifecycle import StopReason


class Telling:
    """Turns changes into events, and into what this process knows of its rooms.

    Args:
        rooms: Those in which someone sits here, by roomId.
        answers: Finds and stops the answers of rooms.
        unseat: Called for a client that was thrown out.
        broken: Called for a room of which nothing more will be told.
        missed: Called for a room of which an answer can't be shown, as the store has lost it.

    Attributes:
        on_answered: Called with each stream that has its entry now, or will never have one.
        on_broken: Called with each roomId of which nothing more will be told.
        on_thrown_out: Called with each client that has lost its seat.
    """

    def __init__(
        self,
        rooms: Mapping[str, Room],
        answers: RoomAnswers,
        *,
        unseat: Callable[[Client, Room], None],
        broken: Callable[[Room], None],
        missed: Callable[[Room, str], None],
    ) -> None:
        self._rooms = rooms
        self._answers = answers
        self._unseat = unseat
        self._broken = broken
        self._missed = missed
        self.on_answered: Callable[[str], object] = lambda stream_id: None
        self.on_broken: Callable[[str], object] = lambda room_id: None
        self.on_thrown_out: Callable[[Client], object] = lambda client: None

    def told(self, room_id: str, change: Change) -> None:
        """The store says what happened."""
        match change:  # asks of this process may be open where nobody sits here any more
            case Asked(steered=(_, *_)):
                for stream_id in change.steered:
                    self._answers.stop(stream_id, StopReason.INTERRUPT, change.ask.client_id)
            case Logged() if change.entry.stream_id is not None:
                self.on_answered(change.entry.stream_id)
            case Withdrawn():
                self.on_answered(change.stream_id)
            case Broken():
                self.on_broken(room_id)
        room = self._rooms.get(room_id)
        if room is None:
            return
        room.heard += 1
        match change:
            case Logged():
                self._logged(room, change)
            case Asked():
                self._asked(room, change)
            case Entered():
                if room.digest.takes(change.participants):
                    room.digest.add(change)
                else:
                    room.announce(shown.entered(room_id, change))
            case Left():
                self._left(room, change)
            case Stated():
                self._stated(room, change)
            case Configured():
                room.settings = change.settings
                updated = events.RoomUpdated(
                    room_id=room_id, settings=change.settings, by=change.by
                )
                room.announce(updated, origin=change.origin)
            case Ranked():
                self._ranked(room, change)
            case Withdrawn():
                room.asks.pop(change.stream_id, None)
            case Broken():
                self._broken(room)

    def _logged(self, room: Room, change: Logged) -> None:
        entry = change.entry
        if entry.stream_id is None:
            room.announce(shown.entry(room.room_id, entry), origin=change.origin)
        else:  # an answer: its stream's events have shown it
            room.asks.pop(entry.stream_id, None)

    def _asked(self, room: Room, change: Asked) -> None:
        ask = change.ask
        room.asks[ask.stream_id] = ask
        prompt = change.entry.text if change.entry is not None else None
        # Who comes later is shown the room as it is then.
        audience = [(client, client.connection) for client in room.present()]

        def there() -> Iterator[Attached]:
            for client, connection in audience:
                is_in = client.client_id in room.clients
                if is_in and connection is not None and client.connection is connection:
                    yield connection

        def show(answer: Answer) -> None:
            answer.ask_seq = ask.seq or None  # where it was found it may have none yet
            for connection in there():
                connection.show_stream(answer, prompt)

        self._answers.when_found(
            ask.stream_id,
            show,
            while_=lambda: any(there()),
            missed=lambda: self._missed(room, ask.stream_id),
        )

    def _stated(self, room: Room, change: Stated) -> None:
        event = events.RoomPresence(room_id=room.room_id, member=change.member)
        if room.digest.takes(change.participants):
            room.digest.add(change)
            room.answer(event, change.origin)
        else:
            room.announce(event, origin=change.origin)

    def _left(self, room: Room, change: Left) -> None:
        event = shown.left(room.room_id, change)
        gone = [room.clients[one] for one in change.client_ids if one in room.clients]
        for client in gone:  # thrown out: each is told of itself
            self._unseat(client, room)
            self.on_thrown_out(client)
            if client.connection is not None:
                own = msgspec.structs.replace(event, client_id=client.client_id)
                client.connection.send(own)
        if room.digest.takes(change.participants):
            room.digest.add(change)
            room.answer(event, change.origin)
        else:
            room.announce(event, origin=change.origin)

    def _ranked(self, room: Room, change: Ranked) -> None:
        if change.role is not None and change.user_key in room.roles:
            room.roles[change.user_key] = change.role
        event = shown.ranked(room.room_id, change)
        room.announce(event, origin=change.origin)
