"""What a client is when it is on no process: enough for any other to take its place up again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

import msgspec

from wsserver.core.clients import Client
from wsserver.core.identity import Identity


class ClientState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A client without its connection."""

    client_id: str
    identity: Identity
    tokens: tuple[str, ...]  # digests: the one in use, then its successors
    name: str | None = None
    rooms: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()  # what it asked for and has not ended
    batches: tuple[str, ...] = ()
    takes: int = 0  # its last take: what is said of an earlier one does not count

    @classmethod
    def of(cls, client: Client) -> ClientState:
        """A client of this process as it stands. A room that it enters counts: whoever takes the
        client up enters it, and nobody was told of it before that is known."""
        joining = () if client.joining in (None, *client.room_ids) else (client.joining,)
        return cls(
            client_id=client.client_id,
            identity=client.identity,
            tokens=tuple(client.tokens),
            name=client.name,
            rooms=(*client.room_ids, *joining),
            sessions=tuple(client.session_ids),
            streams=tuple(client.answers),
            batches=tuple(client.batches),
            takes=client.takes,
        )

    def revive(self) -> Client:
        """The client, away, without its answers and batches: those are opened by their ids."""
        client = Client("")
        client.client_id = self.client_id
        client.identity = self.identity
        client.tokens = list(self.tokens)
        client.name = self.name
        client.room_ids = list(self.rooms)
        client.session_ids = list(self.sessions)
        client.takes = self.takes
        return client


class Taken(NamedTuple):
    """A client that has come to this process."""

    state: ClientState
    token: str  # for its next resume
    former: str  # the node that had it, with its connection or away
    before: int  # the take before


class Standing(IntEnum):
    """How a client stands that a node has, or has had."""

    TAKEN = 0  # another node has it
    OURS = 1
    STALE = 2  # it is the node's, and the store does not know its newest state
    GIVEN_UP = -1  # the node was believed dead for so long that the client counts as gone


class SharedClients(Protocol):
    """The places of clients over the whole fleet. Each client is on one node at a time.

    Each time that a client comes back it is *taken*, and each take has a greater number than those
    before, also than those that a store has lost. A step that a node asks for names the one that it
    knows of, and does nothing if there was another since, also where the step comes late. All
    methods may raise `StoreUnavailable`.

    Attributes:
        on_stranded: Called with a client that was taken, and away at once, since the store was away
            before it could say so: it is this node's, which has to end its window.
    """

    on_stranded: Callable[[ClientState], None]

    async def save(self, state: ClientState, *, is_connected: bool) -> Standing:
        """Write down how a client of this node stands.

        Returns:
            ``OURS``, or why it was not written: ``TAKEN``, ``GIVEN_UP``.
        """
        ...

    async def take(self, token: str) -> Taken | None:
        """Use a resume token: the client is this node's from now on.

        The rule of tokens is that of `core.clients`. None if the token is not good, or the client
        was given up. Should the store be away, and the client be this node's all the same, its
        window begins, and `on_stranded` is called.
        """
        ...

    async def away(self, client_id: str, takes: int, window: float) -> None:
        """The client's connection is gone; its place is kept for ``window`` seconds."""
        ...

    async def left(self, client_id: str, takes: int) -> None:
        """Another node has a client that was this one's."""
        ...

    async def gone(self, client_id: str, takes: int) -> ClientState | None:
        """The client's window is over: nobody takes it any more. None: another node has it.

        If the store was away lately it waits for those who could not come back meanwhile.

        What it leaves is for the caller to clear, who then calls `forget`. If he dies before, it
        comes up again in `orphans`.
        """
        ...

    async def is_known(self, client_id: str) -> bool:
        """Whether there is such a client, of whichever node. A store that forgets knows none."""
        ...

    async def forget(self, client_id: str) -> None:
        """Keep nothing of a client that is gone, or that was never more than a handshake."""
        ...

    async def refresh(self, states: Sequence[ClientState]) -> list[Standing]:
        """Say of clients that they are connected here: also after this node was believed dead, and
        to a store that has lost something. ``states``: as they were saved last."""
        ...

    async def orphans(self, node_id: str, window: float) -> tuple[list[ClientState], int]:
        """Clients of a dead node; those connected there have ``window`` seconds from now on.

        As in `gone`, nobody is given up because the store was away.

        Returns:
            Those whose window is over, as from `gone`; and how many may still come back.
        """
        ...
