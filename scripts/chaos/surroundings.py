"""What all clients share, and what one waits for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from scripts.chaos.book import Asked, Book, Frame
from scripts.chaos.pace import Pace
from scripts.chaos.recovery import Recoveries


class Gone(Exception):
    """The connection has ended, or whoever had it has gone."""


@dataclass(slots=True, eq=False)
class Pending:
    """A request that has had no end yet."""

    fields: Frame
    asked: Asked | None
    reply: asyncio.Future[Frame]
    has_started: bool = False
    sent_at: float = 0.0


@dataclass(slots=True)
class Surroundings:
    """What all clients share.

    Attributes:
        window: Seconds for which the servers keep a client's place.
    """

    book: Book
    addresses: list[str]
    window: float
    recoveries: Recoveries
    pace: Pace
