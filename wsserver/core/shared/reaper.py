"""What becomes of what a dead process has left behind.

Every process that may clear runs a `Reaper`; one of them at a time does. What it does to a dead
node may be done twice (it may die in the midst of it, or be believed dead), so each step must bear
that. A node is buried when nothing of it is left; until then every round goes through it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.clients import ClientState, SharedClients

REAP_SECONDS = 5.0
"""Between two rounds."""

log = logging.getLogger(__name__)

Clear = Callable[[str], Awaitable[bool]]
"""Clears what a dead node has left of one kind. True when nothing of it is left."""


class Nodes(Protocol):
    """The processes of a fleet. All methods may raise `StoreUnavailable`."""

    async def dead(self) -> list[str]:
        """Those that have died and are not buried."""
        ...

    async def may_reap(self) -> bool:
        """Whether this node is the one that clears, for some rounds from now on."""
        ...

    async def bury(self, node_id: str) -> None:
        """Forget a dead node, unless it lives again."""
        ...


class Reaper:
    """Clears what dead nodes have left, while this node is the one to do so.

    Args:
        nodes: Who lives and who does not.
        clear: How what a node leaves is cleared, each kind by its own.
    """

    def __init__(self, nodes: Nodes, clear: Sequence[Clear]) -> None:
        self._nodes = nodes
        self._clear = clear

    async def keep(self) -> None:
        """Go round for ever. Never raises."""
        while True:
            await asyncio.sleep(REAP_SECONDS)
            try:
                await self.go_round()
            except StoreUnavailable as error:
                log.warning("dead nodes wait to be cleared: %s", error)

    async def go_round(self) -> None:
        """Clear what can be cleared of each dead node.

        Raises:
            StoreUnavailable: If the store is away; the next round goes on.
        """
        if not await self._nodes.may_reap():
            return
        for node_id in await self._nodes.dead():
            is_cleared = [await clear(node_id) for clear in self._clear]
            if all(is_cleared):
                await self._nodes.bury(node_id)
                log.warning("cleared what the dead node %s had left", node_id)
            if not await self._nodes.may_reap():
                return  # a long round: another one has gone on with it


def clear_clients(
    clients: SharedClients, window: float, clear: Callable[[ClientState], Awaitable[None]]
) -> Clear:
    """Clears the clients of dead nodes: each has its window to come back elsewhere.

    Args:
        clients: The clients of the fleet.
        window: Seconds for which a client's place is kept, from when its node's death is noticed.
        clear: Clears what a client that is gone has left: its place in rooms, its work.
    """

    async def clear_node(node_id: str) -> bool:
        gone, left = await clients.orphans(node_id, window)
        for state in gone:
            await clear(state)
            await clients.forget(state.client_id)
        return left == 0

    return clear_node
