"""Asks in a room: from an accepted answer to its place in the model's line, and to the log.

The start of an answer is held back until its ask stands in the room's log, so that `stream_start`
has the ask's ``seq`` and everyone sees it there, or nobody does. By then the answer is where all
processes find it: whoever is told of an ask can show what becomes of it.

What happens to an ask while others are open is the room's setting. To wait for one's turn is the
default: an ask then knows the answers before it. One that steers ends those, and waits for their
ends, too: what they had said is part of the conversation.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field, replace

from wsserver.core.answers import Answers
from wsserver.core.ask import Answer
from wsserver.core.errands import Errands
from wsserver.core.room_context import RoomContexts
from wsserver.core.rooms import refusals
from wsserver.core.rooms.changes import Draft, OpenAsk, Origin
from wsserver.core.rooms.service import Rooms
from wsserver.core.streams import Ending, StreamRecord
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.fields import WhenBusy

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
"""Between two tries to log an ask or an answer while the store is away."""


@dataclass(slots=True)
class RoomAsk:
    """An ask on its way.

    Attributes:
        answer: Accepted, its start held back.
        room_id: Where.
        draft: What is said; None where an answer goes on.
        origin: Who asks.
        when_busy: What to do where other asks are open.
        system: A system prompt for this ask.
        raw: The prompt, where it goes to the model as it is.
    """

    answer: Answer
    room_id: str
    draft: Draft | None
    origin: Origin
    when_busy: WhenBusy = WhenBusy.QUEUE
    system: str | None = None
    raw: str | None = None
    is_tried: bool = False  # the room is being asked, or was
    is_over: bool = False  # its answer ends: it need not be asked any more
    tried: asyncio.Event = field(default_factory=asyncio.Event)  # whether `is_open` is final
    is_open: bool = False  # the room's log has the ask, and not the answer
    ahead: set[str] = field(default_factory=set)  # streams that it waits for
    turn: asyncio.Event = field(default_factory=asyncio.Event)  # they have ended


class RoomAsks:
    """Leads each ask of this process to its answer's end."""

    def __init__(self, rooms: Rooms, answers: Answers, contexts: RoomContexts) -> None:
        self._broker = rooms.broker
        self._answers = answers
        self._contexts = contexts
        self._waiting: list[RoomAsk] = []
        self._in_doubt: list[RoomAsk] = []
        self._errands = Errands("a step of an ask in a room has failed")
        rooms.telling.on_answered = self._answered
        rooms.telling.on_broken = self._broken

    def begin(self, ask: RoomAsk) -> None:
        """Hold an accepted answer's start back; `open` comes next."""
        self._answers.hold(ask.answer)
        ask.answer.closing.append(lambda record, ending: self._close(ask, record, ending))
        ask.answer.on_end.append(lambda ended: self._no_longer_waits(ask))

    async def open(self, ask: RoomAsk) -> None:
        """Put the ask into the log, and tell its start. Whatever prevents that refuses it."""
        answer = ask.answer
        try:
            is_wanted = await self._answers.admitted(answer)
            known = self._answers.of_stream(answer.stream_id)
            if known is not answer and not answer.record.is_ended:
                return  # an earlier answer to the same request is shown in its place
            if is_wanted and not ask.is_over:
                ask.is_tried = True
                await self._ask(ask)
        except refusals.InDoubt:
            # What its asker sends next to his rooms is not to wait for that.
            self._errands.begin(self._ask_again(ask))
            return
        except Exception as error:
            self._refuse(ask, error)
            return
        self._opened(ask)
        # What its asker sent next, to leave for one, comes after its start.
        await self._answers.start_told(answer)

    async def _ask(self, ask: RoomAsk) -> None:
        """Ask the room.

        Raises:
            WireError: As for `RoomBroker.ask`.
        """
        opened = await self._broker.ask(
            ask.room_id,
            OpenAsk(
                stream_id=ask.answer.stream_id,
                client_id=ask.origin.client_id,
                model_id=ask.answer.record.model_id,
            ),
            ask.draft,
            ask.origin,
            is_alone=ask.when_busy is WhenBusy.REJECT,
            steers=ask.when_busy is WhenBusy.STEER,
        )
        ask.answer.ask_seq = opened.seq or None
        ask.is_open = True
        if opened.ahead and ask.when_busy is not WhenBusy.PARALLEL:
            self._wait(ask, opened.ahead)

    async def _ask_again(self, ask: RoomAsk) -> None:
        """Ask the room until it is known whether the ask stands there, or nobody wants it any more.

        The store went away in the very step that asks. The members may be shown the question by
        now, so that its asker can't be told that it was refused.
        """
        self._in_doubt.append(ask)
        try:
            await self._try_again(ask)
        except Exception as error:
            self._refuse(ask, error)
        else:
            self._opened(ask)
        finally:
            if ask in self._in_doubt:
                self._in_doubt.remove(ask)

    async def _try_again(self, ask: RoomAsk) -> None:
        await asyncio.sleep(RETRY_SECONDS)
        while ask.answer.record.cancel is None:
            if ask not in self._in_doubt:
                # The store has lost what it was told last. Asked again it would stand elsewhere,
                # and whoever was shown its stream where it stood before would not learn of it.
                raise refusals.store_away()
            try:
                await self._ask(ask)
                return
            except WireError as error:
                if error.code is not ErrorCode.STORE_UNAVAILABLE:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    def _opened(self, ask: RoomAsk) -> None:
        """The ask stands, or is not wanted any more, and ends as whoever stopped it has said."""
        ask.tried.set()
        if not ask.ahead:
            ask.turn.set()
        self._answers.release(ask.answer)
        if ask.is_open:
            self._errands.begin(self._lead(ask))

    def _refuse(self, ask: RoomAsk, error: Exception) -> None:
        """The ask does not stand."""
        ask.tried.set()
        if not isinstance(error, WireError):
            stream_id = ask.answer.stream_id
            log.error("the ask of %s could not be put into its room", stream_id, exc_info=error)
            error = _fault()
        self._answers.refuse(ask.answer, error)

    async def _lead(self, ask: RoomAsk) -> None:
        """Give the answer its context and its place in line. Whatever prevents that ends it."""
        answer = ask.answer
        try:
            await ask.turn.wait()
            record = answer.record
            if answer.is_closing or record.is_ended or record.cancel is not None:
                return
            messages = answer.ask.messages  # of an answer that goes on: what it was given before
            if ask.raw is None and messages is None and ask.draft is not None:
                messages = await self._contexts.make(answer, ask.room_id, ask.draft, ask.system)
                answer.ask = replace(answer.ask, messages=messages)
            self._answers.enqueue(answer, messages=messages, raw=ask.raw, prior=answer.prior)
        except WireError as error:
            self._answers.end_early(answer, Ending.failed(error))
        except Exception:
            log.exception("the context of %s could not be made", answer.stream_id)
            self._answers.end_early(answer, Ending.failed(_fault()))

    def _wait(self, ask: RoomAsk, ahead: tuple[str, ...]) -> None:
        """Let an ask wait until the streams ahead of it have ended; its asker is told its place."""
        ask.ahead.update(ahead)
        ask.answer.record.queue_position = len(ask.ahead)
        self._waiting.append(ask)

    def _answered(self, stream_id: str) -> None:
        """The log has an answer: those who waited for it come nearer."""
        for ask in [ask for ask in self._waiting if stream_id in ask.ahead]:
            ask.ahead.remove(stream_id)
            record = ask.answer.record
            record.queue_position = len(ask.ahead) or None
            record.wake()
            if not ask.ahead:
                self._no_longer_waits(ask)

    def _broken(self, room_id: str) -> None:
        """Nobody tells of the room's answers any more: who waits for some goes on without."""
        self._in_doubt = [ask for ask in self._in_doubt if ask.room_id != room_id]
        for ask in [ask for ask in self._waiting if ask.room_id == room_id]:
            ask.ahead.clear()
            self._no_longer_waits(ask)

    def _no_longer_waits(self, ask: RoomAsk) -> None:
        ask.turn.set()
        if ask in self._waiting:
            self._waiting.remove(ask)

    async def _close(self, ask: RoomAsk, record: StreamRecord, ending: Ending) -> None:
        """Give an answer that ended its place in the log: before its end is told."""
        ask.is_over = True
        # Not before the room is asked: what may prevent that, a fleet's admission, ends the answer
        # and waits for this, while `open` waits for the admission.
        if ask.is_tried:
            await ask.tried.wait()
        self._no_longer_waits(ask)
        if not ask.is_open:
            return
        try:
            entry = await self._broker.answer(ask.room_id, answer_draft(ask.answer))
        except WireError as error:
            log.warning("an answer is put into its room's log later: %s", error.message)
            record.saved = False
            self._errands.begin(self._close_later(ask))
            return
        record.seq = entry.seq if entry is not None else None

    async def _close_later(self, ask: RoomAsk) -> None:
        """The store is away: without an entry the ask would stay open, and hold others up."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            with suppress(WireError):
                await self._broker.answer(ask.room_id, answer_draft(ask.answer))
                return


def answer_draft(answer: Answer) -> Draft:
    """The entry of an answer that has its last text."""
    record = answer.record
    return Draft(
        role="assistant",
        client_id="server",
        user_id=record.model_id,
        name=record.model_id,
        text=record.transcript.text,
        stream_id=record.stream_id,
        continues=answer.continues,
    )


def _fault() -> WireError:
    return WireError(ErrorCode.INTERNAL_ERROR, "Something went wrong in the server.")
