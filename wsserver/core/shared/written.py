"""What the fleet knows of a gateway's clients: written after each change, said again after doubts.

What a client is acknowledged, its first token, its name, is in the store by then (`known`). With
the store away it is refused; what can't be refused the client is told all the same, and the store
learns of it later.
"""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from collections.abc import Callable, Coroutine

from wsserver.core.clients import Client, Clients
from wsserver.core.errands import Errands
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.clients import ClientState, SharedClients, Standing
from wsserver.core.shared.led import store_away

RETRY_EVERY = 1.0
"""Seconds between tries to write while the store is away."""

WRITTEN_WITHIN = 2.0
"""Seconds that a client waits for what it was told to be in the store."""

SAY_EVERY = 3600.0
"""Seconds between two times that all clients are said to be here, whatever happened meanwhile."""

SAY_AT_MOST_EVERY = 5.0
"""Seconds between two times that there was reason to: each costs a call for each client."""

SAID_WITHIN = SAY_AT_MOST_EVERY + WRITTEN_WITHIN
"""Seconds after a doubt in which every node should have said who is there. Who is unknown before
may be one of whom the store was told, and has forgotten."""


class WrittenClients(Clients):
    """Clients of this process, each of which stands in the store as it is.

    Args:
        shared: The store.
        window: As for `Clients`.
        on_gone: As for `Clients`.
    """

    def __init__(
        self, shared: SharedClients, window: float, on_gone: Callable[[Client], object]
    ) -> None:
        super().__init__(window, on_gone)
        self._shared = shared
        self._dirty: set[Client] = set()
        self._saved: dict[str, ClientState] = {}  # what the store is known to have
        self._written = asyncio.Event()  # set at each writing, replaced
        self._is_away = False  # the store, when it was last written
        self._writing: asyncio.Task[None] | None = None
        self._doubts = asyncio.Event()
        self._doubted_at = -math.inf
        self._errands = Errands("a client's place could not be kept")

    def touched(self, client: Client) -> None:
        if client.client_id in self._clients:
            self._dirty.add(client)
            if self._writing is None:
                self._writing = asyncio.get_running_loop().create_task(self._write())

    async def known(self, client: Client, *, waits: bool = True) -> None:
        if self._is_away and not waits:
            raise store_away()
        try:
            await self._until_known(client)
        except StoreUnavailable:
            raise store_away() from None

    def doubt(self) -> None:
        """This process was believed dead, or the store has lost what it knew, or its words were
        lost on the way: say soon who is here."""
        self._doubted_at = asyncio.get_running_loop().time()
        self._doubts.set()

    @property
    def _is_in_doubt(self) -> bool:
        """Whether the store may not know yet who is where."""
        return asyncio.get_running_loop().time() - self._doubted_at < SAID_WITHIN

    async def keep(self) -> None:
        """Say for ever who is here: after each doubt, and every `SAY_EVERY` seconds."""
        while True:
            try:
                async with asyncio.timeout(SAY_EVERY):
                    await self._doubts.wait()
            except TimeoutError:
                pass
            self._doubts.clear()
            await self._until_written(self._say_again)
            await asyncio.sleep(SAY_AT_MOST_EVERY)

    @abstractmethod
    def _lose(self, client: Client, standing: Standing) -> None:
        """A client is this process's no more."""

    @abstractmethod
    async def _away(self, client: Client) -> None:
        """Tell the store that a client's connection is gone, until it has taken that in."""

    async def _until_known(self, client: Client) -> None:
        """Wait until a client is written as it stands, or is not here any more.

        Raises:
            StoreUnavailable: If the store does not take it in time.
        """
        try:
            async with asyncio.timeout(WRITTEN_WITHIN):
                while self._is_here(client) and not self._is_saved(client):
                    self.touched(client)
                    await self._written.wait()
        except TimeoutError:
            raise StoreUnavailable("a client is not written yet") from None

    def _is_here(self, client: Client) -> bool:
        return self._clients.get(client.client_id) is client

    def _is_saved(self, client: Client) -> bool:
        return self._saved.get(client.client_id) == ClientState.of(client)

    async def _write(self) -> None:
        """Write all that has changed, each as it stands then."""
        while self._dirty:
            dirty, self._dirty = self._dirty, set()
            changed = [
                (c, s) for c in dirty if (s := ClientState.of(c)) != self._saved.get(c.client_id)
            ]
            try:
                found = await asyncio.gather(
                    *(
                        self._shared.save(state, is_connected=client.connection is not None)
                        for client, state in changed
                    )
                )
            except StoreUnavailable:
                self._could_not_write(dirty)
                await asyncio.sleep(RETRY_EVERY)
                continue
            if changed:
                self._is_away = False
            for (client, state), standing in zip(changed, found, strict=True):
                self._stands(client, state, standing)
            self._step()
        self._writing = None

    def _could_not_write(self, dirty: set[Client]) -> None:
        for client in dirty:  # what it has of them is not certain any more
            self._saved.pop(client.client_id, None)
        self._dirty |= {client for client in dirty if self._is_here(client)}
        self._is_away = True
        self._step()

    def _step(self) -> None:
        written, self._written = self._written, asyncio.Event()
        written.set()

    def _stands(self, client: Client, state: ClientState, standing: Standing) -> None:
        """A client was written, or it was found to be no more this node's."""
        client_id = client.client_id
        if not self._is_here(client) or client.takes != state.takes:
            return  # it has gone since, or has come back since
        if standing in (Standing.TAKEN, Standing.GIVEN_UP):
            self._lose(client, standing)
        elif standing is Standing.STALE:
            self._saved.pop(client_id, None)
            self.touched(client)
        else:
            if client.connection is None and client_id not in self._saved:
                # It had gone when nobody knew of it: nobody was told that it is away.
                self._errands.begin(self._away(client))
            self._saved[client_id] = state

    async def _say_again(self) -> None:
        """Say of all clients how they stand.

        Raises:
            StoreUnavailable: If the store is away.
        """
        said: list[tuple[Client, ClientState]] = []
        for client in list(self._clients.values()):
            state = self._saved.get(client.client_id)
            if client.connection is not None and state is not None:
                said.append((client, state))
            else:
                self._saved.pop(client.client_id, None)
                self.touched(client)
        found = await self._shared.refresh([state for _, state in said])
        for (client, state), standing in zip(said, found, strict=True):
            if standing is not Standing.OURS:
                self._stands(client, state, standing)

    async def _until_written(self, step: Callable[[], Coroutine[None, None, None]]) -> None:
        while True:
            try:
                await step()
                return
            except StoreUnavailable:
                await asyncio.sleep(RETRY_EVERY)
