"""Steps that must run some time, however long Redis is away: repeated until it has taken them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.scripts import Argument

log = logging.getLogger(__name__)

TRY_EVERY = 0.5
"""Seconds between two tries."""

Call = Callable[[str, Sequence[str], Sequence[Argument]], Awaitable[Any]]


Answered = Callable[[Any], None]
"""Takes the reply of a step."""


def unheard(reply: Any) -> None:
    """Nobody wants the reply."""


class Insistence:
    """Repeats steps, of those about the same thing only the newest.

    Args:
        call: Runs a step; raises `StoreUnavailable`.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._newest: dict[tuple[str, Argument], object] = {}
        self._is_over = False

    def end(self) -> None:
        """Try nothing any more."""
        self._is_over = True

    async def run(
        self,
        name: str,
        keys: Sequence[str],
        args: Sequence[Argument],
        answered: Answered = unheard,
    ) -> None:
        """Run a step, until it is done or another one has taken its place.

        What it is about is its first key and its first argument. ``answered`` is called with its
        reply, if it comes to that.
        """
        subject, step = (keys[0], args[0]), object()
        self._newest[subject] = step
        try:
            while self._newest.get(subject) is step and not self._is_over:
                try:
                    reply = await self._call(name, keys, args)
                    answered(reply)
                    return
                except StoreUnavailable as error:
                    log.info("%s has not reached Redis yet: %s", name, error)
                await asyncio.sleep(TRY_EVERY)
        finally:
            if self._newest.get(subject) is step:
                del self._newest[subject]
