"""Who waits for what: the tables of calls, streams and rooms, and where each message goes.

This room knows no socket. It decides to whom a message belongs, what happens to requests under
way when the connection is lost, and what is said again on the next one. Everything here is
synchronous: between two messages the tables are whole.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from wsserver_client.calls import Call, Message, Repeat, new_request_id
from wsserver_client.errors import ConnectionLost
from wsserver_client.rooms import Room
from wsserver_client.signal import Signal
from wsserver_client.streams import StreamHandle

LOGGER = logging.getLogger("wsserver_client")

STREAM_EVENTS = frozenset(
    {
        "stream_start",
        "stream_token",
        "stream_progress",
        "stream_snapshot",
        "stream_rewind",
        "stream_complete",
        "stream_stopped",
        "stream_error",
    }
)

STREAM_ENDS = frozenset({"stream_complete", "stream_stopped", "stream_error"})


class Exchange:
    """The tables of one client.

    Attributes:
        outbox: What is to be sent as soon as there is a connection: requests, and messages whose
            reply belongs to another request.
        queued: Rings when something was put into the outbox.
    """

    def __init__(self, new_stream: Callable[[Message, str], StreamHandle]) -> None:
        self._new_stream = new_stream
        self._calls: dict[str, Call] = {}
        self._streams: dict[str, StreamHandle] = {}
        self._rooms: dict[str, Room] = {}
        self.outbox: deque[Call | Message] = deque()
        self.queued = Signal()

    # --- what the client puts in ---------------------------------------------------------------

    def submit(self, call: Call) -> None:
        self._calls[call.request_id] = call
        self.outbox.append(call)
        self.queued.ring()

    def post(self, message: Message) -> None:
        self.outbox.append(message)
        self.queued.ring()

    def withdraw(self, call: Call) -> bool:
        """Take a call out of the outbox; False if it is not there any more."""
        if call.sent or call not in self.outbox:
            return False
        self.outbox.remove(call)
        self.forget(call)
        return True

    def forget(self, call: Call) -> None:
        """Nobody waits for this call; what comes for it is ignored."""
        if self._calls.get(call.request_id) is call:
            del self._calls[call.request_id]

    def ended(self, stream: StreamHandle) -> None:
        self.forget(stream)
        if stream.stream_id is not None and self._streams.get(stream.stream_id) is stream:
            del self._streams[stream.stream_id]

    def add_stream(self, stream: StreamHandle) -> None:
        """Events of this stream go to this handle from now on."""
        if stream.stream_id is None:
            raise AssertionError("only a stream with an id can be listed by it")
        self._streams[stream.stream_id] = stream

    def adopt_stream(self, stream_id: str, room_id: str) -> StreamHandle:
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._watched_stream(stream_id, room_id)
            self._streams[stream_id] = stream
        return stream

    def _watched_stream(self, stream_id: str, room_id: str) -> StreamHandle:
        """Another member's stream: the server sends it without being asked."""
        message = {
            "type": "watch_stream",
            "requestId": new_request_id(),
            "streamId": stream_id,
            "roomId": room_id,
        }
        stream = self._new_stream(message, stream_id)
        stream.sent = True
        return stream

    def add_room(self, room: Room) -> None:
        self._rooms[room.room_id] = room

    def forget_room(self, room: Room) -> None:
        if self._rooms.get(room.room_id) is room:
            del self._rooms[room.room_id]

    # --- what it looks like --------------------------------------------------------------------

    def stream(self, stream_id: str) -> StreamHandle | None:
        return self._streams.get(stream_id)

    def room(self, room_id: str) -> Room | None:
        return self._rooms.get(room_id)

    def rooms(self) -> list[Room]:
        """Those that this client is in."""
        return list(self._rooms.values())

    def streams_in(self, room_id: str) -> list[StreamHandle]:
        return [stream for stream in self._streams.values() if stream.room_id == room_id]

    def running(self) -> list[StreamHandle]:
        """Streams that have not ended, those without an id included."""
        asked = [call for call in self._calls.values() if isinstance(call, StreamHandle)]
        return list({id(stream): stream for stream in [*asked, *self._streams.values()]}.values())

    def running_calls(self) -> list[Call]:
        """Streams, and requests that are not settled."""
        calls = {id(call): call for call in [*self._calls.values(), *self.running()]}
        return [call for call in calls.values() if not call.is_settled]

    def positions(self) -> Message:
        """What a ``resume`` says of streams and rooms."""
        message: Message = {}
        if self._streams:
            message["streams"] = {
                stream_id: stream.offset for stream_id, stream in self._streams.items()
            }
        if self._rooms:
            message["rooms"] = {
                room_id: room.position if room.epoch else room.seq
                for room_id, room in self._rooms.items()
            }
        return message

    # --- what the server says ------------------------------------------------------------------

    def take(self, event: Message) -> None:
        """Give a message to whom it belongs; what belongs to nobody (any more) is ignored."""
        kind = event["type"]
        call = self._calls.get(str(event.get("requestId")))
        if kind in STREAM_EVENTS:
            self._take_stream_event(event, call)
            return
        room = self._rooms.get(str(event.get("roomId")))
        if room is not None and kind == "room_joined":
            room.rejoined(event, resumed=False)
        elif room is not None:
            room.take(event)
        if call is not None:
            self._give(call, event)
        elif kind == "error":
            # The refusal of something that has no requestId, or is no longer awaited.
            LOGGER.info("the server says: %s (%s)", event.get("error"), event.get("code"))
        elif kind == "queue_position":
            stream = self._streams.get(str(event.get("streamId")))
            if stream is not None:
                stream.take(event)

    def _take_stream_event(self, event: Message, call: Call | None) -> None:
        stream_id = event.get("streamId")
        stream = self._streams.get(str(stream_id))
        if stream is None and isinstance(call, StreamHandle):
            stream = call
        room_id = str(event.get("roomId"))
        if stream is None and event["type"] == "stream_start" and room_id in self._rooms:
            stream = self._watched_stream(str(stream_id), room_id)
        if stream is not None:
            self._tell_stream(stream, event)
        if call is not None and call is not stream:
            # The reply to a stop or a watch is the stream's own event, under the reply's id.
            self._give(call, event)

    def _tell_stream(self, stream: StreamHandle, event: Message) -> None:
        kind = event["type"]
        is_known = str(event.get("streamId")) in self._streams
        stream.take(event)
        if kind == "stream_start" and not stream.is_ended:
            self.add_stream(stream)
        tells = (kind == "stream_start" and not is_known) or kind in STREAM_ENDS
        if tells and stream.room_id is not None:
            room = self._rooms.get(stream.room_id)
            if room is not None:
                room.take_stream(stream, event)

    def _give(self, call: Call, event: Message) -> None:
        call.take(event)
        if call.is_settled:
            self.forget(call)

    # --- when connections end and begin --------------------------------------------------------

    def drop(self, error: ConnectionLost) -> None:
        """The connection is gone, another one is sought: what cannot be repeated is lost."""
        # Messages without a call were about this connection; they mean nothing on the next.
        self.outbox = deque(entry for entry in self.outbox if isinstance(entry, Call))
        for stream in self.running():
            stream.connection_dropped()
        for call in list(self._calls.values()):
            if call.is_settled:
                self.forget(call)
            elif call.sent and call.repeat is Repeat.FORBIDDEN:
                self._lose(call, error)

    def resumed(self, event: Message) -> None:
        """The server took the earlier connection up; text and missed entries follow."""
        states = {str(wire["streamId"]): wire for wire in event.get("streams") or ()}
        for stream_id, stream in list(self._streams.items()):
            wire = states.get(stream_id)
            if wire is None or wire.get("state") == "gone":
                stream.lose(ConnectionLost("the server no longer has this answer"))
        rooms = {str(wire["roomId"]): wire for wire in event.get("rooms") or ()}
        for room_id, room in list(self._rooms.items()):
            if room_id in rooms:
                room.rejoined(rooms[room_id], resumed=True)
            else:
                room.rejoin()
        self._repeat(same_identity=True)

    def began_anew(self, error: ConnectionLost, *, same_identity: bool) -> None:
        """A new connection that took nothing up.

        Args:
            error: For what cannot go on.
            same_identity: Whether the server knows the user, so that their streams can be
                watched and their requestIds are remembered.
        """
        for stream in list(self._streams.values()):
            if stream.room_id in self._rooms:
                continue  # followed or asked for again when the room is joined
            if same_identity:
                stream.ask_again()
            else:
                stream.lose(error)
        for room in self.rooms():
            room.rejoin()
        self._repeat(same_identity=same_identity, error=error)

    def _repeat(self, *, same_identity: bool, error: ConnectionLost | None = None) -> None:
        """Send again what was sent and not answered, in its old order, before what is new."""
        again: list[Call | Message] = []
        for call in list(self._calls.values()):
            if not call.sent or call.is_settled or call in self.outbox:
                continue
            if isinstance(call, StreamHandle) and call.stream_id is not None:
                continue  # begun: it is taken up by its id
            if call.repeat is Repeat.HARMLESS or same_identity:
                again.append(call)
            else:
                self._lose(call, error or ConnectionLost("the connection was lost"))
        self.outbox.extendleft(reversed(again))
        for entry in again:
            if isinstance(entry, StreamHandle):
                entry.ask_stop_again()
        self.queued.ring()

    def lose_all(self, error: ConnectionLost) -> None:
        """There will be no other connection: everything ends here."""
        self.outbox.clear()
        for stream in self.running():
            stream.lose(error)
        for call in list(self._calls.values()):
            self._lose(call, error)
        for room in self.rooms():
            room.lose(error)

    def _lose(self, call: Call, error: ConnectionLost) -> None:
        self.forget(call)
        call.lose(error)
