"""What the contracts of rooms are played with: a clock, processes that note what they are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from wsserver.core.rooms.bounds import RoomBounds
from wsserver.core.rooms.broker import Joined, Opened, RoomBroker, Seat
from wsserver.core.rooms.changes import Change, Draft, OpenAsk, Origin
from wsserver.core.rooms.presence import Lapsed, Presence
from wsserver_protocol.fields import Role

Kind = TypeVar("Kind")


class RoomClock:
    """A time of day that tests move, in milliseconds since the epoch."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass."""
        self.now += round(seconds * 1000)


class Process:
    """One process's broker and lease, and what it was told."""

    def __init__(self, broker: RoomBroker, presence: Presence) -> None:
        self.broker = broker
        self.presence = presence
        self.told: list[tuple[str, Change]] = []
        broker.listen(lambda room_id, change: self.told.append((room_id, change)))

    def heard(self, kind: type[Kind]) -> list[Kind]:
        """Changes of a kind, in order."""
        return [change for _, change in self.told if isinstance(change, kind)]

    def kinds(self) -> list[str]:
        """What was told, in short."""
        return [type(change).__name__ for _, change in self.told]

    async def join(self, user: str, tab: str = "1", room_id: str = "r", **more: object) -> Joined:
        """Let a user's client in."""
        return await self.broker.join(room_id, seat(user, tab), **more)  # type: ignore[arg-type]  # as the test gives them

    async def leave(self, user: str, tab: str = "1", reason: str = "left") -> list[str]:
        """Let a user's client go."""
        return await self.broker.leave("r", key(user), f"{user}-{tab}", reason)

    async def say(self, user: str, text: str) -> int:
        """Say something; returns its seq."""
        return (await self.broker.say("r", draft(user, text), origin(user))).entry.seq

    async def ask(self, user: str, stream_id: str, **more: Any) -> Opened:
        """Ask the model."""
        wanted = OpenAsk(stream_id=stream_id, client_id=f"{user}-1", model_id="m")
        said = draft(user, f"ask {stream_id}", stream_id)
        return await self.broker.ask("r", wanted, said, origin(user), **more)

    async def answer(self, stream_id: str) -> int | None:
        """Have an answer logged; returns its seq."""
        said = Draft(
            role="assistant",
            client_id="server",
            user_id="m",
            name="m",
            text="answer",
            stream_id=stream_id,
        )
        entry = await self.broker.answer("r", said)
        return entry.seq if entry is not None else None

    async def lapse(self, lapsed: Lapsed) -> None:
        """Take a seat away that nobody holds."""
        room_id, user_key, client_id, takes = lapsed
        await self.broker.leave(room_id, user_key, client_id, "timeout", takes)

    async def set_role(self, user: str, role: Role, reach: Role = Role.OWNER) -> None:
        """Have ada give a user a role."""
        await self.broker.set_role(
            "r", key(user), user, role, reach=reach, by="ada", origin=origin("ada")
        )

    async def ban(self, user: str, reach: Role = Role.OWNER) -> None:
        """Have ada ban a user."""
        await self.broker.ban("r", key(user), user, reach=reach, by="ada", origin=origin("ada"))


class MakeProcess(Protocol):
    """Another process on the same store."""

    async def __call__(self, bounds: RoomBounds = ..., grace: float = ...) -> Process: ...


Refused = Callable[[], Awaitable[object]]


def key(user: str) -> str:
    return f"named:{user}"


def seat(user: str, tab: str = "1") -> Seat:
    return Seat(user_key=key(user), user_id=user, name=user.title(), client_id=f"{user}-{tab}")


def origin(user: str) -> Origin:
    return Origin(f"{user}-1", "req")


def draft(user: str, text: str, stream_id: str | None = None) -> Draft:
    return Draft(
        role="user",
        client_id=f"{user}-1",
        user_id=user,
        name=user.title(),
        text=text,
        stream_id=stream_id,
    )
