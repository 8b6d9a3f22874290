"""A room's steps: what every script of rooms is called with, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wsserver.core.idempotency import duplicate_request
from wsserver.core.ids import new_id
from wsserver.core.rooms import refusals
from wsserver.core.rooms.bounds import BANS_KEPT, RoomBounds
from wsserver.core.sessions.store import StoreUnavailable, StoreUntouched
from wsserver.stores.redis.link import PUBLISH, Argument, RedisLink
from wsserver.stores.redis.rooms.format import Granted, granted_of
from wsserver.stores.redis.rooms.keys import channel, room_keys
from wsserver_protocol.errors import WireError

Clock = Callable[[], int]
"""A time of day in milliseconds since the epoch."""

_REFUSALS: dict[bytes, Callable[[], WireError]] = {
    b"used": duplicate_request,
    b"not_in_room": refusals.not_in_room,
    b"banned": refusals.banned,
    b"locked": refusals.locked,
    b"busy": refusals.busy,
    b"out_of_reach": refusals.out_of_reach,
    b"needs_an_owner": refusals.needs_an_owner,
    b"is_banned": refusals.is_banned,
    b"too_many_bans": lambda: refusals.too_many_bans(BANS_KEPT),
    b"unknown_user": lambda: refusals.no_such_user("is not known in this room"),
    b"no_member": lambda: refusals.no_such_user("is no member of this room"),
    b"not_banned": lambda: refusals.no_such_user("is not banned from this room"),
}


class RoomSteps:
    """Runs the scripts of rooms.

    Args:
        link: The Redis.
        bounds: What is kept of rooms.
        clock: The time of day; None: Redis' own, the same for all processes.
    """

    def __init__(self, link: RedisLink, bounds: RoomBounds, clock: Clock | None) -> None:
        self._link = link
        self._bounds = bounds
        self._clock = clock

    @property
    def now(self) -> int | str:
        """The time of day as scripts take it; empty: they look themselves."""
        return "" if self._clock is None else self._clock()

    async def run(
        self,
        name: str,
        room_id: str,
        args: Sequence[Argument] = (),
        *,
        op: str | None = None,
        known: int | None = None,
        keys: Sequence[str] = (),
    ) -> list[Any]:
        """The raw reply of ``rooms/<name>``.

        Args:
            name: Of the script.
            room_id: The room.
            args: The script's own.
            op: The call's id, the same if it has to be made again; None: a new one.
            known: The place up to which this process was told.
            keys: More keys of the room's, for this script.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        bounds = self._bounds
        reply: list[Any] = await self._link.call(
            f"rooms/{name}",
            [*room_keys(room_id), *keys],
            [
                self.now,
                op or new_id("op"),
                bounds.entries,
                round(bounds.entry_seconds * 1000),
                round(bounds.keep_seconds * 1000),
                *args,
                "" if known is None else known,
                channel(room_id),
                PUBLISH,
            ],
        )
        return reply

    async def step(
        self,
        name: str,
        room_id: str,
        args: Sequence[Argument] = (),
        *,
        op: str | None = None,
        known: int | None = None,
        keys: Sequence[str] = (),
    ) -> Granted | None:
        """Run a script; None: there is no such room.

        Raises:
            InDoubt: If Redis has gone away, and may have run it.
            WireError: If it is refused, or ``store_unavailable``.
        """
        try:
            reply = await self.run(name, room_id, args, op=op, known=known, keys=keys)
        except StoreUntouched:
            raise refusals.store_away() from None
        except StoreUnavailable:
            raise refusals.in_doubt() from None
        match reply[0]:
            case b"none":
                return None
            case b"no":
                raise refusal(reply[1], reply[2])
            case _:
                return granted_of(reply)


def refusal(code: bytes, more: bytes) -> WireError:
    """Why a script refused."""
    if code == b"full":
        return refusals.full(int(more))
    if code == b"not_invited":
        return refusals.not_invited(had_invite=bool(more))
    return _REFUSALS[code]()
