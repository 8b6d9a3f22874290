"""Every answer from acceptance to its end: what all ways of making answers share.

`LocalAnswers` makes them in this process; `wsserver.core.shared.answers` has them made by any
process of a fleet. Handlers, sessions, rooms and batches see no difference.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

from wsserver.core.ask import Answer, Ask, Claim, ClosingHook
from wsserver.core.engine import ChatMessage
from wsserver.core.ids import new_id
from wsserver.core.models import ModelDirectory
from wsserver.core.models.fallbacks import bind, select
from wsserver.core.pace import UNKNOWN_SECONDS, Pace
from wsserver.core.streams import Ending, StreamRecord
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.lifecycle import FinishReason, StopReason, StreamStep


class Answers(ABC):
    """The answers that this process knows of.

    Ended ones can still be watched for ``retention`` seconds, and one that waits must have found
    a slot within ``max_wait`` seconds (0: no bound).
    """

    def __init__(self, *, models: ModelDirectory, retention: float, max_wait: float) -> None:
        self._models = models
        self._retention = retention
        self._max_wait = max_wait
        self._answers: dict[str, Answer] = {}
        self._ended: dict[str, Answer] = {}  # within the retention, in order of their ends
        self.on_place_free: Callable[[], None] = lambda: None  # a batch may have waited for it

    @property
    def active(self) -> int:
        """Answers that have not ended."""
        return len(self._answers)

    def of_stream(self, stream_id: str) -> Answer | None:
        """The answer while it has not ended."""
        return self._answers.get(stream_id)

    def retained(self, stream_id: str) -> Answer | None:
        """The answer, also after its end while its text is kept here."""
        self._forget_expired()
        return self._answers.get(stream_id) or self._ended.get(stream_id)

    async def find(self, stream_id: str) -> Answer | None:
        """The answer, also where another process accepted it.

        Raises:
            WireError: ``store_unavailable`` if that can't be told now.
        """
        return self.retained(stream_id)

    async def place(self, answer: Answer, offset: int) -> int:
        """Where a reader stands that has ``offset`` bytes of an answer: it drops what is past.

        Waits for a log that lives elsewhere and may be ahead of what is known here. Let the reader
        in at what this returns without awaiting anything in between.
        """
        return offset

    async def look_again(self, answer: Answer) -> None:
        """Make certain that an answer without an end has none, wherever it is made.

        Raises:
            WireError: ``store_unavailable`` if that can't be told now.
        """
        return

    async def made_before(
        self, identity_key: str, request_id: str, fingerprint: bytes | None = None
    ) -> Answer | None:
        """What a request has become in another process; None if nothing that is kept.

        Raises:
            WireError: ``duplicate_request``; ``store_unavailable`` if it can't be told now.
        """
        return None

    async def learn_input(self, answer: Answer) -> None:
        """Have an answer know what its model was fed, if that is kept wherever it was made.
        Raises as `find`."""
        return

    def submit(
        self,
        ask: Ask,
        *,
        request_id: str | None = None,
        closing: list[ClosingHook] | None = None,
        prior: str = "",
    ) -> Answer:
        """Accept a request and put it in line; ``prior`` is what its answer goes on with.

        Raises:
            WireError: As for `accept` and `enqueue`. Nothing is left behind.
        """
        answer = self.accept(ask, request_id=request_id, closing=closing)
        try:
            answer.prior = prior
            self.enqueue(answer, messages=ask.messages, raw=ask.raw, prior=prior)
        except WireError:
            self._withdraw(answer)
            raise
        return answer

    def accept(
        self,
        ask: Ask,
        *,
        request_id: str | None = None,
        closing: list[ClosingHook] | None = None,
        is_provisional: bool = False,
    ) -> Answer:
        """Accept a request: from now on it has a stream and one ending, but no place in line.

        With ``is_provisional`` another model may still be bound to it (`rebind`), and what it
        asks of its model is checked then.

        Raises:
            WireError: If it is refused: `model_not_found`, `model_not_ready`,
                `unsupported_option`, `too_many_streams`.
        """
        options = None if is_provisional else ask.options
        model, requested = select(self._models, ask.model, options)
        loop = asyncio.get_running_loop()
        record = StreamRecord(new_id("str"), model.id, loop.time())
        record.requested_model = requested
        answer = Answer(record, ask, request_id, closing or [])
        self._begin(answer)
        self._answers[record.stream_id] = answer
        if not model.is_ready:
            record.take(StreamStep.WAIT_FOR_MODEL)
        if ask.options.timeout is not None:
            answer.deadline = loop.call_later(ask.options.timeout / 1000, self._time_out, answer)
        return answer

    @abstractmethod
    def enqueue(
        self,
        answer: Answer,
        *,
        messages: tuple[ChatMessage, ...] | None = None,
        raw: str | None = None,
        prior: str = "",
    ) -> None:
        """Put an accepted answer in line. Does nothing if it has ended meanwhile.

        Args:
            answer: The answer.
            messages: The conversation to answer; either this or ``raw``.
            raw: A prompt without a template.
            prior: The beginning of the model's turn, said before and not repeated.

        Raises:
            WireError: ``overloaded`` if the model's queue is full; ``model_not_ready`` if the
                model went away since the acceptance. The answer has not ended then.
        """

    def rebind(self, answer: Answer, model_id: str) -> None:
        """Have another model make an answer that is not in line yet: its session's own.

        Raises:
            WireError: As for `accept`; the answer stays as it is.
        """
        record = answer.record
        model, requested = select(self._models, model_id, answer.ask.options)
        if model_id == record.model_id:  # it may be a fallback's already
            requested = record.requested_model or requested
        bind(record, model, requested)

    async def admitted(self, answer: Answer) -> bool:
        """Wait until an accepted answer may go on. False if it has ended meanwhile."""
        return True

    @abstractmethod
    def claim_id(self, answer: Answer, claim: Claim) -> None:
        """The asker gave the request an id: told in the same step as its acceptance."""

    def hold(self, answer: Answer) -> None:
        """Have the start of an answer not told before as many calls of `release`."""
        answer.holds += 1

    def release(self, answer: Answer) -> None:
        """Have the start of an answer told, unless something else still holds it back."""
        answer.holds -= 1
        if not answer.is_held:
            answer.record.wake()
            for hook in answer.on_release:
                hook()
            answer.on_release.clear()

    async def start_told(self, answer: Answer) -> None:
        """Wait until nothing holds an answer's start back, or it has ended."""
        if answer.is_held and not answer.record.is_ended:
            over = asyncio.Event()
            answer.on_release.append(over.set)
            answer.on_end.append(lambda ended: over.set())
            await over.wait()

    def refuse(self, answer: Answer, error: WireError) -> None:
        """End an answer that was held back as if it had never been accepted."""
        if answer.is_closing or answer.record.cancel is not None:
            return
        answer.is_refused = True
        answer.closing.clear()
        self.end_early(answer, Ending.failed(error))

    def stop(self, answer: Answer, reason: StopReason, by: str) -> bool:
        """Stop an answer wherever it is. False if it has ended or someone stopped it before.

        Waiting work ends now and is never begun; running work ends at the engine's next step.
        """
        return self.end_early(answer, Ending.stopped(reason, by))

    @abstractmethod
    def followed(self, answer: Answer) -> None:
        """Someone here follows an answer from now on."""

    @abstractmethod
    def unfollowed(self, answer: Answer) -> None:
        """Someone here follows an answer no longer: it ends if nobody is left for it."""

    @abstractmethod
    def orphaned(self, answer: Answer) -> None:
        """Its asker is gone: it ends unless it survives that, or anyone follows it anywhere."""

    @abstractmethod
    def end_early(self, answer: Answer, ending: Ending) -> bool:
        """Have an answer end as ``ending`` says. False if it has ended or will end otherwise."""

    def stop_all(self, ending: Ending) -> None:
        """End every answer, wherever it is."""
        for answer in list(self._answers.values()):
            self.end_early(answer, ending)

    async def idle(self) -> None:
        """Wait until no answer runs or waits."""
        while self._answers:
            ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            answer = next(iter(self._answers.values()))
            answer.on_end.append(partial(_resolve, ended))
            answer.on_dropped.append(partial(_resolve, ended))
            await ended

    @abstractmethod
    async def closed(self) -> None:
        """Wait until all that the ends bring is done."""

    @abstractmethod
    def _begin(self, answer: Answer) -> None:
        """Take what an answer needs from its acceptance on, or refuse it."""

    @abstractmethod
    def _withdraw(self, answer: Answer) -> None:
        """Undo an acceptance that nobody was told of."""

    def _has_ended(self, answer: Answer) -> None:
        """Its record has the end: tell whoever waits for that."""
        answer.holds = 0
        answer.job = None  # its messages are not kept for as long as its text
        if answer.record.fence and (pace := self._pace(answer)) is not None:
            pace.note_end(asyncio.get_running_loop().time())
        for timer in (answer.deadline, answer.patience):
            if timer is not None:
                timer.cancel()
        self._answers.pop(answer.stream_id, None)
        self._ended[answer.stream_id] = answer
        self._forget_expired()
        for callback in answer.on_end:
            callback(answer)
        self.on_place_free()

    def _forget_expired(self) -> None:
        oldest = asyncio.get_running_loop().time() - self._retention
        while self._ended:
            first = next(iter(self._ended.values()))
            if (first.record.ended_at or 0.0) > oldest:
                return
            del self._ended[first.stream_id]

    def _wait(self, answer: Answer, place: int) -> None:
        """Note an answer's place in line (below 1: a slot is free), and for how long it may wait.

        A free slot may turn out to be another's, so the time counts in any case.
        """
        if place > 0:
            answer.record.queue_position = place
            answer.record.wake()  # its start may have been told before it had a place
        if self._max_wait and answer.patience is None:
            loop = asyncio.get_running_loop()
            answer.patience = loop.call_later(self._max_wait, self._waited_enough, answer)

    def _waited_enough(self, answer: Answer) -> None:
        """End a request that has found no slot in time; one that began once is let wait."""
        if answer.record.fence == 0:
            ending = Ending.error(
                ErrorCode.OVERLOADED,
                f"No slot was free within {self._max_wait:g} s.",
                retryable=True,
                retry_after=self._retry_after(answer, answer.record.queue_position or 1),
            )
            self.end_early(answer, ending)

    def _no_place(self, answer: Answer) -> WireError:
        """The refusal of a request whose model has a full queue."""
        return WireError(
            ErrorCode.OVERLOADED,
            f"The queue of model {answer.record.model_id!r} is full.",
            retry_after=self._retry_after(answer, 1),
        )

    def _retry_after(self, answer: Answer, slots: int) -> int:
        """Milliseconds until so many slots of its model will be free, as far as can be told."""
        pace = self._pace(answer)
        now = asyncio.get_running_loop().time()
        return round((UNKNOWN_SECONDS if pace is None else pace.wait_for(slots, now)) * 1000)

    def _pace(self, answer: Answer) -> Pace | None:
        """How fast its model's slots become free; None if the model is known no more."""
        try:
            return self._models.get(answer.record.model_id).pace
        except WireError:
            return None

    def _time_out(self, answer: Answer) -> None:
        if answer.record.first_token_at is None:
            ending = Ending.error(
                ErrorCode.TIMEOUT,
                f"No token came within {answer.ask.options.timeout} ms.",
                retryable=True,
            )
        else:
            ending = Ending.complete(FinishReason.TIMEOUT)
        self.end_early(answer, ending)


def _resolve(waiter: asyncio.Future[None], *_: Answer) -> None:
    if not waiter.done():
        waiter.set_result(None)
