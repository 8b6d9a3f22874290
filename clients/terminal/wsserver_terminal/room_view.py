"""A room in the terminal: who says what, and the model's answers, above the prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from wsserver_client import (
    AnswerStarted,
    ClientError,
    EventsMissed,
    Joined,
    Left,
    LogReplaced,
    RoleChanged,
    Room,
    RoomEntry,
    RoomEvent,
    Said,
    SettingsChanged,
    StreamHandle,
)
from wsserver_terminal.feed import Feed
from wsserver_terminal.screen import Screen

SHOWN_ON_JOINING = 20


class RoomView:
    """Shows one room until it is left.

    Attributes:
        room: The room.
        mine: The answer to this user's last question, None if none was asked.
    """

    def __init__(self, room: Room, client_id: str, screen: Screen, feed: Feed) -> None:
        self.room = room
        self.mine: StreamHandle | None = None
        self._client_id = client_id
        self._screen = screen
        self._feed = feed
        self._showing: set[asyncio.Task[None]] = set()
        self._names: dict[str, str] = {}  # of those who have spoken, by clientId

    async def run(self) -> None:
        """Show what happens until the room is left; ends with the error that lost it."""
        self._screen.notice(f"— room {self.room.room_id}: {self._people()} —")
        for entry in self.room.messages[-SHOWN_ON_JOINING:]:
            self._entry(entry)
        try:
            async for event in self.room.events():
                self._happened(event)
        finally:
            for task in self._showing:
                task.cancel()
            await asyncio.gather(*self._showing, return_exceptions=True)

    def ask(self, prompt: str, model: str | None, options: Mapping[str, Any]) -> None:
        """Ask the model; the answer is shown as everybody's is."""
        self.mine = self.room.ask(prompt, model=model, **options)

    def _happened(self, event: RoomEvent) -> None:
        match event:
            case Said(entry=entry):
                if entry.client_id != self._client_id:  # one's own is on the screen already
                    self._entry(entry)
            case AnswerStarted(stream=stream):
                task = asyncio.create_task(self._answer(stream))
                self._showing.add(task)
                task.add_done_callback(self._showing.discard)
            case Joined(member=member, client_id=client_id):
                who = member.name or member.user_id if member is not None else client_id
                self._screen.notice(f"— {who} came; {self._people()} —")
            case Left(user_id=user_id, client_id=client_id, reason=reason):
                self._screen.notice(f"— {user_id or client_id} left ({reason}) —")
            case RoleChanged(user_id=user_id, role=role):
                self._screen.notice(f"— {user_id} is {role} now —")
            case SettingsChanged(settings=settings):
                shown = ", ".join(f"{name} {value}" for name, value in settings.items())
                self._screen.notice(f"— settings: {shown} —")
            case LogReplaced(entries=entries):
                self._screen.mark("(something was missed; this is the end of the room's log)")
                for entry in entries[-SHOWN_ON_JOINING:]:
                    self._entry(entry)
            case EventsMissed(count=count):
                self._screen.mark(f"({count} events were missed)")
            case _:
                pass

    async def _answer(self, stream: StreamHandle) -> None:
        if stream.asker is not None and (name := stream.asker_name or stream.asker_id):
            self._names[stream.asker] = name

        def head() -> None:
            if stream is not self.mine and stream.prompt:
                self._screen.said(f"{self._name(stream.asker)} asks:", stream.prompt)
            self._screen.notice(f"{stream.model or 'the model'}:")

        await self._feed.show(stream, head)
        if stream.error is not None:
            self._screen.error(str(stream.error))
            return
        try:
            result = await stream.result()
        except ClientError as error:
            self._screen.error(str(error))
            return
        if result.finish_reason == "stopped":
            await self._learn(result.stopped_by)
            by = self._name(result.stopped_by)
            self._screen.mark(f"■ stopped by {by}")

    def _entry(self, entry: RoomEntry) -> None:
        if entry.role == "assistant":
            self._screen.said("model:", entry.text, style="bright_black")
        else:
            self._screen.said(f"{self._author(entry)}:", entry.text or str(entry.data))

    def _author(self, entry: RoomEntry) -> str:
        name = entry.name or entry.user_id or "someone"
        if entry.role == "user" and entry.client_id is not None:
            self._names[entry.client_id] = name
        return name

    async def _learn(self, client_id: str | None) -> None:
        """Look into the log for who it is.

        A user who comes with another client is told to nobody, and the end of an answer tells only
        the client that stopped it; what it has said stands in the log under a name.
        """
        if client_id is None or self._name(client_id) != client_id:
            return
        with suppress(ClientError):
            for entry in await self.room.history():
                self._author(entry)

    def _name(self, client_id: str | None) -> str:
        if client_id is None:
            return "someone"
        if client_id == self._client_id:
            return "you"
        for member in self.room.members.values():
            if client_id in member.client_ids:
                return member.name or member.user_id
        return self._names.get(client_id, client_id)

    def _people(self) -> str:
        count = self.room.participants
        return "1 person" if count == 1 else f"{count} people"
