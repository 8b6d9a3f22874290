"""A session's turns where several gateways accept them and workers keep their answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from wsserver.core.ask import Answer
from wsserver.core.sessions.elsewhere import Ahead
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
    ) -> AbstractAsyncContextManager[Ahead, bool | None]:
        """A turn's place in the session's line.

        Raises:
            WireError: ``store_unavailable``.
        """
        return self._turn("\0".join(key), stream_id)

    @asynccontextmanager
    async def _turn(self, session: str, stream_id: str) -> AsyncIterator[Ahead]:
        ahead = SharedAhead(self._order, session, stream_id)
        try:
            await ahead.arrive()
            yield ahead
        finally:
            self._order.leave(session, stream_id)

    def keep(
        self,
        answer: Answer,
        owner: str,
        session_id: str,
        message: Message,
        instead_of: tuple[str, ...],
    ) -> None:
        """Have the answer's maker keep it as ``message``, which is in the session's tree."""
        kept = Kept(owner=owner, session_id=session_id, message=message, instead_of=instead_of)
        self._answers.keep(answer, kept)


class SharedAhead:
    """What stands before one turn in its session's line."""

    def __init__(self, order: TurnOrder, session: str, stream_id: str) -> None:
        self._order = order
        self._names = (session, stream_id)
        self.is_over = False

    async def arrive(self) -> None:
        try:
            self.is_over = await self._order.arrive(*self._names)
        except StoreUnavailable as error:
            raise refusal(error) from error

    async def placed(self) -> None:
        if not self.is_over:
            await self._wait(to_place=True)

    async def over(self) -> None:
        if not self.is_over:
            await self._wait(to_place=False)
            self.is_over = True

    def follow(self) -> None:
        self._order.placed(*self._names)

    async def _wait(self, *, to_place: bool) -> None:
        try:
            await self._order.wait(*self._names, to_place=to_place)
        except StoreUnavailable as error:
            raise refusal(error) from error
