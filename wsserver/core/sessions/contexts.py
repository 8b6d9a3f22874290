"""The context of a turn: its branch is read, its model's tokenizer asked, and the cut made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from wsserver.core.engine import ChatMessage
from wsserver.core.models import ModelDirectory
from wsserver.core.models.fallbacks import loaded_model
from wsserver.core.sessions import tree
from wsserver.core.sessions.context import BYTES_PER_TOKEN, Context, Room, build_context
from wsserver.core.sessions.model import Message
from wsserver.core.sessions.refusals import in_time, or_refused
from wsserver.core.sessions.store import SessionStore, StoreUnavailable
from wsserver.core.sessions.turns import Turn
from wsserver_protocol.options import DEFAULT_MAX_TOKENS

Result = TypeVar("Result")

READS = 3
"""Times that a history is tried to be read for one context."""

MOST_MESSAGES = 10_000
"""Messages of a branch that are looked at for one context."""


class ContextMaker:
    """Makes contexts, each once and after the turns before it have ended."""

    def __init__(self, store: SessionStore, models: ModelDirectory) -> None:
        self._store = store
        self._models = models

    async def make(self, turn: Turn) -> Context:
        """The context of a turn that has its spot. Waits for a model that is loading.

        An answer that goes on is given what the first part of it was given, where that is still
        known: only then are the two parts one.

        Raises:
            WireError: ``context_length_exceeded``; ``store_unavailable``; the model's refusal.
        """
        spot, wish, answer = turn.spot, turn.wish, turn.answer
        assert spot is not None
        model, info = await loaded_model(self._models, answer.record, answer.ask.options)
        model_id, length = model.id, info.context_length
        given = turn.answer.ask.messages if wish.is_continuation else None
        if given is not None:
            return Context(given, await self._models.count_tokens(model_id, messages=given), 0)
        history, unread = await self._history(turn, spot.end, length * BYTES_PER_TOKEN)
        new = [*wish.new]
        if not new:  # another try, or a continuation: the question is the branch's last turn
            history, asked = _without_last_turn(history)
            new = [ChatMessage(role=m.role, content=m.content) for m in asked]
        said = spot.message.content
        reserved = await self._models.count_tokens(model_id, text=said) if said else 0

        async def count(messages: Sequence[ChatMessage]) -> int:
            return await self._models.count_tokens(model_id, messages=messages)

        options = turn.answer.ask.options
        most = DEFAULT_MAX_TOKENS if options.max_tokens is None else options.max_tokens
        context = await build_context(
            count,
            Room(length, most, reserved),
            system=wish.system or spot.session.system_prompt,
            history=history,
            new=new,
        )
        return context._replace(dropped=context.dropped + unread)

    async def _history(
        self, turn: Turn, end: str | None, max_bytes: int
    ) -> tuple[list[Message], int]:
        """The branch up to ``end`` as far as it can matter, and how many messages that leaves."""
        if end is None:
            return [], 0
        branch = await self._read(
            lambda: self._store.branch(*turn.key, end=end, limit=MOST_MESSAGES, max_bytes=max_bytes)
        )
        if not branch.has_more:
            return branch.messages, 0
        links = await self._read(lambda: self._store.links(*turn.key))
        return branch.messages, len(tree.path(links, end)) - len(branch.messages)

    async def _read(self, read: Callable[[], Awaitable[Result]]) -> Result:
        """A read that is worth repeating: the turn's start may have been told already."""
        for _ in range(READS - 1):
            try:
                return await in_time(read())
            except StoreUnavailable:
                continue
        return await or_refused(read())


def _without_last_turn(history: list[Message]) -> tuple[list[Message], list[Message]]:
    """The branch cut before its last turn."""
    last = tree.turns(history)[-1:]
    count = len(last[0]) if last else 0
    return history[: len(history) - count], history[len(history) - count :]
