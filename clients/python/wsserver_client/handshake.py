"""The first messages of a connection: who is there, and what goes on from before.

The server speaks first (``connected``); then the client authenticates if it has something to say
about itself, and resumes if it was there before. This room decides that order and what a refusal
means. It keeps the old resume token until the new one is known: a connection that goes in
between must not cost the running answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from wsserver_client.calls import Message, Reply
from wsserver_client.connection import Disconnected
from wsserver_client.errors import WireFailure
from wsserver_client.options import request

Send = Callable[[Message], Awaitable[None]]

DEFAULT_HEARTBEAT = 25.0
DEFAULT_MAX_MESSAGE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Credentials:
    """What a client says about itself; ``token`` may be asked for anew on every connection."""

    api_key: str | None = None
    token: str | Callable[[], Awaitable[str]] | None = None
    user_id: str | None = None
    name: str | None = None

    @property
    def has_proof(self) -> bool:
        return self.api_key is not None or self.token is not None

    @property
    def is_empty(self) -> bool:
        return not self.has_proof and self.user_id is None and self.name is None

    async def message(self) -> Message:
        """The ``authenticate`` of now.

        Raises:
            WireFailure: Retryable, if the token could not be had.
        """
        token = self.token
        if callable(token):
            try:
                token = await token()
            except Exception as fault:  # the program's own code: whatever it raises
                raise WireFailure(
                    "unauthorized", f"no token to authenticate with: {fault}", retryable=True
                ) from fault
        return request(
            "authenticate",
            api_key=self.api_key,
            token=token,
            user_id=self.user_id,
            name=self.name,
        )


@dataclass(frozen=True)
class Session:
    """What the server said of a connection.

    Attributes:
        client_id: The server's id of this client; a resume keeps it.
        resume_token: Takes this connection up later; None from a server that has no such thing.
        user_id: Who the server says this is; None if nothing was said about it.
        resumed: Whether the connection took up the one before.
        heartbeat_interval: Seconds.
        max_message_bytes: Largest frame that the server takes.
        capabilities: What the server can do, by name.
        limits: What this client may do, as the wire spells it.
        server: All of ``connected``.
    """

    client_id: str
    resume_token: str | None
    user_id: str | None
    resumed: bool
    heartbeat_interval: float
    max_message_bytes: int
    capabilities: dict[str, bool]
    limits: dict[str, Any]
    server: Message

    def is_same_user(self, before: Session) -> bool:
        """Whether the server knows this client again without a resume."""
        return self.user_id is not None and self.user_id == before.user_id


class Handshake:
    """The handshake of one connection."""

    def __init__(self, credentials: Credentials, timeout: float) -> None:
        self._credentials = credentials
        self._timeout = timeout
        self._connected: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._replies: dict[str, Reply] = {}

    def take(self, event: Message) -> bool:
        """Take a message if it is part of the handshake; False: it is not."""
        if event["type"] == "connected":
            if not self._connected.done():
                self._connected.set_result(event)
            return True
        reply = self._replies.pop(str(event.get("requestId")), None)
        if reply is None:
            return False
        reply.take(event)
        return True

    async def introduce(
        self, send: Send, before: Session | None, positions: Callable[[], Message]
    ) -> Session:
        """Run the handshake.

        Args:
            send: Sends a message.
            before: The session of the connection that was lost, None for the first one.
            positions: What a resume says of streams and rooms; asked for when it is sent.

        Raises:
            WireFailure: If the server refuses the credentials.
            Disconnected: If it does not answer in time.
        """
        try:
            async with asyncio.timeout(self._timeout):
                connected = await self._connected
                user_id = await self._authenticate(send)
                resumed = await self._resume(send, connected, before, positions)
        except TimeoutError:
            raise Disconnected(None, "the server did not greet in time") from None
        return _session(connected, user_id, resumed)

    async def _authenticate(self, send: Send) -> str | None:
        if self._credentials.is_empty:
            return None
        try:
            answer = await self._ask(send, await self._credentials.message())
        except WireFailure as failure:
            # A server that does not know users can do without a name, not without a proof.
            if failure.code == "unknown_type" and not self._credentials.has_proof:
                return None
            raise
        user_id = answer.get("userId")
        is_known = self._credentials.has_proof or self._credentials.user_id is not None
        return str(user_id) if user_id is not None and is_known else None

    async def _resume(
        self,
        send: Send,
        connected: Message,
        before: Session | None,
        positions: Callable[[], Message],
    ) -> Message | None:
        if before is None or before.resume_token is None:
            return None
        if (connected.get("capabilities") or {}).get("resume") is False:
            return None
        message = {**request("resume", resume_token=before.resume_token), **positions()}
        try:
            return await self._ask(send, message)
        except WireFailure as failure:
            if failure.retryable:
                raise  # the store is away for a moment: the old token is still good
            return None

    async def _ask(self, send: Send, message: Message) -> Message:
        reply = Reply(message)
        self._replies[reply.request_id] = reply
        await send(message)
        return await reply.answer()


def _session(connected: Message, user_id: str | None, resumed: Message | None) -> Session:
    identity = resumed if resumed is not None else connected
    limits = dict(connected.get("limits") or {})
    heartbeat_ms = connected.get("heartbeatInterval")
    return Session(
        client_id=str(identity.get("clientId", "")),
        resume_token=identity.get("resumeToken"),
        user_id=user_id,
        resumed=resumed is not None,
        heartbeat_interval=heartbeat_ms / 1000 if heartbeat_ms else DEFAULT_HEARTBEAT,
        max_message_bytes=limits.get("maxMessageBytes") or DEFAULT_MAX_MESSAGE_BYTES,
        capabilities=dict(connected.get("capabilities") or {}),
        limits=limits,
        server=connected,
    )
