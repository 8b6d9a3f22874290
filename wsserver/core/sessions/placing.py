"""Where a turn goes in its session's tree, and which model answers it."""

from __future__ import annotations

import json
from dataclasses import replace

from wsserver.core.answers import Answers
from wsserver.core.ask import merged_options
from wsserver.core.models import ModelDirectory
from wsserver.core.sessions.model import Message, Session
from wsserver.core.sessions.refusals import in_time, or_refused, refusal, unknown_message
from wsserver.core.sessions.store import MessageNotFound, SessionError, SessionStore
from wsserver.core.sessions.turns import (
    ANSWER,
    Spot,
    Turn,
    asked_again,
    cannot_continue,
    message_id,
    read_now,
    spot_of_another_try,
    spot_of_continuation,
    spot_of_new,
    spot_of_taken_up,
)
from wsserver.core.wallclock import wall_ms
from wsserver_protocol.errors import ErrorCode, FieldError, WireError

MAX_MESSAGE_BYTES = 900 * 1024
"""A message as JSON: `history` must be able to carry it in a frame of 1 MiB."""


class Placing:
    """Looks a turn's place up. Writes nothing."""

    def __init__(self, store: SessionStore, answers: Answers, models: ModelDirectory) -> None:
        self._store = store
        self._answers = answers
        self._models = models

    async def find(self, turn: Turn) -> Spot:
        """The turn's place, and its model bound.

        Raises:
            WireError: ``session_not_found``, ``store_unavailable``; ``invalid_parameters`` if the
                turn names a message that is not there or not fit; the model's refusal.
        """
        wish = turn.wish
        _check_sizes(turn)
        session = await or_refused(self._store.get(*turn.key))
        if wish.is_continuation:
            begun = await self._begun(turn, session)
            self._take_up(turn, begun)
            self._bind_again(turn, session, begun)
            return spot_of_continuation(session, turn, begun)
        if not wish.names_model:
            self._answers.rebind(turn.answer, session.model or turn.answer.record.model_id)
        left = await self._left(turn)
        if left is not None:
            return spot_of_taken_up(session, turn, left)
        if wish.regenerate is not None:
            tried = await self._named(turn, wish.regenerate, "regenerate")
            return spot_of_another_try(session, turn, tried)
        return spot_of_new(session, turn, await self._parent(turn, session))

    async def _left(self, turn: Turn) -> Message | None:
        """The turn's answer, where the same request was placed before and then not answered."""
        if not turn.answer.instead_of:
            return None
        try:
            return await in_time(self._store.find(*turn.key, message_id(turn, ANSWER)))
        except MessageNotFound:
            return None
        except SessionError as error:
            raise refusal(error) from error

    async def _parent(self, turn: Turn, session: Session) -> str | None:
        named = turn.wish.parent_id
        if named is None:
            return session.newest
        if named == session.session_id:  # stands before the first message
            return None
        return (await self._named(turn, named, "parentId")).message_id

    async def _begun(self, turn: Turn, session: Session) -> Message:
        named = turn.wish.message_id or session.newest
        if named is None:
            raise cannot_continue("sessionId", is_running=False)
        return read_now(await self._named(turn, named, "streamId"), wall_ms())

    async def _named(self, turn: Turn, message_id: str, field: str) -> Message:
        try:
            return await in_time(self._store.find(*turn.key, message_id))
        except MessageNotFound:
            raise unknown_message(field) from None
        except SessionError as error:
            raise refusal(error) from error

    def _take_up(self, turn: Turn, begun: Message) -> None:
        """Go on as it was begun: with its options, its context, its own system prompt."""
        answer = turn.answer
        if answer.continues is None:
            answer.continues = begun.stream_id
        if answer.ask.messages is not None:
            return  # the request named a stream that is still known
        former = self._answers.retained(begun.stream_id) if begun.stream_id is not None else None
        if former is not None:
            options = merged_options(former.ask.options, answer.ask.options)
            answer.ask = replace(answer.ask, options=options, messages=former.ask.messages)
        elif begun.asked is not None:
            options, system = asked_again(begun.asked)
            answer.ask = replace(answer.ask, options=merged_options(options, answer.ask.options))
            turn.wish = replace(turn.wish, system=system)

    def _bind_again(self, turn: Turn, session: Session, begun: Message) -> None:
        """The model that began the answer, if it is still there; else the session's."""
        known = {model.id for model in self._models.all() if model.is_ready}
        wanted = begun.model if begun.model in known else session.model
        self._answers.rebind(turn.answer, wanted or turn.answer.record.model_id)


def _check_sizes(turn: Turn) -> None:
    for message in turn.wish.new:
        if json_size(message.content) > MAX_MESSAGE_BYTES:
            raise WireError(
                ErrorCode.PAYLOAD_TOO_LARGE,
                f"A message of a session may have at most {MAX_MESSAGE_BYTES:,} bytes as JSON.",
                details=(FieldError(field="prompt", message="is too large"),),
            )


def json_size(text: str) -> int:
    """Bytes of a text as JSON."""
    return len(json.dumps(text, ensure_ascii=False).encode())
