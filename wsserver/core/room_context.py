"""A room's log as a conversation for the model.

People talk among themselves, the model speaks now and then. Most chat templates want turns that
alternate, so what people said between two answers is one turn, a line each with the speaker's
name. Of the log as many of the newest turns go in as fit, like a session's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import msgspec

from wsserver.core.ask import Answer
from wsserver.core.engine import ChatMessage
from wsserver.core.models import ModelDirectory
from wsserver.core.models.fallbacks import loaded_model
from wsserver.core.rooms.broker import RoomBroker
from wsserver.core.rooms.changes import Draft
from wsserver.core.sessions.context import BYTES_PER_TOKEN, TYPICAL_BYTES, Room, fit_turns
from wsserver_protocol.events import RoomEntry
from wsserver_protocol.options import DEFAULT_MAX_TOKENS


class RoomContexts:
    """Makes the context of each ask in a room."""

    def __init__(self, broker: RoomBroker, models: ModelDirectory) -> None:
        self._broker = broker
        self._models = models

    async def make(
        self, answer: Answer, room_id: str, draft: Draft, system: str | None
    ) -> tuple[ChatMessage, ...]:
        """The conversation that an ask belongs to. Waits for a model that is loading.

        Args:
            answer: The answer, accepted and not in line.
            room_id: The room, in whose log the ask stands.
            draft: The ask itself.
            system: A system prompt for this ask.

        Raises:
            WireError: ``context_length_exceeded``; ``store_unavailable``; the model's refusal.
        """
        model, info = await loaded_model(self._models, answer.record, answer.ask.options)
        most = answer.ask.options.max_tokens or DEFAULT_MAX_TOKENS
        room = Room(info.context_length, most)
        said = await self._broker.newest(room_id, room.budget * BYTES_PER_TOKEN)
        turns, lines = spoken_turns(said_before(said, answer.ask_seq or 0))
        asked = f"{draft.name}: {draft.text}"
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


def said_before(said: Iterable[RoomEntry], seq: int) -> list[RoomEntry]:
    """What of a log came before an ask, each answer behind the ask that it answers.

    It knew nothing of what was said while it was made; and an ask that has waited its turn knows
    the answers to those before it, which stand behind it in the log.
    """
    entries = list(said)
    asked = {entry.stream_id for entry in entries if entry.role == "user" and entry.stream_id}
    answers = {entry.stream_id: entry for entry in entries if entry.role != "user"}
    further = {entry.continues: entry for entry in entries if entry.continues is not None}
    before: list[RoomEntry] = []
    for entry in entries:
        if entry.seq >= seq:
            break
        if entry.role == "user":
            before.append(entry)
            if entry.stream_id in answers:
                before.append(_whole(answers[entry.stream_id], further))
        elif entry.stream_id not in asked and entry.continues not in answers:
            before.append(_whole(entry, further))  # what it answers is kept no more
    return before


def _whole(answer: RoomEntry, further: Mapping[str, RoomEntry]) -> RoomEntry:
    """An answer with what continued it."""
    text, last = answer.text, answer
    while (more := further.get(last.stream_id or "")) is not None and more.seq > last.seq:
        text, last = text + more.text, more
    return answer if last is answer else msgspec.structs.replace(answer, text=text)


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
