"""Clients of a gateway of a fleet: their places are known to all, and go where they come back.

What a client is stands in the shared store before it is told its first token, and is written again
after each change, so that it can come back anywhere at any moment: what was told to it is there. It
is on one node at a time. A node that finds that a client has gone elsewhere closes the older
connection, and nothing of the client is cleared there.

A client may go from node to node faster than these hear of it, and come back to one that has not
noticed yet that it was away. So the times that it was taken are numbered, and what is said of an
earlier one (by a bell, by a reply, by a timer) does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from functools import partial

from wsserver.core.ask import Answer
from wsserver.core.batches import Batch
from wsserver.core.clients import Attached, Client, token_digest, token_owner
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.clients import ClientState, SharedClients, Standing
from wsserver.core.shared.led import store_away
from wsserver.core.shared.written import RETRY_EVERY, WrittenClients
from wsserver_protocol.errors import CloseCode


class FleetClients(WrittenClients):
    """Clients of this process, whose places are shared.

    Args:
        shared: Where the places are.
        window: As for `Clients`.
        clear: Gives up what a client leaves that is gone. Once it returns, others know enough of
            that to go on with it, should this process die.
        node: This process.
        on_moved: Called for each client that another process has now.
        tell: Tells another node that a client of its is here now: its id, and by which
            take.
    """

    is_shared = True

    def __init__(
        self,
        shared: SharedClients,
        window: float,
        clear: Callable[[Client], Coroutine[None, None, None]],
        *,
        node: str,
        on_moved: Callable[[Client], None],
        tell: Callable[[str, str, int], Coroutine[None, None, None]],
    ) -> None:
        super().__init__(shared, window, clear)
        shared.on_stranded = self._stranded
        self._clear = clear
        self._node = node
        self._on_moved = on_moved
        self._tell = tell
        # A token that was taken, and those to give for it: who loses his connection in the midst of
        # a resume comes again with the same one, and may be here before the first is done with.
        self._successors: dict[str, list[str]] = {}
        self._leaving: set[Client] = set()  # their windows are over; they may come back until then

    def begin_batch(self, client: Client, batch: Batch) -> None:
        """Its items are the client's answers: whoever clears what the client leaves finds them."""
        super().begin_batch(client, batch)
        batch.on_item = partial(self._item_begun, client)

    def _item_begun(self, client: Client, item: Answer) -> None:
        client.begin(item)
        self.touched(client)

    def touched(self, client: Client) -> None:
        if client not in self._leaving:  # written now it could outlast what ends it
            super().touched(client)

    def asked(self) -> Iterator[str]:
        """The answers that are wanted by their askers, who are clients of this process."""
        for client in self:
            for answer in client.answers.values():
                if not answer.survives_its_asker:
                    yield answer.stream_id

    def issue_token(self, client: Client) -> str:
        token = super().issue_token(client)
        self.touched(client)
        return token

    async def recall(self, token: str) -> Client | None:
        try:
            taken = await self._shared.take(token)
            client = self.find(token)
            if taken is None and client is not None:
                # The store may not know of it yet, or not any more.
                self._saved.pop(client.client_id, None)
                await self._until_known(client)
                taken = await self._shared.take(token)
        except StoreUnavailable:
            raise store_away() from None
        if taken is None and self._is_in_doubt:
            raise store_away()  # its node may be about to say again that it is there
        if taken is None:
            self._forget_token(token)
            return None
        state = taken.state
        client = self._clients.get(state.client_id)
        if client is not None and client.takes < taken.before:
            # It was elsewhere since: what it is here is old, and nobody has said so yet.
            self._lose(client, Standing.TAKEN)
        client = self._take_in(state)
        if client.connection is None:
            # It may have been away here for long, and elsewhere since. Whatever comes in the way of
            # its return now leaves it with a window.
            self.await_return(client)
        self._successors.setdefault(token, []).append(taken.token)
        client.stream_ids = state.streams
        if taken.former != self._node:
            self._errands.begin(self._tell(taken.former, state.client_id, state.takes))
        return client

    def _stranded(self, state: ClientState) -> None:
        """A client was taken for a resume that was refused: its window ends here, if it ends."""
        known = self._clients.get(state.client_id)
        if known is not None and known.takes >= state.takes:
            return  # it has come again meanwhile
        client = self._take_in(state)
        client.stream_ids = state.streams
        if client.connection is None:
            self.await_return(client)
        else:  # it lives after all
            self._saved.pop(client.client_id, None)
            self.touched(client)

    def _take_in(self, state: ClientState) -> Client:
        """Have a client be this process's, as it was taken last."""
        client = self._clients.get(state.client_id) or state.revive()
        self._leaving.discard(client)
        client.takes = state.takes
        self.take_tokens(client, state.tokens)
        self.adopt(client)
        return client

    def _forget_token(self, token: str) -> None:
        """The store knows better: a token that is good here is so no more."""
        client = self.find(token)
        if client is not None:
            digest = token_digest(token)
            del self._by_token[digest]
            client.tokens.remove(digest)

    def redeem(self, token: str) -> str:
        successors = self._successors.get(token)
        if successors is None:
            # It went elsewhere and came back while this resume looked around, and another one was
            # given what was here for it. The token is good: it may be tried again.
            raise store_away()
        successor = successors.pop()  # the newest is good in any case
        if not successors:
            del self._successors[token]
        return successor

    def detach(self, client: Client) -> None:
        super().detach(client)
        self._errands.begin(self._away(client))

    def attach(self, client: Client, connection: Attached) -> Attached | None:
        older = super().attach(client, connection)
        self.touched(client)
        return older

    def moved(self, client_id: str, takes: int) -> None:
        """Another node has a client of this one since it was taken so often."""
        client = self._clients.get(client_id)
        if client is not None and client.takes < takes:
            self._lose(client, Standing.TAKEN)

    def forget(self, client: Client) -> None:
        """Its window is over. Until the store knows, it may come back, also to this process."""
        if self._is_here(client):
            if client.window is not None:
                client.window.cancel()
                client.window = None
            self._leaving.add(client)
            self._dirty.discard(client)
            self._errands.begin(self._gone(client))

    async def closed(self) -> None:
        """Wait until what is under way is written; not for a store that is away."""
        await self._errands.ended(within=RETRY_EVERY)
        self._errands.cancel()
        if self._writing is not None:
            self._writing.cancel()

    def _drop(self, client: Client) -> None:
        del self._clients[client.client_id]
        self._leaving.discard(client)
        self._dirty.discard(client)
        self._saved.pop(client.client_id, None)
        if client.window is not None:
            client.window.cancel()
            client.window = None
        for digest in client.tokens:
            self._by_token.pop(digest, None)
        for token in [t for t in self._successors if token_owner(t) == client.client_id]:
            del self._successors[token]

    def _lose(self, client: Client, standing: Standing) -> None:
        self._drop(client)
        self._errands.begin(self._left(client.client_id, client.takes))
        connection, client.connection = client.connection, None
        self._on_moved(client)
        if connection is not None and standing is Standing.GIVEN_UP:
            connection.close(CloseCode.GOING_AWAY, "given up while this server stood still")
        elif connection is not None:
            connection.close(CloseCode.RESUMED_ELSEWHERE, "resumed on another connection")

    async def _left(self, client_id: str, takes: int) -> None:
        await self._until_written(lambda: self._shared.left(client_id, takes))

    async def _away(self, client: Client) -> None:
        takes = client.takes

        async def tell() -> None:
            if client.connection is None and client.takes == takes:
                await self._shared.away(client.client_id, takes, self._window)

        await self._until_written(tell)

    def _is_here(self, client: Client) -> bool:
        return super()._is_here(client) and client not in self._leaving

    async def _gone(self, client: Client) -> None:
        is_elsewhere = True
        takes = client.takes

        async def give_up() -> None:
            nonlocal is_elsewhere
            state = await self._shared.gone(client.client_id, takes)
            # One that the store has lost is nobody's: what it leaves is to be cleared here.
            is_elsewhere = state is None and await self._shared.is_known(client.client_id)

        await self._until_written(give_up)
        if client not in self._leaving or client.takes != takes:
            return  # it has come back here, or has been found to be elsewhere
        self._drop(client)
        if is_elsewhere:
            self._on_moved(client)
            return
        # Not before: should this process die in the midst of it, whoever reaps goes on with it.
        await self._until_written(lambda: self._clear(client))
        await self._until_written(lambda: self._shared.forget(client.client_id))
