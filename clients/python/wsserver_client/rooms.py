"""A room as one of its members sees it.

This room of the house keeps what a rejoin needs (epoch and last ``seq`` of the log) and turns the
server's messages into events. It knows no socket; it drops nothing but entries it has had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Unpack
from weakref import WeakSet

from wsserver_client.calls import Message, Reply
from wsserver_client.errors import ClientError, ConnectionLost
from wsserver_client.options import Options, generation_request, request
from wsserver_client.ports import RoomPort
from wsserver_client.room_events import (
    AnswerStarted,
    Joined,
    Left,
    LogReplaced,
    Member,
    PresenceChanged,
    RoleChanged,
    RoomEntry,
    RoomEvent,
    RoomEvents,
    Said,
    SettingsChanged,
    entry_of,
    member_of,
    room_event_of,
)
from wsserver_client.streams import StreamHandle


class Room:
    """A room that this client is in. Made by ``client.join_room``.

    Attributes:
        room_id: Its id.
        participants: Users in it, as last told.
        members: Who they are by userId; at most 100 are told on joining.
        role: What this user may do.
        settings: The room's settings, as the wire spells them.
        messages: The log's entries that came with joining, oldest first.
        epoch, seq: Which log it is, and the last entry of it that this client has.
    """

    def __init__(self, port: RoomPort, joined: Message, entrance: Message) -> None:
        self._port = port
        self._entrance = entrance
        self._first: RoomEvents | None = RoomEvents()
        # Weak: a reader that the program has dropped collects no more events.
        self._readers: WeakSet[RoomEvents] = WeakSet((self._first,))
        self._is_left = False
        self.room_id = str(joined["roomId"])
        self.epoch: str | None = None
        self.seq = 0
        self.participants = 0
        self.members: dict[str, Member] = {}
        self.role = "member"
        self.settings: dict[str, Any] = {}
        self.messages: tuple[RoomEntry, ...] = ()
        self._look(joined)
        self.messages = tuple(entry_of(wire) for wire in joined.get("messages") or ())
        self._note_position(joined)
        self._watch_active(joined)

    # --- for users -----------------------------------------------------------------------------

    @property
    def is_left(self) -> bool:
        return self._is_left

    def events(self) -> RoomEvents:
        """What happens in the room from now on; the first reader gets all since joining.

        Ends when the room is left.

        Raises:
            ClientError: From the iteration: the room was lost (`ConnectionLost`, or what the
                server answered to the rejoining).
        """
        if self._first is not None:
            events, self._first = self._first, None
            return events
        events = RoomEvents()
        if self._is_left:
            events.close(None)
        else:
            self._readers.add(events)
        return events

    async def send(self, text: str | None = None, *, data: Any = None) -> RoomEntry:
        """Say something to all members; returns the log's entry."""
        reply = await self._port.ask(
            request("room_message", room_id=self.room_id, text=text, data=data)
        )
        return entry_of(reply)

    def ask(
        self, prompt: str, *, model: str | None = None, **options: Unpack[Options]
    ) -> StreamHandle:
        """Ask the model; every member sees the question and the answer.

        The handle is also told to this client's `events`, as `AnswerStarted`.
        """
        message = generation_request(
            "stream", prompt, None, options, model=model, room_id=self.room_id
        )
        return self._port.start_stream(message)

    async def leave(self) -> None:
        """Leave. Idempotent."""
        if self._is_left:
            return
        await self._port.ask(request("leave_room", room_id=self.room_id))
        self._close(None)

    async def history(
        self, *, before: int | None = None, limit: int | None = None
    ) -> tuple[RoomEntry, ...]:
        """A page of the log, oldest first: the newest page, or the one that ends at ``before``."""
        page = await self._port.ask(
            request("room_history", room_id=self.room_id, before=before, limit=limit)
        )
        return tuple(entry_of(wire) for wire in page.get("messages") or ())

    async def set_presence(self, state: Mapping[str, Any]) -> None:
        """Replace what the others see of this user (a typing sign, a cursor)."""
        self._entrance["state"] = dict(state)
        await self._port.ask(request("update_presence", room_id=self.room_id, state=dict(state)))

    async def update(self, **settings: Any) -> dict[str, Any]:
        """Change settings by their names on the wire in snake_case; returns all of them."""
        wire = request("", **settings)
        del wire["type"], wire["requestId"]
        reply = await self._port.ask(request("update_room", room_id=self.room_id, settings=wire))
        return dict(reply.get("settings") or {})

    async def set_role(self, user_id: str, role: str) -> None:
        """Make a user ``owner``, ``moderator``, ``member`` or ``viewer``."""
        await self._port.ask(request("set_role", room_id=self.room_id, user_id=user_id, role=role))

    async def kick(self, user_id: str) -> None:
        await self._port.ask(request("kick", room_id=self.room_id, user_id=user_id))

    async def ban(self, user_id: str) -> None:
        await self._port.ask(request("ban", room_id=self.room_id, user_id=user_id))

    async def unban(self, user_id: str) -> None:
        await self._port.ask(request("unban", room_id=self.room_id, user_id=user_id))

    async def invite(self, *, role: str | None = None, expires_in_ms: int | None = None) -> str:
        """Make an invitation that `join_room` takes."""
        reply = await self._port.ask(
            request("create_invite", room_id=self.room_id, role=role, expires_in=expires_in_ms)
        )
        return str(reply["invite"])

    # --- for the client ------------------------------------------------------------------------

    @property
    def position(self) -> dict[str, Any]:
        """How far this client has the log, for ``resume`` and a rejoin."""
        return {"epoch": self.epoch, "seq": self.seq} if self.epoch else {"seq": self.seq}

    def take(self, event: Message) -> None:
        """A message about this room that is not about a stream."""
        if self._is_left:
            return
        if event["type"] == "room_left":
            self._close(None)
            return
        happened = room_event_of(event)
        if happened is None:
            return
        if isinstance(happened, Left) and happened.user_id is None:
            member = self._member_with(happened.client_id)
            happened = replace(happened, user_id=None if member is None else member.user_id)
        if isinstance(happened, Said):
            if self._has(happened.entry):
                return
            self.seq = max(self.seq, happened.entry.seq)
        self._note(happened)
        self._tell(happened)
        if isinstance(happened, Left) and happened.client_id == self._port.client_id:
            self._close(None)

    def take_stream(self, stream: StreamHandle, event: Message) -> None:
        """A stream of this room has begun, or has ended: its entry is part of the log."""
        self.seq = max(self.seq, int(event.get("seq") or 0))
        if event["type"] == "stream_start":
            self._tell(AnswerStarted(stream))

    def rejoin(self) -> None:
        """After a reconnect without resume: enter again, from where the log was left."""
        message = request("join_room", **{})
        message.update({**self._entrance, "requestId": message["requestId"]})
        if self.epoch:
            message["lastSeq"] = self.position
        self._port.submit(Reply(message, on_error=self._cannot_rejoin))

    def rejoined(self, event: Message, *, resumed: bool) -> None:
        """``room_joined`` of a rejoin or a resume: what was missed is told now."""
        same_log = event.get("epoch") == self.epoch and event.get("recovered", True)
        self._look(event)
        entries = tuple(entry_of(wire) for wire in event.get("messages") or ())
        if same_log:
            for entry in entries:
                if not self._has(entry):
                    self.seq = max(self.seq, entry.seq)
                    self._tell(Said(entry))
        else:
            self.seq = 0
            self._tell(LogReplaced(entries))
        self._note_position(event)
        self._watch_active(event)
        if not resumed:
            self._ask_for_ended(event)

    def lose(self, error: ClientError) -> None:
        self._close(error)

    # --- inside --------------------------------------------------------------------------------

    def _look(self, joined: Message) -> None:
        self.participants = int(joined.get("participants", 0))
        self.members = {
            member.user_id: member
            for member in (member_of(wire) for wire in joined.get("members") or ())
        }
        self.role = str(joined.get("role", "member"))
        self.settings = dict(joined.get("settings") or {})

    def _note_position(self, joined: Message) -> None:
        self.epoch = joined.get("epoch")
        self.seq = max(self.seq, int(joined.get("seq") or 0))

    def _watch_active(self, joined: Message) -> None:
        """The server sends what runs in the room by itself."""
        known = {stream.stream_id for stream in self._port.streams_in(self.room_id)}
        for wire in joined.get("activeStreams") or ():
            stream_id = str(wire["streamId"])
            stream = self._port.adopt_stream(stream_id, self.room_id)
            stream.asker = wire.get("clientId", stream.asker)
            stream.model = wire.get("model", stream.model)
            if (member := self._member_with(stream.asker)) is not None:
                stream.asker_id, stream.asker_name = member.user_id, member.name
            if stream_id not in known:
                self._tell(AnswerStarted(stream))

    def _ask_for_ended(self, joined: Message) -> None:
        """It does not send what has ended since this client last saw it."""
        active = {str(wire["streamId"]) for wire in joined.get("activeStreams") or ()}
        for stream in self._port.streams_in(self.room_id):
            if stream.stream_id is not None and stream.stream_id not in active:
                stream.ask_again()

    def _member_with(self, client_id: str | None) -> Member | None:
        for member in self.members.values():
            if client_id in member.client_ids:
                return member
        return None

    def _has(self, entry: RoomEntry) -> bool:
        return 0 < entry.seq <= self.seq

    def _note(self, event: RoomEvent) -> None:
        match event:
            case Joined(member=member, participants=participants):
                self.participants = participants
                if member is not None:
                    self.members[member.user_id] = member
            case Left(user_id=user_id, participants=participants):
                self.participants = participants
                if user_id is not None:
                    self.members.pop(user_id, None)
            case PresenceChanged(changed=changed, joined=joined, left=left):
                self.members.update({member.user_id: member for member in (*joined, *changed)})
                for user_id in left:
                    self.members.pop(user_id, None)
                if event.participants is not None:
                    self.participants = event.participants
            case SettingsChanged(settings=settings):
                self.settings = settings
            case RoleChanged(user_id=user_id, role=role) if user_id in self.members:
                member = self.members[user_id] = replace(self.members[user_id], role=role)
                if self._port.client_id in member.client_ids:
                    self.role = role
            case _:
                pass

    def _tell(self, event: RoomEvent) -> None:
        for reader in self._readers:
            reader.put(event)

    def _cannot_rejoin(self, error: ClientError) -> None:
        # A connection that went again is no answer: the next one tries anew.
        if not isinstance(error, ConnectionLost):
            self._close(error)

    def _close(self, error: ClientError | None) -> None:
        if self._is_left:
            return
        self._is_left = True
        for reader in self._readers:
            reader.close(error)
        self._readers.clear()
        self._port.forget_room(self)
