"""What the turns of a session need of a fleet in which other processes make and keep answers."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from wsserver.core.ask import Answer
from wsserver.core.sessions.model import Message


class Elsewhere(Protocol):
    """A session's turns over several processes."""

    def turn(
        self, key: tuple[str, str], stream_id: str
    ) -> AbstractAsyncContextManager[None, bool | None]:
        """Entered when the session's turns that came before have ended, wherever they run.

        Args:
            key: The owner and the session.
            stream_id: The turn's answer.

        Raises:
            StoreUnavailable: If that can't be told.
        """

    def keep(self, answer: Answer, owner: str, session_id: str, message: Message) -> None:
        """Have whoever makes the answer keep it from here on: ``message`` is in the tree."""
