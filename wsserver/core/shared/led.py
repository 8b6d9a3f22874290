"""An accepted answer on its way into its model's line: how far it has come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from wsserver.core.ask import Answer, Claim
from wsserver.core.jobs import Job
from wsserver.core.shared.meta import Kept
from wsserver_protocol.errors import ErrorCode, WireError

RETRY_AFTER_MS = 2000
"""What a client is told to wait when the store is away."""


@dataclass(slots=True, eq=False)
class Led:
    """An answer that this process accepted, on its way into its model's line."""

    answer: Answer
    claim: Claim | None = None  # the id that its asker gave it
    noting: asyncio.Task[None] | None = None  # makes known who leads it
    kept: Kept | None = None
    placed: asyncio.Event = field(default_factory=asyncio.Event)  # nothing else holds its start
    job: Job | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # set at each step, replaced
    is_created: bool = False
    may_be_created: bool = False  # the store did not say whether it is in the log
    may_be_in_line: bool = False  # likewise, whether it is in line
    is_in_line: bool = False
    is_admitted: bool = False

    @property
    def may_be_placed(self) -> bool:
        """Whether its session or its room may have it from now on."""
        return self.is_admitted and (self.is_created or self.answer.ask.room_id is None)

    def step(self) -> None:
        """Wake all who wait for the next change."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


def store_away() -> WireError:
    """What a client is told while the store can't be reached."""
    return WireError(
        ErrorCode.STORE_UNAVAILABLE,
        "The store that all servers share is away; try again soon.",
        retry_after=RETRY_AFTER_MS,
    )
