"""Clients: what outlives a connection.

A client is one tab, terminal or bot. It keeps its id, its rooms and its answers while its
connection is gone, for the resume window; a new connection takes its place with a resume token.
A token dies when its successor is used, not when it is handed out, so that a lost `resumed`
loses nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from wsserver.core.ask import Answer, Ask
from wsserver.core.batches import Batch
from wsserver.core.broadcast import Broadcast
from wsserver.core.identity import Identity
from wsserver.core.ids import new_id, new_token
from wsserver.core.lane import Lane
from wsserver_protocol.errors import CloseCode
from wsserver_protocol.events import Event

MAX_TOKENS = 8
"""Tokens of a client that are good at once; each resume whose reply was lost leaves one."""

MAX_SESSIONS_NOTED = 100
"""Sessions that a client is known to work in."""


def token_for(client_id: str) -> str:
    """A new token of a client. It names the client, so that no process must search for it."""
    return f"{client_id}.{new_token()}"


def token_owner(token: str) -> str:
    """The clientId that a token names, whether or not it is good."""
    return token.partition(".")[0]


def token_digest(token: str) -> str:
    """What is kept of a token: enough to recognise it, not enough to use it."""
    return hashlib.blake2b(token.encode(), digest_size=16).hexdigest()


class Attached(Protocol):
    """A client's live connection, as core sees it."""

    def send(self, event: Event) -> None:
        """Queue an event; never blocks."""

    def send_shared(self, broadcast: Broadcast) -> None:
        """Queue an event that others get, too; never blocks."""

    def show_stream(self, answer: Answer, prompt: str | None) -> None:
        """Follow a stream from its beginning, as a watcher."""

    def join_stream(self, answer: Answer) -> None:
        """Follow a stream that runs, with what there is of it, unless it is followed already."""

    def close_view(self, stream_id: str) -> bool:
        """Follow a stream no longer. False if it was not followed."""

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Begin to close the connection; never blocks."""


class Client:
    """State of one client. ``connection`` is None while it is away."""

    def __init__(self, address: str) -> None:
        self.client_id = new_id("cli")
        self.identity = Identity.anonymous(self.client_id, address)
        self.name: str | None = None
        self.tokens: list[str] = []  # digests of the good ones: the one in use, its successors
        self.takes = 0  # when it last came back, where that is known to other processes, too
        self.has_moved = False  # another process has it: it sits nowhere here
        self.connection: Attached | None = None
        self.room_ids: list[str] = []  # in the order joined
        self.joining: str | None = None  # the room that it is entering
        self.lane = Lane()  # its work on rooms
        self.session_ids: list[str] = []  # in the order of their last use here
        self.answers: dict[str, Answer] = {}  # what it asked for and has not ended, by streamId
        self.batches: dict[str, Batch] = {}  # likewise, by batchId
        self.window: asyncio.TimerHandle | None = None
        self.stream_ids: tuple[str, ...] = ()  # of ``answers``, before they are looked up here

    def asked_for(self, ask: Ask) -> bool:
        """Whether an ask is this user's, or this client's own from before it took its name."""
        return ask.owner.key == self.identity.key or ask.client_id == self.client_id

    def begin(self, answer: Answer) -> None:
        """Note what the client has asked for, until it ends."""
        self.answers[answer.stream_id] = answer
        answer.on_end.append(lambda ended: self.answers.pop(ended.stream_id, None))

    def begin_batch(self, batch: Batch) -> None:
        """Note a batch that the client has asked for, until it ends."""
        if not batch.is_ended:
            self.batches[batch.batch_id] = batch
            batch.on_end.append(lambda ended: self.batches.pop(ended.batch_id, None))

    def note_session(self, session_id: str) -> None:
        """The client works in a session; the last ones are kept for `get_status`."""
        self.forget_session(session_id)
        self.session_ids.append(session_id)
        del self.session_ids[:-MAX_SESSIONS_NOTED]

    def forget_session(self, session_id: str) -> None:
        """The session has gone."""
        if session_id in self.session_ids:
            self.session_ids.remove(session_id)

    @property
    def display_name(self) -> str:
        """The name that other people see."""
        return self.name or self.identity.name or self.identity.user_id


class Clients:
    """All clients of this process, present or within their resume window.

    Args:
        window: Seconds for which a client's place is kept.
        on_gone: Called once for each client whose window is over.
    """

    is_shared = False
    """Whether a client may come back to another process."""

    def __init__(self, window: float, on_gone: Callable[[Client], object]) -> None:
        self._window = window
        self._on_gone = on_gone
        self._clients: dict[str, Client] = {}
        self._by_token: dict[str, Client] = {}

    def begin_batch(self, client: Client, batch: Batch) -> None:
        """Note a batch that a client has asked for."""
        client.begin_batch(batch)

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Client]:
        return iter(self._clients.values())

    @property
    def window_seconds(self) -> float:
        """How long a client's place is kept, in seconds."""
        return self._window

    def get(self, client_id: str) -> Client | None:
        """The client, present or within its window."""
        return self._clients.get(client_id)

    def create(self, connection: Attached, address: str) -> Client:
        """A new client on a new connection."""
        client = Client(address)
        client.connection = connection
        self._clients[client.client_id] = client
        return client

    def adopt(self, client: Client) -> None:
        """Take in a client that was another process's until now, away and with its good tokens."""
        self._clients[client.client_id] = client
        self.take_tokens(client, client.tokens)

    def take_tokens(self, client: Client, digests: Sequence[str]) -> None:
        """Have exactly these tokens be good for a client: others decided so."""
        for digest in client.tokens:
            self._by_token.pop(digest, None)
        client.tokens = list(digests)
        for digest in client.tokens:
            self._by_token[digest] = client

    def issue_token(self, client: Client) -> str:
        """A further token. The one in use stays good until a successor of it is used."""
        token = token_for(client.client_id)
        digest = token_digest(token)
        client.tokens.append(digest)
        self._by_token[digest] = client
        if len(client.tokens) > MAX_TOKENS:
            del self._by_token[client.tokens.pop(1)]
        return token

    def find(self, token: str) -> Client | None:
        """The client that a token belongs to, None if it is unknown, used up or too old."""
        return self._by_token.get(token_digest(token))

    def redeem(self, token: str) -> str:
        """Use a token found before. Returns a successor of it.

        The first use of a successor ends the others. Using the same token again ends none: any of
        the replies with its successors may be the one that arrived.
        """
        digest = token_digest(token)
        client = self._by_token[digest]
        if digest != client.tokens[0]:
            for other in client.tokens:
                if other != digest:
                    del self._by_token[other]
            client.tokens = [digest]
        return self.issue_token(client)

    def touched(self, client: Client) -> None:
        """Something of the client may have changed. Here there is nobody to be told."""

    async def known(self, client: Client, *, waits: bool = True) -> None:
        """Wait until whoever may take a client up knows it as it stands now.

        Args:
            client: The client.
            waits: Also for a store that was away a moment ago.

        Raises:
            WireError: ``store_unavailable`` if that can't be had soon.
        """

    async def recall(self, token: str) -> Client | None:
        """The client of a token, wherever it was: found by the token here from now on.

        Raises:
            WireError: ``store_unavailable``.
        """
        return self.find(token)

    def detach(self, client: Client) -> None:
        """The connection is gone: keep the client's place for the window."""
        client.connection = None
        self.await_return(client)

    def await_return(self, client: Client) -> None:
        """Begin a client's window, from now on."""
        if client.window is not None:
            client.window.cancel()
        loop = asyncio.get_running_loop()
        client.window = loop.call_later(self._window, self.forget, client)

    def attach(self, client: Client, connection: Attached) -> Attached | None:
        """Put a client on a new connection. Returns the older one if it still lives."""
        if client.window is not None:
            client.window.cancel()
            client.window = None
        older, client.connection = client.connection, connection
        return older

    def forget(self, client: Client) -> None:
        """End a client: by the end of its window, or because it was never more than a handshake."""
        if self._clients.pop(client.client_id, None) is None:
            return
        if client.window is not None:
            client.window.cancel()
            client.window = None
        for digest in client.tokens:
            del self._by_token[digest]
        client.tokens.clear()
        self._on_gone(client)
