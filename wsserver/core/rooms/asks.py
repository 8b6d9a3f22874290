"""Asks in a room: from an accepted answer to its place in the model's line, and to the log.

The start of an answer is held back until its ask stands in the room's log, so that `stream_start`
has the ask's ``seq`` and everyone sees it there, or nobody does.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from wsserver.core.answers import Answers
from wsserver.core.ask import Answer
from wsserver.core.room_context import RoomContexts
from wsserver.core.rooms.broker import RoomBroker
from wsserver.core.rooms.changes import Draft, OpenAsk, Origin
from wsserver.core.streams import Ending, StreamRecord
from wsserver_protocol.errors import ErrorCode, WireError

log = logging.getLogger(__name__)


@dataclass(slots=True)
class RoomAsk:
    """An ask on its way.

    Attributes:
        answer: Accepted, its start held back.
        room_id: Where.
        draft: What is said.
        origin: Who asks.
        system: A system prompt for this ask.
        raw: The prompt, where it goes to the model as it is.
    """

    answer: Answer
    room_id: str
    draft: Draft
    origin: Origin
    system: str | None = None
    raw: str | None = None
    tried: asyncio.Event = field(default_factory=asyncio.Event)  # whether `is_open` is final
    is_open: bool = False  # the room's log has the ask, and not the answer


class RoomAsks:
    """Leads each ask of this process to its answer's end."""

    def __init__(self, broker: RoomBroker, answers: Answers, contexts: RoomContexts) -> None:
        self._broker = broker
        self._answers = answers
        self._contexts = contexts
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, ask: RoomAsk) -> None:
        """Hold an accepted answer's start back; `open` comes next."""
        self._answers.hold(ask.answer)
        ask.answer.closing.append(lambda record, ending: self._close(ask, record, ending))

    async def open(self, ask: RoomAsk) -> None:
        """Put the ask into the log, and tell its start. Whatever prevents that refuses it."""
        answer = ask.answer
        wanted = OpenAsk(
            stream_id=answer.stream_id,
            client_id=ask.origin.client_id,
            model_id=answer.record.model_id,
        )
        try:
            if await self._answers.admitted(answer):
                answer.ask_seq = (
                    await self._broker.ask(ask.room_id, wanted, ask.draft, ask.origin)
                ).seq
                ask.is_open = True
        except WireError as error:
            self._answers.refuse(answer, error)
            return
        finally:
            ask.tried.set()
        self._answers.release(answer)
        task = asyncio.get_running_loop().create_task(self._lead(ask))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _lead(self, ask: RoomAsk) -> None:
        """Give the answer its context and its place in line. Whatever prevents that ends it."""
        answer = ask.answer
        try:
            if ask.raw is not None:
                self._answers.enqueue(answer, raw=ask.raw)
                return
            messages = await self._contexts.make(answer, ask.room_id, ask.draft, ask.system)
            self._answers.enqueue(answer, messages=messages)
        except WireError as error:
            self._answers.end_early(answer, Ending.failed(error))
        except Exception:
            log.exception("the context of %s could not be made", answer.stream_id)
            fault = WireError(ErrorCode.INTERNAL_ERROR, "Something went wrong in the server.")
            self._answers.end_early(answer, Ending.failed(fault))

    async def _close(self, ask: RoomAsk, record: StreamRecord, ending: Ending) -> None:
        """Give an answer that ended its place in the log: before its end is told."""
        await ask.tried.wait()
        if not ask.is_open:
            return
        try:
            entry = await self._broker.answer(ask.room_id, answer_draft(record))
        except WireError as error:
            log.warning("an answer could not be put into its room's log: %s", error.message)
            record.saved = False
            return
        record.seq = entry.seq if entry is not None else None


def answer_draft(record: StreamRecord) -> Draft:
    """The entry of an answer that has its last text."""
    return Draft(
        role="assistant",
        client_id="server",
        user_id=record.model_id,
        name=record.model_id,
        text=record.transcript.text,
        stream_id=record.stream_id,
    )
