"""A session's turns where several gateways accept them and workers keep their answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from wsserver.core.ask import Answer
from wsserver.core.sessions.model import Message
from wsserver.core.sessions.refusals import refusal
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.answers import SharedAnswers
from wsserver.core.shared.meta import Kept
from wsserver.core.shared.ports import TurnOrder


class SharedTurns:
    """Puts a session's turns in one order, and hands their answers to whoever makes them."""

    def __init__(self, answers: SharedAnswers, order: TurnOrder) -> None:
        self._answers = answers
        self._order = order

    def turn(
        self, key: tuple[str, str], stream_id: str
    ) -> AbstractAsyncContextManager[None, bool | None]:
        """Entered when the turns before have ended.

        Raises:
            WireError: ``store_unavailable``.
        """
        return self._turn("\0".join(key), stream_id)

    @asynccontextmanager
    async def _turn(self, session: str, stream_id: str) -> AsyncIterator[None]:
        try:
            await self._order.arrive(session, stream_id)
        except StoreUnavailable as error:
            raise refusal(error) from error
        try:
            try:
                await self._order.wait(session, stream_id)
            except StoreUnavailable as error:
                raise refusal(error) from error
            yield
        finally:
            self._order.leave(session, stream_id)

    def keep(self, answer: Answer, owner: str, session_id: str, message: Message) -> None:
        """Have the answer's maker keep it as ``message``, which is in the session's tree."""
        self._answers.keep(answer, Kept(owner=owner, session_id=session_id, message=message))
