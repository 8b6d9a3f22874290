"""Requests under way: what each waits for, and which may be sent a second time.

This room knows messages by their types and nothing of sockets. A `Call` is one request from its
sending to its terminal event; it is settled exactly once, by that event, by a lost connection or
by its caller's going away. Whether a call that was sent but not answered may be sent again after
a reconnect is decided by the table here and nowhere else.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any, Final
from uuid import uuid4

from wsserver_client.errors import ClientError, ConnectionLost, WireFailure
from wsserver_protocol.replies import REPLIES

Message = dict[str, Any]
"""A message as the wire spells it: camelCase keys and a ``type``."""


class Repeat(Enum):
    """What a second sending of the same request does."""

    HARMLESS = "harmless"  # it reads, or sets what is set already
    REMEMBERED = "remembered"  # the server knows the requestId again, for the same identity
    FORBIDDEN = "forbidden"  # it might do the thing twice


REPEAT: Final[dict[str, Repeat]] = {
    **dict.fromkeys(
        (
            "ping",
            "get_status",
            "models",
            "metrics",
            "count_tokens",
            "watch_stream",
            "unwatch_stream",
            "stop_stream",
            "stop_batch",
            "leave_room",
            "list_sessions",
            "get_history",
            "export_session",
            "update_session",
            "list_rooms",
            "room_history",
            "join_room",
            "update_presence",
            "update_room",
            "set_role",
            "ban",
            "unban",
        ),
        Repeat.HARMLESS,
    ),
    **dict.fromkeys(
        (
            "generate",
            "stream",
            "continue",
            "batch",
            "room_message",
            "open_session",
            "fork_session",
            "import_session",
        ),
        Repeat.REMEMBERED,
    ),
}
"""Types that are not listed are `Repeat.FORBIDDEN`."""

FAILURES: Final = frozenset(
    {"error", "generation_error", "stream_error", "batch_error", "model_load_error"}
)


def new_request_id() -> str:
    return uuid4().hex


class Call(ABC):
    """One request under way.

    Attributes:
        message: What is sent, with its ``type`` and ``requestId``.
        sent: Whether it went out at least once on some connection.
    """

    def __init__(self, message: Message) -> None:
        self.message = message
        self.sent = False

    @property
    def request_id(self) -> str:
        return str(self.message["requestId"])

    @property
    def kind(self) -> str:
        return str(self.message["type"])

    @property
    def repeat(self) -> Repeat:
        return REPEAT.get(self.kind, Repeat.FORBIDDEN)

    @property
    @abstractmethod
    def is_settled(self) -> bool:
        """Whether it has its result or its failure."""

    @abstractmethod
    def take(self, event: Message) -> None:
        """An event with this call's requestId."""

    @abstractmethod
    def fail(self, error: ClientError) -> None:
        """Settle with an error; nothing happens if the call is settled already."""

    def lose(self, error: ConnectionLost) -> None:
        """The connection is gone and the call cannot be taken up again."""
        self.fail(error)

    @property
    def outlives_client(self) -> bool:
        """Whether the asker wants it to go on without a connection."""
        return (self.message.get("options") or {}).get("onDisconnect") == "detach"

    def abandon(self) -> None:
        """Nobody waits for it any more: have the server stop it, if it is work, and do not wait."""
        return  # what is no work has nothing to stop

    def is_terminal(self, event: Message) -> bool:
        """Whether an event with this call's requestId ends it; any is the end of an unknown one."""
        replies = REPLIES.get(self.kind)
        return replies is None or event["type"] not in replies.before


class Reply(Call):
    """A call whose only interest is its terminal event."""

    def __init__(
        self, message: Message, *, on_error: Callable[[ClientError], None] | None = None
    ) -> None:
        super().__init__(message)
        self._on_error = on_error
        self._future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        # Nobody may be waiting (a posted stop): its error is then of no interest to anybody.
        self._future.add_done_callback(_retrieve)

    @property
    def is_settled(self) -> bool:
        return self._future.done()

    def take(self, event: Message) -> None:
        if self.is_settled or not self.is_terminal(event):
            return
        if event["type"] in FAILURES:
            self.fail(WireFailure.from_event(event))
        else:
            self._future.set_result(event)

    def fail(self, error: ClientError) -> None:
        if self._future.done():
            return
        self._future.set_exception(error)
        if self._on_error is not None:
            self._on_error(error)

    @property
    def future(self) -> asyncio.Future[Message]:
        """To wait for together with others; not to be cancelled."""
        return self._future

    @property
    def error(self) -> ClientError | None:
        """Why it failed; None while it runs and after an answer."""
        if not self._future.done():
            return None
        failure = self._future.exception()
        return failure if isinstance(failure, ClientError) else None

    async def answer(self) -> Message:
        """The terminal event.

        Raises:
            WireFailure: If it is an error.
            ConnectionLost: If the connection ended first and the call could not be repeated.
        """
        return await asyncio.shield(self._future)


def _retrieve(future: asyncio.Future[Message]) -> None:
    if not future.cancelled():
        future.exception()
