"""Entering a room: the call whose reply makes the room."""

from __future__ import annotations

from wsserver_client.calls import Message, Reply
from wsserver_client.exchange import Exchange
from wsserver_client.ports import RoomPort
from wsserver_client.rooms import Room


class Entering(Reply):
    """A ``join_room`` that puts the room into the tables with the very frame that lets it in.

    Whoever awaits the reply runs later; frames about the room may follow at once.
    """

    def __init__(self, port: RoomPort, exchange: Exchange, message: Message) -> None:
        super().__init__(message)
        self._port = port
        self._exchange = exchange
        self.room: Room | None = None

    def take(self, event: Message) -> None:
        if event["type"] == "room_joined":
            self.room = self._exchange.room(str(event["roomId"])) or self._make(event)
        super().take(event)

    def _make(self, event: Message) -> Room:
        entrance = {key: self.message[key] for key in self.message if key != "requestId"}
        room = Room(self._port, event, entrance)
        self._exchange.add_room(room)
        return room
