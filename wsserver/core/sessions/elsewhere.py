"""What the turns of a session need of a fleet in which other processes make and keep answers."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from wsserver.core.ask import Answer
from wsserver.core.sessions.model import Message


class Ahead(Protocol):
    """The turns of a session that came before one. Methods may raise ``store_unavailable``."""

    @property
    def is_over(self) -> bool:
        """Whether all of them are known to have ended."""

    async def placed(self) -> None:
        """Wait until each of them has its place in the tree, or has ended."""

    async def over(self) -> None:
        """Wait until all of them have ended."""

    def follow(self) -> None:
        """The turn itself has its place: the next one may take its own."""


class Elsewhere(Protocol):
    """A session's turns over several processes."""

    def turn(
        self, key: tuple[str, str], stream_id: str
    ) -> AbstractAsyncContextManager[Ahead, bool | None]:
        """A turn's place in the order of arrival, from its entry to its exit, wherever they run.

        Args:
            key: The owner and the session.
            stream_id: The turn's answer.

        Raises:
            WireError: ``store_unavailable``.
        """

    def keep(
        self,
        answer: Answer,
        owner: str,
        session_id: str,
        message: Message,
        instead_of: tuple[str, ...],
    ) -> None:
        """Have whoever makes the answer keep it from here on: ``message`` is in the tree, instead
        of what these streams may have written there."""
