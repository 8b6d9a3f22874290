"""What streams and rooms need of their client: how they speak without knowing who carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from wsserver_client.calls import Call, Message

if TYPE_CHECKING:
    from wsserver_client.rooms import Room
    from wsserver_client.streams import StreamHandle


class StreamPort(Protocol):
    """What a stream needs of its client."""

    request_timeout: float

    def submit(self, call: Call) -> None:
        """Send a request as soon as there is a connection."""

    def post(self, message: Message) -> None:
        """Send a message whose reply, if any, belongs to another request."""

    def withdraw(self, call: Call) -> bool:
        """Take a request back that was not sent yet; False if it was."""

    def forget(self, call: Call) -> None:
        """Nobody waits for this request any more."""

    def ended(self, stream: StreamHandle) -> None:
        """The stream has ended; nothing of it is awaited any more."""


class RoomPort(Protocol):
    """What a room needs of its client."""

    @property
    def client_id(self) -> str: ...

    async def ask(self, message: Message) -> Message:
        """Send a request and wait for its reply, for as long as requests may take."""

    def submit(self, call: Call) -> None:
        """Send a request as soon as there is a connection."""

    def start_stream(self, message: Message) -> StreamHandle:
        """Begin a stream of this client."""

    def adopt_stream(self, stream_id: str, room_id: str) -> StreamHandle:
        """The stream that runs in the room: one that is known already, or a new watched one."""

    def streams_in(self, room_id: str) -> list[StreamHandle]:
        """Streams of the room that have not ended, as far as this client knows."""

    def forget_room(self, room: Room) -> None:
        """The room is left; nothing of it is awaited any more."""
