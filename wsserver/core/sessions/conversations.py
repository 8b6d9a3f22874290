"""Turns of sessions: one at a time for each session, in order of arrival, each kept exactly once.

A turn is accepted at once and then led by a task of its own: it is given a place in the tree,
waits for the turn before it, gets its context, runs, and is checkpointed until its end is stored.

What a store that is away means. Nothing can be read: the turn is refused, `store_unavailable`.
Its messages can't be written: the answer streams all the same, everything is written when the
store is back, and a client whose answer ends before that is told ``saved: false``. A step whose
outcome is unknown is repeated; message ids keep it from counting twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

from wsserver.core.answers import Answers
from wsserver.core.ask import Answer, Place
from wsserver.core.errands import Errands
from wsserver.core.models import ModelDirectory
from wsserver.core.sessions.context import Context
from wsserver.core.sessions.contexts import ContextMaker
from wsserver.core.sessions.elsewhere import Ahead, Elsewhere
from wsserver.core.sessions.model import Message
from wsserver.core.sessions.placing import Placing
from wsserver.core.sessions.refusals import in_time, or_refused, refusal, store_unavailable
from wsserver.core.sessions.store import SessionError, SessionStore, StoreUnavailable
from wsserver.core.sessions.turns import Before, Turn, Wish, title_from
from wsserver.core.streams import Ending, StreamRecord
from wsserver.core.wallclock import wall_ms
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.lifecycle import StopReason

log = logging.getLogger(__name__)

START_WITHIN = 0.25
"""Seconds that a start is held back so that it can tell the size of its context."""

CHECKPOINT_EVERY = 0.75
"""Seconds between writes of a running answer: it is never more than a second behind."""

LEASE_RENEWED_EVERY = 2.0
"""Seconds after which an answer without new text is written again, to show that it lives."""

SAVED_WITHIN = 2.5
"""Seconds that the end of an answer waits for the store."""

FIRST_RETRY, LAST_RETRY = 0.1, 5.0
"""Seconds between tries to write while the store is away, doubling from first to last."""


class Conversations:
    """The living turns of this process.

    Args:
        store: Where histories are.
        answers: Makes the answers.
        models: Counts tokens.
        elsewhere: Where the answers are made by other processes, which keep them, too.
    """

    def __init__(
        self,
        store: SessionStore,
        answers: Answers,
        models: ModelDirectory,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._store = store
        self._elsewhere = elsewhere
        self._answers = answers
        self._models = models
        self._placing = Placing(store, answers, models)
        self._contexts = ContextMaker(store, models)
        self._turns: dict[tuple[str, str], list[Turn]] = {}  # by session, in order of arrival
        self._errands = Errands("a turn of a session could not be led")

    def begin(self, answer: Answer, wish: Wish) -> None:
        """Lead an accepted answer through its turn. Its start is held back until it has a place."""
        key = (answer.ask.owner.key, wish.session_id)
        turns = self._turns.setdefault(key, [])
        turn = Turn(answer, wish, turns[-1] if turns else None)
        turns.append(turn)
        self._answers.hold(answer)
        if self._elsewhere is None:
            answer.closing.append(partial(self._close, turn))
        else:
            answer.record.saved = False  # until who makes it, and keeps it, says that it is
            answer.on_end.append(lambda ended: _kept_elsewhere(turn, ended))
            answer.on_dropped.append(turn.ended.set)
        self._errands.begin(self._lead(turn))

    def live(self, owner: str, session_id: str) -> dict[str, Message]:
        """The session's answers that are being made, as they stand now, by message id."""
        turns = self._turns.get((owner, session_id), ())
        return {
            turn.spot.message.message_id: turn.message()
            for turn in turns
            if turn.spot is not None and not turn.settled.is_set()
        }

    async def stop(self, owner: str, session_id: str, by: str) -> None:
        """Stop the session's turns and wait until they are settled, or the store is too slow.

        Raises:
            WireError: ``store_unavailable`` in that case.
        """
        turns = list(self._turns.get((owner, session_id), ()))
        for turn in turns:
            self._answers.stop(turn.answer, StopReason.CLIENT, by)
        try:
            async with asyncio.timeout(SAVED_WITHIN):
                for turn in turns:
                    await turn.settled.wait()
                    await _ended(turn.answer)
        except TimeoutError:
            raise store_unavailable() from None

    def running(self, owner: str) -> list[str]:
        """Ids of the owner's sessions that have a turn under way."""
        return [session_id for key, session_id in self._turns if key == owner]

    async def close(self) -> None:
        """Give what is not written yet a last chance. Answers must have ended."""
        if await self._errands.ended(within=SAVED_WITHIN):
            return
        if self._elsewhere is None:  # else their makers go on, and keep them
            log.error("%d answers could not be stored before the end", len(self._errands))
        self._errands.cancel()
        await self._errands.ended()

    # A turn's way ------------------------------------------------------------------------------

    async def _lead(self, turn: Turn) -> None:
        try:
            if self._elsewhere is None:
                await self._start(turn, Before(turn))
                await self._keep(turn)
            else:
                await self._lead_elsewhere(turn, self._elsewhere)
        except WireError as error:
            self._fail(turn, error)
        except Exception:
            log.exception("a turn of a session failed")
            fault = WireError(ErrorCode.INTERNAL_ERROR, "Something went wrong in the server.")
            self._fail(turn, fault)
        finally:
            if turn.saved is None:
                turn.saved = False
            turn.placed.set()
            turn.settled.set()
            turn.before = None
            turns = self._turns[turn.key]
            turns.remove(turn)
            if not turns:
                del self._turns[turn.key]

    def _fail(self, turn: Turn, error: WireError) -> None:
        """Refuse a turn; one whose start was told ends, and its repeats are told that end."""
        if turn.answer.is_held:
            self._answers.refuse(turn.answer, error)
        else:
            self._answers.end_early(turn.answer, Ending.failed(error))

    async def _lead_elsewhere(self, turn: Turn, elsewhere: Elsewhere) -> None:
        """The same way where other processes serve the session, too, and a worker keeps it."""
        if not await self._answers.admitted(turn.answer):
            return
        async with elsewhere.turn(turn.key, turn.answer.stream_id) as ahead:
            await self._start(turn, ahead)
            await turn.ended.wait()

    async def _start(self, turn: Turn, ahead: Ahead) -> None:
        """Give a turn its place and its start, then its context and a place in the model's line.

        Raises:
            WireError: If it is refused. Nothing of it is stored then.
        """
        await or_refused(ahead.placed())
        turn.spot = await self._placing.find(turn)
        building = self._build(turn) if ahead.is_over and self._is_ready(turn) else None
        try:
            if building is not None:
                await _first_of(turn.ended.wait(), building, timeout=START_WITHIN)
            context = building.result() if building is not None and building.done() else None
            await self._place(turn)
            ahead.follow()
            self._tell_start(turn, context)
            over = asyncio.ensure_future(ahead.over())
            try:
                await _first_of(turn.ended.wait(), over)
                if over.done():
                    over.result()  # it can't be told whether they have ended: the turn ends
            finally:
                over.cancel()  # of a turn that was stopped nobody asks any more
            if turn.ended.is_set():
                return
            if building is None:
                building = self._build(turn)
            await _first_of(turn.ended.wait(), building)
            if building.done():
                self._enqueue(turn, building)
        finally:
            if building is not None:
                building.cancel()

    def _build(self, turn: Turn) -> asyncio.Task[Context]:
        task = asyncio.get_running_loop().create_task(self._contexts.make(turn))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    def _is_ready(self, turn: Turn) -> bool:
        return self._models.get(turn.answer.record.model_id).is_ready

    async def _place(self, turn: Turn) -> None:
        """Put the turn's messages into the tree, now or, if the store is away, later.

        Raises:
            WireError: If a cap refuses them, or the session has gone.
        """
        try:
            await self._store_rows(turn)
        except StoreUnavailable as error:
            if self._elsewhere is not None:
                raise refusal(error) from error
            log.warning("a turn can't be stored yet: %s", error)
        except SessionError as error:
            raise refusal(error) from error

    def _tell_start(self, turn: Turn, context: Context | None) -> None:
        spot = turn.spot
        assert spot is not None
        before_answer = spot.appended[-2] if len(spot.appended) > 1 else None
        asked = before_answer.message_id if before_answer is not None else spot.end
        turn.answer.place = Place(
            session_id=turn.wish.session_id,
            message_id=spot.message.message_id,
            user_message_id=asked,
            context_tokens=context.tokens if context is not None else None,
            dropped_messages=context.dropped if context is not None else None,
        )
        if self._elsewhere is not None:
            self._elsewhere.keep(turn.answer, *turn.key, spot.message, spot.instead_of)
        self._answers.release(turn.answer)

    def _enqueue(self, turn: Turn, building: asyncio.Task[Context]) -> None:
        """Put the answer into its model's line; whatever prevents that ends it."""
        assert turn.spot is not None
        answer = turn.answer
        try:
            context = building.result()
            answer.prior = turn.spot.message.content
            answer.ask = replace(answer.ask, messages=context.messages)
            self._answers.enqueue(answer, messages=context.messages, prior=answer.prior)
        except WireError as error:
            self._answers.end_early(answer, Ending.failed(error))

    # Keeping -----------------------------------------------------------------------------------

    async def _keep(self, turn: Turn) -> None:
        """Write the answer as it grows, and its end until the store has it."""
        transcript = turn.answer.record.transcript
        length, written_at = 0, asyncio.get_running_loop().time()
        while not turn.ended.is_set():
            await _first_of(turn.ended.wait(), timeout=CHECKPOINT_EVERY)
            now = asyncio.get_running_loop().time()
            is_due = len(transcript) != length or now - written_at > LEASE_RENEWED_EVERY
            if turn.ended.is_set() or not (is_due or not turn.is_stored):
                continue
            length = len(transcript)
            if await self._write(turn):
                written_at = now
        pause = FIRST_RETRY
        while turn.saved is None:
            if await self._write(turn):
                turn.saved = True
            elif turn.saved is None:
                # Nothing tells when the store is back.
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_RETRY)

    async def _write(self, turn: Turn) -> bool:
        """Bring what is stored of a turn up to date. False if that was not possible."""
        try:
            await self._store_rows(turn)
        except StoreUnavailable:
            return False
        except SessionError as error:
            log.warning("an answer has lost its session: %r", error)
            turn.saved = False
            return False
        return True

    async def _store_rows(self, turn: Turn) -> None:
        store, (owner, session_id), spot = self._store, turn.key, turn.spot
        assert spot is not None
        is_stale = True
        if spot.appended and not turn.is_stored:
            title = title_from(turn.wish.new) if spot.end is None else None
            rows = turn.rows()
            await in_time(store.append(owner, session_id, rows, wall_ms(), title=title))
            # An append whose outcome was not known may have put in an older state of the answer,
            # and who was to make it before may have put in his own.
            as_begun = replace(rows[-1], lease=spot.message.lease)
            is_stale = spot.message != as_begun or bool(spot.instead_of)
        if is_stale:
            message = turn.message()
            await in_time(store.revise(owner, session_id, message, instead_of=spot.instead_of))
        turn.is_stored = True
        turn.placed.set()

    async def _close(self, turn: Turn, record: StreamRecord, ending: Ending) -> None:
        """The answer has its last text: have it stored before its end is told."""
        turn.ending = ending
        turn.ended.set()
        await _first_of(turn.settled.wait(), timeout=SAVED_WITHIN)
        record.saved = turn.saved is True


def _kept_elsewhere(turn: Turn, answer: Answer) -> None:
    turn.saved = answer.record.saved is True
    turn.ending = answer.record.ending
    turn.ended.set()


async def _ended(answer: Answer) -> None:
    """Wait until an answer's end has been told."""
    if not answer.record.is_ended:
        ended = asyncio.Event()
        answer.on_end.append(lambda _: ended.set())
        await ended.wait()


async def _first_of(*awaited: Awaitable[object], timeout: float | None = None) -> None:
    """Wait for the first of some things, or for ``timeout`` seconds. Tasks among them go on."""
    waiting = [asyncio.ensure_future(one) for one in awaited]
    try:
        await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for given, task in zip(awaited, waiting, strict=True):
            if given is not task:
                task.cancel()
