"""A room's log as a conversation for the model.

People talk among themselves, the model speaks now and then. Most chat templates want turns that
alternate, so what people said between two answers is one turn, a line each with the speaker's
name. Of the log as many of the newest turns go in as fit, like a session's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from itertools import groupby

from wsserver.core.answers import Answers
from wsserver.core.ask import Answer
from wsserver.core.engine import ChatMessage
from wsserver.core.models import ModelRegistry
from wsserver.core.models.fallbacks import loaded_model
from wsserver.core.sessions.context import TYPICAL_BYTES, Room, fit_turns
from wsserver.core.streams import Ending
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.events import RoomEntry
from wsserver_protocol.options import DEFAULT_MAX_TOKENS

log = logging.getLogger(__name__)


class RoomContexts:
    """Gives each ask in a room its context, and then its place in line."""

    def __init__(self, answers: Answers, models: ModelRegistry) -> None:
        self._answers = answers
        self._models = models
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(
        self, answer: Answer, said: Sequence[RoomEntry], asked: str, system: str | None
    ) -> None:
        """Lead an accepted answer into its model's line. Whatever prevents that ends it.

        Args:
            answer: The answer, accepted and not in line.
            said: The log before the ask.
            asked: The ask itself, with its speaker's name.
            system: A system prompt for this ask.
        """
        task = asyncio.get_running_loop().create_task(self._lead(answer, said, asked, system))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _lead(
        self, answer: Answer, said: Sequence[RoomEntry], asked: str, system: str | None
    ) -> None:
        try:
            messages = await self._context(answer, said, asked, system)
            self._answers.enqueue(answer, messages=messages)
        except WireError as error:
            self._answers.end_early(answer, Ending.failed(error))
        except Exception:
            log.exception("the context of %s could not be made", answer.stream_id)
            fault = WireError(ErrorCode.INTERNAL_ERROR, "Something went wrong in the server.")
            self._answers.end_early(answer, Ending.failed(fault))

    async def _context(
        self, answer: Answer, said: Sequence[RoomEntry], asked: str, system: str | None
    ) -> tuple[ChatMessage, ...]:
        model, info = await loaded_model(self._models, answer.record, answer.ask.options)
        most = answer.ask.options.max_tokens or DEFAULT_MAX_TOKENS
        room = Room(info.context_length, most)
        turns, lines = spoken_turns(said)
        lines = _newest(lines, room.budget * TYPICAL_BYTES // 2 - len(asked.encode()))

        async def count(messages: Sequence[ChatMessage]) -> int:
            return await self._models.count_tokens(model.id, messages=messages)

        context = await fit_turns(
            count,
            room,
            head=[ChatMessage(role="system", content=system)] if system else [],
            old=turns,
            new=[ChatMessage(role="user", content="\n".join([*lines, asked]))],
        )
        return context.messages


def spoken_turns(said: Iterable[RoomEntry]) -> tuple[list[list[ChatMessage]], list[str]]:
    """The turns of a log, each what people said and the model's answer, and the lines since.

    Answers before which nobody is known to have spoken are left out.
    """
    turns: list[list[ChatMessage]] = []
    lines: list[str] = []
    entries = [entry for entry in said if entry.text]
    for role, block in groupby(entries, key=lambda entry: entry.role):
        if role == "user":
            lines = [f"{entry.name}: {entry.text}" for entry in block]
        elif lines:
            answer = "\n\n".join(entry.text for entry in block)
            asked = ChatMessage(role="user", content="\n".join(lines))
            turns.append([asked, ChatMessage(role="assistant", content=answer)])
            lines = []
    return turns, lines


def _newest(lines: list[str], size: int) -> list[str]:
    """As many of the last lines as ``size`` bytes hold."""
    kept: list[str] = []
    for line in reversed(lines):
        size -= len(line.encode()) + 1
        if size < 0:
            break
        kept.append(line)
    return kept[::-1]
