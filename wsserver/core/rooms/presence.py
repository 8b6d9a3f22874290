"""The port through which a process says that it lives, and learns whose seats nobody holds.

A client that drops keeps its seats for the resume window; its process counts that, and takes them
away (`Clients`). A process that dies counts nothing any more. So every process renews a *lease*;
the seats of one whose lease has run out stay for the window, so that their clients can come back
through another process, and then they lapse: `RoomBroker.leave` with reason ``timeout``. A client
that comes back joins again, and the seat is the other process's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

from wsserver_protocol.errors import WireError

log = logging.getLogger(__name__)

LEASE = 15.0
"""Seconds for which a process is believed to live without a word of it."""

BEAT = 5.0
"""Seconds between two words: two may be lost."""


class Lapsed(NamedTuple):
    """A seat that nobody holds any more."""

    room_id: str
    user_key: str
    client_id: str
    takes: int = 0  # of the client when it took the seat; it may have taken it again since


class Presence(Protocol):
    """Leases on the seats that were taken through this process's broker."""

    async def renew(self) -> None:
        """This process lives, for another `LEASE` seconds.

        Raises:
            WireError: ``store_unavailable``.
        """

    async def lapsed(self) -> list[Lapsed]:
        """Seats of processes whose lease ran out longer ago than the grace.

        Each stays in the list until someone has it leave: who asks may die, too.

        Raises:
            WireError: ``store_unavailable``.
        """

    async def resign(self) -> None:
        """This process ends in order: its lease is over now, and the grace begins.

        Raises:
            WireError: ``store_unavailable``.
        """


class PresenceKeeper:
    """Renews this process's lease, and takes seats away that nobody holds.

    Args:
        presence: The leases.
        leave: Takes a seat away, as having timed out. Harmless if another process was faster.
        sweep: Drops what the store keeps past its time.
    """

    def __init__(
        self,
        presence: Presence,
        leave: Callable[[Lapsed], Awaitable[None]],
        sweep: Callable[[], Awaitable[None]],
    ) -> None:
        self._presence = presence
        self._leave = leave
        self._sweep = sweep

    async def run(self) -> None:
        """Work until cancelled, then resign. A store that is away is tried at the next beat."""
        try:
            while True:
                try:
                    await self.beat()
                except WireError as error:
                    log.warning("seats in rooms can't be looked after: %s", error.message)
                # Leases are counted in time, and nothing tells of a process that died.
                await asyncio.sleep(BEAT)
        finally:
            with suppress(WireError):  # the lease runs out by itself, too
                await self._presence.resign()

    async def beat(self) -> None:
        """One round: renew, take away, sweep."""
        await self._presence.renew()
        for seat in await self._presence.lapsed():
            await self._leave(seat)
        await self._sweep()
