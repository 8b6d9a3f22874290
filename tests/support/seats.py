"""Clients of rooms without sockets: what each is sent is kept, as events and as frames."""

from __future__ import annotations

from wsserver.core.ask import Answer
from wsserver.core.broadcast import Broadcast
from wsserver.core.clients import Client
from wsserver.core.identity import Identity
from wsserver.core.rooms import RoomBounds, RoomBroker, Rooms
from wsserver.core.rooms.answering import RoomAnswers
from wsserver.stores.memory.room_broker import MemoryRoomBroker
from wsserver.stores.memory.room_state import MemoryRooms
from wsserver_protocol import events
from wsserver_protocol.codec import Encoding, encode
from wsserver_protocol.errors import CloseCode


class Seat:
    """A client's connection that keeps what it is sent."""

    def __init__(self, encoding: Encoding = Encoding.JSON) -> None:
        self.encoding = encoding
        self.events: list[events.Event] = []
        self.frames: list[bytes] = []

    def send(self, event: events.Event) -> None:
        self.events.append(event)
        self.frames.append(encode(event, self.encoding))

    def send_shared(self, broadcast: Broadcast) -> None:
        self.events.append(broadcast.event)
        self.frames.append(broadcast.frame(self.encoding))

    def show_stream(self, answer: Answer, prompt: str | None) -> None:
        raise AssertionError("no stream is asked for here")

    def join_stream(self, answer: Answer) -> None:
        raise AssertionError("no stream is asked for here")

    def close_view(self, stream_id: str) -> bool:
        return False

    def close(self, code: CloseCode, reason: str = "") -> None:
        raise AssertionError("nobody is closed here")


def make_client(user: str, encoding: Encoding = Encoding.JSON) -> tuple[Client, Seat]:
    """A client of a user, with a connection."""
    client, seat = Client("127.0.0.1"), Seat(encoding)
    client.identity = Identity.named(user, user.title(), "127.0.0.1")
    client.connection = seat
    return client, seat


def make_rooms(shared: MemoryRooms | None = None) -> Rooms:
    """The rooms of a process: of its own, or shared with others."""
    return rooms_over(MemoryRoomBroker(shared or MemoryRooms(RoomBounds())))


def rooms_over(broker: RoomBroker) -> Rooms:
    """The rooms of a process, where nobody asks the model."""
    return Rooms(
        broker, RoomAnswers(find=lambda stream_id: None, stop=lambda answer, reason, by: None)
    )
