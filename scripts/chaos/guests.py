"""What people do in rooms: come, talk, ask before everyone, show how they are, run the room, go."""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from scripts.chaos.device import Device
from scripts.chaos.room_book import Frame, Kick, Said
from scripts.chaos.room_screen import RoomView

if TYPE_CHECKING:
    from scripts.chaos.people import Person

PEOPLE_IN_A_ROOM = 8

HOMES = 2
"""Rooms that one person goes to."""

TOKENS = (5, 20, 60, 150)
"""Of answers in rooms."""


def rooms_for(people: int) -> list[str]:
    """The rooms of so many people."""
    return [f"room-{n}" for n in range(max(2, people * HOMES // PEOPLE_IN_A_ROOM))]


class Guest:
    """One person's life in rooms.

    Args:
        person: Who.
        homes: Rooms that this person goes to.
    """

    def __init__(self, person: Person, homes: list[str], rng: random.Random) -> None:
        self._person = person
        self.homes = homes
        self._rng = rng
        self._book = person.book
        self._numbers = itertools.count(1)
        self.deeds: dict[Callable[[], Awaitable[None]], int] = {
            self._come: 12,
            self._talk: 18,
            self._ask: 14,
            self._show: 5,
            self._stop_another: 4,
            self._read: 2,
            self._go: 3,
            self._promote: 1,
            self._throw_out: 1,
        }

    async def move_in(self) -> None:
        """Begin in one of the rooms."""
        await self._person.devices[0].enter(self.homes[0])

    async def _come(self) -> None:
        device = self._rng.choice(self._person.devices)
        room_id = self._rng.choice(self.homes)
        if not device.rooms.view(room_id).is_wanted:
            await device.enter(room_id)

    async def _go(self) -> None:
        for device, view in self._seats():
            await device.leave(view.room_id)
            return

    async def _talk(self) -> None:
        for device, view in self._seats():
            request_id = device.new_id()
            text = f"{request_id} says something to {view.room_id}"
            said = Said(request_id, view.room_id, self._person.name, text)
            self._book.rooms.said[text] = said
            self._person.spawn(device.say(said))
            return

    async def _ask(self) -> None:
        for device, view in self._seats():
            if not self._person.is_free():
                return
            asked = self._person.new("stream", self._rng.choice(TOKENS), room_id=view.room_id)
            if view.moderates():
                await self._lay_down_the_rule(device, view)
            self._person.ask(asked)
            return

    async def _lay_down_the_rule(self, device: Device, view: RoomView) -> None:
        """Whoever runs a room sees to it that it has its rule."""
        settings = {"whenBusy": self._book.rooms.rule(view.room_id)}
        self._person.spawn(device.ask("update_room", roomId=view.room_id, settings=settings))

    async def _show(self) -> None:
        for device, view in self._seats():
            state: dict[str, Any] = {"mood": next(self._numbers)}
            self._person.spawn(device.ask("update_presence", roomId=view.room_id, state=state))
            return

    async def _read(self) -> None:
        for device, view in self._seats():
            self._person.spawn(device.ask("room_history", roomId=view.room_id, limit=20))
            return

    async def _stop_another(self) -> None:
        for device, view in self._seats():
            if view.moderates():
                await self._stop_in(device, view.room_id)
                return

    async def _stop_in(self, device: Device, room_id: str) -> None:
        for answer in device.screen.open:
            asked = self._book.answers.get(answer.stream_id)
            if answer.room_id == room_id and asked is not None:
                asked.may_stop = True
                await device.tell("stop_stream", streamId=answer.stream_id)
                return

    async def _promote(self) -> None:
        await self._about_another("set_role", role="moderator")

    async def _throw_out(self) -> None:
        await self._about_another("kick")

    async def _about_another(self, kind: str, **fields: str) -> None:
        for device, view in self._seats():
            others = sorted(view.members - {self._person.name})
            if view.moderates() and others:
                other = self._rng.choice(others)
                kick = self._book.rooms.kick(view.room_id, other) if kind == "kick" else None
                request: Frame = {"roomId": view.room_id, "userId": other, **fields}
                self._person.spawn(_until_over(device, kind, request, kick))
                return

    def _seats(self) -> list[tuple[Device, RoomView]]:
        """Where this person sits, in some order; the first device's first, as it is what asks."""
        device = self._person.devices[0]
        seats = [(device, view) for view in device.rooms.seated]
        self._rng.shuffle(seats)
        return seats


async def _until_over(device: Device, kind: str, request: Frame, kick: Kick | None) -> None:
    await device.ask(kind, **request)
    if kick is not None:
        kick.end()
