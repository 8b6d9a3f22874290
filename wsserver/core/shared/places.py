"""Clients of a gateway of a fleet: their places are known to all, and go where they come back.

What a client is stands in the shared store from its first token on, and is written again after each
change, so that it can come back anywhere at any moment: what was told to it is there. It is on one
node at a time. A node that finds that a client has gone elsewhere closes the older connection, and
nothing of the client is cleared there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial

from wsserver.core.ask import Answer
from wsserver.core.batches import Batch
from wsserver.core.clients import Attached, Client, Clients, token_digest, token_owner
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.clients import ClientState, SharedClients
from wsserver.core.shared.led import store_away
from wsserver_protocol.errors import CloseCode

log = logging.getLogger(__name__)

RETRY_EVERY = 1.0
"""Seconds between tries to write while the store is away."""

WRITTEN_WITHIN = 2.0
"""Seconds that a resume waits for its client's first state to be in the store."""


class FleetClients(Clients):
    """Clients of this process, whose places are shared.

    Args:
        shared: Where the places are.
        window: As for `Clients`.
        on_gone: As for `Clients`: what a client leaves is then cleared.
        node: This process.
        on_moved: Called for each client that another process has now.
        tell: Tells another node that a client of its is here now.
    """

    is_shared = True

    def __init__(
        self,
        shared: SharedClients,
        window: float,
        on_gone: Callable[[Client], None],
        *,
        node: str,
        on_moved: Callable[[Client], None],
        tell: Callable[[str, str], Coroutine[None, None, None]],
    ) -> None:
        super().__init__(window, on_gone)
        self._shared = shared
        self._node = node
        self._on_moved = on_moved
        self._tell = tell
        self._dirty: set[Client] = set()
        self._saved: dict[str, ClientState] = {}
        # A token that was taken, and those to give for it: who loses his connection in the midst of
        # a resume comes again with the same one, and may be here before the first is done with.
        self._successors: dict[str, list[str]] = {}
        self._writing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def touched(self, client: Client) -> None:
        if client.client_id in self._clients:
            self._dirty.add(client)
            if self._writing is None:
                self._writing = asyncio.get_running_loop().create_task(self._write())

    def begin_batch(self, client: Client, batch: Batch) -> None:
        """Its items are the client's answers: whoever clears what the client leaves finds them."""
        super().begin_batch(client, batch)
        batch.on_item = partial(self._item_begun, client)

    def _item_begun(self, client: Client, item: Answer) -> None:
        client.begin(item)
        self.touched(client)

    def issue_token(self, client: Client) -> str:
        token = super().issue_token(client)
        self.touched(client)
        return token

    async def recall(self, token: str) -> Client | None:
        try:
            taken = await self._shared.take(token)
            if taken is None and await self._is_written(self.find(token)):
                taken = await self._shared.take(token)
        except StoreUnavailable:
            raise store_away() from None
        if taken is None:
            self._forget_token(token)
            return None
        state = taken.state
        client = self._clients.get(state.client_id)
        if client is None:
            client = state.revive()
        else:
            for digest in client.tokens:
                self._by_token.pop(digest, None)
            client.tokens = list(state.tokens)
        self.adopt(client)
        self._successors.setdefault(token, []).append(taken.token)
        client.stream_ids = state.streams
        if taken.former is not None and taken.former != self._node:
            self._spawn(self._tell(taken.former, state.client_id))
        return client

    async def _is_written(self, client: Client | None) -> bool:
        """Wait until the store knows a client that came back before it was told of it.

        False if it was told long ago: then the store is right about its token.

        Raises:
            StoreUnavailable: If the store does not take it in time.
        """
        if client is None or client.client_id in self._saved:
            return False
        try:
            async with asyncio.timeout(WRITTEN_WITHIN):
                while client.client_id not in self._saved and self._writing is not None:
                    await asyncio.wait({self._writing})
        except TimeoutError:
            raise StoreUnavailable("a client is not written yet") from None
        return True

    def _forget_token(self, token: str) -> None:
        """The store knows better: a token that is good here is so no more."""
        client = self.find(token)
        if client is not None:
            digest = token_digest(token)
            del self._by_token[digest]
            client.tokens.remove(digest)

    def redeem(self, token: str) -> str:
        successors = self._successors[token]
        successor = successors.pop(0)
        if not successors:
            del self._successors[token]
        return successor

    def detach(self, client: Client) -> None:
        super().detach(client)
        self._spawn(self._away(client))

    def attach(self, client: Client, connection: Attached) -> Attached | None:
        older = super().attach(client, connection)
        self.touched(client)
        return older

    def moved(self, client_id: str) -> None:
        """Another node has a client of this one now."""
        client = self._clients.get(client_id)
        if client is None:
            return
        self._drop(client)
        connection, client.connection = client.connection, None
        self._on_moved(client)
        if connection is not None:
            connection.close(CloseCode.RESUMED_ELSEWHERE, "resumed on another connection")

    def lapsed(self) -> None:
        """This process was believed dead, or the store has lost what it knew: say all again."""
        self._spawn(self._say_again())

    def forget(self, client: Client) -> None:
        if client.client_id in self._clients:
            self._drop(client)
            self._spawn(self._gone(client))

    async def closed(self) -> None:
        """Wait until what is under way is written; not for a store that is away."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=RETRY_EVERY)
        for task in (*self._tasks, *([self._writing] if self._writing is not None else ())):
            task.cancel()

    def _drop(self, client: Client) -> None:
        del self._clients[client.client_id]
        self._dirty.discard(client)
        self._saved.pop(client.client_id, None)
        if client.window is not None:
            client.window.cancel()
            client.window = None
        for digest in client.tokens:
            self._by_token.pop(digest, None)
        for token in [t for t in self._successors if token_owner(t) == client.client_id]:
            del self._successors[token]

    async def _write(self) -> None:
        """Write all that has changed, each as it stands then."""
        while self._dirty:
            dirty, self._dirty = self._dirty, set()
            changed = [
                (c, s) for c in dirty if (s := ClientState.of(c)) != self._saved.get(c.client_id)
            ]
            try:
                held = await asyncio.gather(
                    *(
                        self._shared.save(state, is_connected=client.connection is not None)
                        for client, state in changed
                    )
                )
            except StoreUnavailable:
                self._dirty |= {client for client in dirty if client.client_id in self._clients}
                await asyncio.sleep(RETRY_EVERY)
                continue
            for (client, state), is_held in zip(changed, held, strict=True):
                if not is_held:
                    self.moved(client.client_id)
                elif client.client_id in self._clients:
                    if client.connection is None and client.client_id not in self._saved:
                        # It had gone before anyone knew of it: nobody was told that it is away.
                        self._spawn(self._away(client))
                    self._saved[client.client_id] = state
        self._writing = None

    async def _say_again(self) -> None:
        lost: list[str] = []

        async def refresh() -> None:
            lost.extend(await self._shared.refresh())

        await self._until_written(refresh)
        for client_id in lost:
            self.moved(client_id)
        self._saved.clear()
        for client in list(self._clients.values()):
            self.touched(client)
            if client.connection is None:
                await self._away(client)

    async def _away(self, client: Client) -> None:
        async def tell() -> None:
            if client.connection is None:  # else it has come back while the store was away
                await self._shared.away(client.client_id, self._window)

        await self._until_written(tell)

    async def _gone(self, client: Client) -> None:
        states: list[ClientState | None] = []

        async def take() -> None:
            states.append(await self._shared.gone(client.client_id))

        await self._until_written(take)
        if states[-1] is None:  # it went elsewhere
            self._on_moved(client)
            return
        self._on_gone(client)
        await self._until_written(lambda: self._shared.forget(client.client_id))

    async def _until_written(self, step: Callable[[], Coroutine[None, None, None]]) -> None:
        while True:
            try:
                await step()
                return
            except StoreUnavailable:
                await asyncio.sleep(RETRY_EVERY)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._reap)

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a client's place could not be kept", exc_info=task.exception())
