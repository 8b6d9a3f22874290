"""Rooms of two processes against a plain model: every order of tabs, drops, kicks and bans.

A subclass says what the processes share.

The model knows who is there and what was said. Beside it one member sits on each process and
believes only what it is told; at every step both must know the same as the model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.support.seats import Seat, make_client
from wsserver.core.clients import Client
from wsserver.core.rooms import Origin, Rooms
from wsserver_protocol import events
from wsserver_protocol.errors import WireError
from wsserver_protocol.fields import Role

USERS = ("bob", "cyd", "dan")
TABS = 3

tabs = st.tuples(st.sampled_from(USERS), st.integers(0, TABS - 1))


class Reader:
    """Who is there and what was said, as told to one member."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.users: set[str] = set()
        self.roles: dict[str, str] = {}
        self.said: list[str] = []
        self.seq = 0
        self._read = 0

    def catch_up(self) -> None:
        """Take in what was told; nobody comes twice or goes twice, no seq is missing."""
        for event in self.seat.events[self._read :]:
            match event:
                case events.RoomUserJoined(member=member):
                    assert member.user_id not in self.users
                    self.users.add(member.user_id)
                    assert event.participants == len(self.users)
                case events.RoomUserLeft(user_id=user_id):
                    self.users.remove(str(user_id))
                    assert event.participants == len(self.users)
                case events.RoomRole():
                    self.roles[event.user_id] = event.role
                case events.RoomEntryEvent():
                    assert event.seq == self.seq + 1
                    self.seq = event.seq
                    self.said.append(event.text)
        self._read = len(self.seat.events)


class RoomHistory(RuleBasedStateMachine):
    """Two processes, an observer on each; the first one's owns the room."""

    room_id = "r"

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.processes = self.begin()
        self.there: dict[tuple[str, int], Client] = {}
        self.banned: set[str] = set()
        self.said: list[str] = []
        self.readers: list[Reader] = []
        self.observers: list[Client] = []
        for number, name in enumerate(("ada", "eve")):
            client, seat = make_client(name)
            self.observers.append(client)
            self.readers.append(Reader(seat))
            self.do(self.processes[number].join(client, self.room_id))
        for reader in self.readers:
            reader.users = {"ada", "eve"}
            reader.seat.events.clear()

    def begin(self) -> list[Rooms]:
        """Two processes with no rooms yet."""
        raise NotImplementedError

    async def settle(self) -> None:
        """Wait until all processes have been told everything."""

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def settled() -> Any:
            try:
                return await work
            finally:
                await self.settle()

        return self.runner.run(settled())

    def origin(self) -> Origin:
        return Origin(self.observers[0].client_id, None)

    def users(self) -> set[str]:
        return {user for user, _ in self.there}

    @rule(tab=tabs)
    def join(self, tab: tuple[str, int]) -> None:
        """A tab comes in, or joins again."""
        user, number = tab
        client = self.there.get(tab) or make_client(user)[0]
        try:
            self.do(self.processes[number % 2].join(client, self.room_id))
        except WireError as error:
            assert user in self.banned, error
        else:
            assert user not in self.banned
            self.there[tab] = client

    @rule(tab=tabs, reason=st.sampled_from(["left", "timeout"]))
    def leave(self, tab: tuple[str, int], reason: str) -> None:
        """A tab leaves, or its window is over."""
        client = self.there.pop(tab, None)
        rooms = self.processes[tab[1] % 2]
        room = rooms.get(self.room_id)
        if client is not None and room is not None:
            self.do(rooms.leave(client, room, reason))

    @rule(tab=tabs)
    def leave_late(self, tab: tuple[str, int]) -> None:
        """A leave comes twice, or for who was thrown out: nothing happens."""
        if tab not in self.there:
            broker, key = self.processes[0].broker, f"named:{tab[0]}"
            assert self.do(broker.leave(self.room_id, key, "cli_gone", "timeout")) == []

    @rule(user=st.sampled_from(USERS), lasts=st.booleans())
    def throw_out(self, user: str, lasts: bool) -> None:
        """A kick or a ban ends all tabs of a user."""
        broker, room, key = self.processes[0].broker, self.room_id, f"named:{user}"
        if lasts:
            self.do(broker.ban(room, key, user, reach=Role.OWNER, by="ada", origin=self.origin()))
            self.banned.add(user)
        elif user in self.users():
            self.do(broker.kick(room, key, reach=Role.OWNER, origin=self.origin()))
        self.there = {tab: client for tab, client in self.there.items() if tab[0] != user}

    @precondition(lambda self: self.banned)
    @rule()
    def pardon(self) -> None:
        """A ban is lifted."""
        user = self.banned.pop()
        key = f"named:{user}"
        self.do(
            self.processes[0].broker.unban(self.room_id, key, user, by="ada", origin=self.origin())
        )

    @rule(tab=tabs)
    def say(self, tab: tuple[str, int]) -> None:
        """Somebody says something."""
        client = self.there.get(tab)
        rooms = self.processes[tab[1] % 2]
        room = rooms.get(self.room_id)
        if client is not None and room is not None:
            text = f"{tab} {len(self.said)}"
            self.said.append(text)
            self.do(rooms.say(client, room, text, None, Origin(client.client_id, "q")))

    @invariant()
    def all_know_the_same(self) -> None:
        """Readers, seats and the model agree; who is out sits nowhere."""
        for reader in self.readers:
            reader.catch_up()
            assert reader.users == self.users() | {"ada", "eve"}
            assert reader.said == self.said
        for number, rooms in enumerate(self.processes):
            room = rooms.get(self.room_id)
            assert room is not None
            mine = {c.client_id for tab, c in self.there.items() if tab[1] % 2 == number}
            assert set(room.clients) == mine | {self.observers[number].client_id}
        for client in self.there.values():
            assert client.room_ids == [self.room_id]

    def teardown(self) -> None:
        self.runner.close()
