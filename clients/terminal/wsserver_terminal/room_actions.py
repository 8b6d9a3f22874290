"""What the commands for running a room do: who is there, who may do what, who comes in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsserver_client import Member, Room
from wsserver_terminal.commands import Command, CommandError

if TYPE_CHECKING:
    from wsserver_terminal.chat import Chat

ROLES = ("owner", "moderator", "member", "viewer")
SETTINGS = {
    "title": "title",
    "model": "model",
    "system": "system_prompt",
    "access": "access",
    "ask": "ask",
    "busy": "when_busy",
    "max": "max_members",
}
"""What people type, and what the setting is called."""


def room_commands(actions: RoomActions) -> list[Command]:
    """The commands that are about the room on the screen."""
    names = "|".join(SETTINGS)
    return [
        Command("enter", "ROOM INVITE", "enter a room with an invite", actions.enter),
        Command("people", "", "who is in the room", actions.people),
        Command("invite", "[ROLE]", "make an invite to the room", actions.invite),
        Command("role", "USER ROLE", "give someone a role", actions.role),
        Command("kick", "USER", "send someone out of the room", actions.kick),
        Command("ban", "USER", "send someone out for good", actions.ban),
        Command("unban", "USER", "let someone come again", actions.unban),
        Command("lock", "", "let nobody new come in", actions.lock),
        Command("unlock", "", "let people come in again", actions.unlock),
        Command("rule", f"{names} VALUE", "a setting of the room", actions.rule),
    ]


class RoomActions:
    """The handlers. What the server refuses (a role too low) is shown as any error."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def enter(self, argument: str) -> None:
        room_id, _, invite = argument.rpartition(" ")
        if not room_id:
            raise CommandError("enter which room with which invite? /enter ROOM INVITE")
        await self._chat.enter_room(room_id.strip(), invite)

    async def people(self, argument: str) -> None:
        room = self._room
        rows = [(_shown(member), member.role) for member in room.members.values()]
        more = room.participants - len(rows)
        if more > 0:
            rows.append((f"and {more} more", ""))
        self._chat.screen.rows(rows)

    async def invite(self, argument: str) -> None:
        role = _role(argument) if argument else None
        invite = await self._room.invite(role=role)
        self._chat.screen.notice(f"invite: /enter {self._room.room_id} {invite}")

    async def role(self, argument: str) -> None:
        who, _, role = argument.rpartition(" ")
        if not who:
            raise CommandError(f"give whom which role? /role USER {'|'.join(ROLES)}")
        await self._room.set_role(self._user(who), _role(role))

    async def kick(self, argument: str) -> None:
        await self._room.kick(self._user(argument))

    async def ban(self, argument: str) -> None:
        await self._room.ban(self._user(argument))

    async def unban(self, argument: str) -> None:
        await self._room.unban(self._user(argument))

    async def lock(self, argument: str) -> None:
        await self._room.update(locked=True)

    async def unlock(self, argument: str) -> None:
        await self._room.update(locked=False)

    async def rule(self, argument: str) -> None:
        name, _, value = argument.replace("=", " ", 1).partition(" ")
        value = value.strip()
        if name not in SETTINGS or not (value or name == "system"):
            raise CommandError(f"which setting? /rule {'|'.join(SETTINGS)} VALUE")
        if name == "max" and not value.isdecimal():
            raise CommandError("max is a number of people")
        await self._room.update(**{SETTINGS[name]: int(value) if name == "max" else value})

    @property
    def _room(self) -> Room:
        if self._chat.room is None:
            raise CommandError("this is no room; /room NAME enters one")
        return self._chat.room.room

    def _user(self, who: str) -> str:
        """The userId of someone by name, or the id itself: who is not there has no name here."""
        who = who.strip()
        if not who:
            raise CommandError("whom? /people lists who is there")
        members = self._room.members
        named = [m for m in members.values() if (m.name or "").casefold() == who.casefold()]
        if who in members or not named:
            return who
        if len(named) > 1:
            ids = ", ".join(member.user_id for member in named)
            raise CommandError(f"several are called {who}: {ids}")
        return named[0].user_id


def _role(word: str) -> str:
    if word not in ROLES:
        raise CommandError(f"roles are {', '.join(ROLES)}")
    return word


def _shown(member: Member) -> str:
    if member.name and member.name != member.user_id:
        return f"{member.name} ({member.user_id})"
    return member.user_id
