"""A room as this process keeps it: whose connections are there, and what they must be told by.

It mirrors of the shared room what is needed without asking: roles of those who sit here, the
settings, the open asks. All of it comes from `Joined` and from changes, never from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from wsserver.core.broadcast import Broadcast
from wsserver.core.clients import Client
from wsserver.core.rooms.broker import Joined
from wsserver.core.rooms.changes import OpenAsk, Origin
from wsserver.core.rooms.digest import PresenceDigest
from wsserver_protocol import events
from wsserver_protocol.fields import Role
from wsserver_protocol.requests import RoomSettings


class Room:
    """One room's part on this process."""

    def __init__(self, room_id: str) -> None:
        self.room_id = room_id
        self.settings = RoomSettings()
        self.roles: dict[str, Role] = {}  # of users with a client here, by user key
        self.clients: dict[str, Client] = {}  # by clientId
        self.asks: dict[str, OpenAsk] = {}  # in order of asking, by streamId
        self.entering: set[str] = set()  # clientIds of those who have to be shown it anew
        self.heard = 0  # changes that were told
        self.digest = PresenceDigest(room_id, self.announce)

    def seat(self, client: Client, joined: Joined) -> None:
        """A client sits here now, and the room is as it was told."""
        self.clients[client.client_id] = client
        self.entering.discard(client.client_id)
        self.roles[client.identity.key] = joined.role
        self.settings = joined.settings
        self.asks = {ask.stream_id: ask for ask in joined.open_asks}

    def unseat(self, client: Client) -> None:
        """A client sits here no more."""
        del self.clients[client.client_id]
        self.entering.discard(client.client_id)
        key = client.identity.key
        if not any(other.identity.key == key for other in self.clients.values()):
            del self.roles[key]

    def role_of(self, client: Client) -> Role:
        """The role of a client that sits here."""
        return self.roles[client.identity.key]

    def is_asked(self, stream_id: str) -> bool:
        """Whether an answer is still to have its entry."""
        return stream_id in self.asks

    def present(self, *, besides: str | None = None) -> Iterator[Client]:
        """Clients with a connection, but for one.

        Those who have to enter anew are told nothing before: what they know is another room's.
        """
        for client_id, client in self.clients.items():
            is_in = client_id != besides and client_id not in self.entering
            if is_in and client.connection is not None:
                yield client

    def announce(self, event: events.Event, *, origin: Origin | None = None) -> None:
        """Send an event to everyone here, encoded once; ``origin``'s copy has its requestId."""
        whose = origin.client_id if origin is not None and origin.request_id is not None else None
        broadcast = Broadcast(event)
        for client in self.present(besides=whose):
            if client.connection is not None:
                client.connection.send_shared(broadcast)
        self.answer(event, origin)

    def answer(self, event: events.Event, origin: Origin | None) -> None:
        """Send an event as the reply to the request that it comes from, if that came from here."""
        if origin is None or origin.request_id is None:
            return
        client = self.clients.get(origin.client_id)
        if client is not None and client.connection is not None:
            client.connection.send(msgspec.structs.replace(event, request_id=origin.request_id))
