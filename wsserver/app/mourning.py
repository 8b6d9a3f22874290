"""Telling the fleet at once of processes that this one's supervisor has seen die."""

from __future__ import annotations

import asyncio
import logging

from wsserver.config.handover import Lifeline
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis import RedisLink
from wsserver.stores.redis.deaths import declare_dead
from wsserver.stores.redis.nodes import LEASE_SECONDS

log = logging.getLogger(__name__)

RETRY_EVERY = 0.5
"""Seconds between tries while Redis is away."""


class Mourner:
    """Declares dead whom its supervisor has seen die.

    Args:
        link: The Redis of the fleet.
        lifeline: Tells who has died.
    """

    def __init__(self, link: RedisLink, lifeline: Lifeline) -> None:
        self._link = link
        self._lifeline = lifeline

    async def run(self) -> None:
        """Work until cancelled."""
        async for node in self._lifeline.deaths():
            await self._tell(node)

    async def _tell(self, node: str) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + LEASE_SECONDS  # by then they are missed anyway
        while loop.time() < until:
            try:
                await declare_dead(self._link, node)
            except StoreUnavailable as error:
                log.debug("the death of %s can't be told: %s", node, error)
                await asyncio.sleep(RETRY_EVERY)
            else:
                log.info("told the fleet that %s has died", node)
                return
