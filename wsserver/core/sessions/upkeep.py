"""What is done to the store beside requests: clients that are gone, sessions past their TTL."""

from __future__ import annotations

import asyncio
import logging

from wsserver.core.sessions.refusals import LONG_DEADLINE, in_time
from wsserver.core.sessions.store import SessionError, SessionStore

log = logging.getLogger(__name__)

EXPIRE_EVERY = 3600.0
"""Seconds between sweeps. What is past its TTL is invisible at once; this frees its space."""

RETRY_AFTER = 10.0
"""Seconds until a store that was away is asked again."""


class Upkeep:
    """Runs as one task for the life of the server."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._gone: set[str] = set()
        self._work = asyncio.Event()

    def forget(self, owner: str) -> None:
        """An anonymous client is gone for good, and its sessions with it."""
        self._gone.add(owner)
        self._work.set()

    async def run(self) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        next_sweep = loop.time()
        while True:
            self._work.clear()
            is_done = await self._delete_gone()
            if loop.time() >= next_sweep and await self._expire():
                next_sweep = loop.time() + EXPIRE_EVERY
            pause = max(RETRY_AFTER, next_sweep - loop.time()) if is_done else RETRY_AFTER
            try:
                async with asyncio.timeout(pause):
                    await self._work.wait()
            except TimeoutError:
                continue

    async def _delete_gone(self) -> bool:
        for owner in list(self._gone):
            try:
                await in_time(self._store.delete_owner(owner), LONG_DEADLINE)
            except SessionError as error:
                log.warning("sessions of a client that is gone can't be deleted yet: %s", error)
                return False
            self._gone.discard(owner)
        return True

    async def _expire(self) -> bool:
        try:
            count = await in_time(self._store.expire(), LONG_DEADLINE)
        except SessionError as error:
            log.warning("old sessions can't be deleted yet: %s", error)
            return False
        if count:
            log.info("deleted %d sessions that were past their time", count)
        return True
