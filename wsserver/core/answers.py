"""Every answer from acceptance to its end: admission, stopping, time limits, what an end brings.

All ways to end an answer lead through `Answers.close`, once: the runner's finish, a stop of
waiting work, a refusal by a model that went away. Before the end is told, its hooks run (a room
logs the answer, a session keeps it), so that the one terminal event can say what became of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from wsserver.core.ask import Answer, Ask, ClosingHook, make_job
from wsserver.core.cache import ResponseCache, keepable
from wsserver.core.engine import ChatMessage
from wsserver.core.ids import new_id
from wsserver.core.intake import Intake
from wsserver.core.jobs import JobQueue
from wsserver.core.limits import Limits
from wsserver.core.models.fallbacks import bind, select
from wsserver.core.models.registry import ModelRegistry
from wsserver.core.results import ending_word
from wsserver.core.streams import Ending, Fenced, StreamLog, StreamRecord
from wsserver.core.telemetry import Telemetry
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.lifecycle import FinishReason, StopReason, StreamStep

log = logging.getLogger(__name__)


class Answers:
    """The answers of this process.

    Ended ones can still be watched for ``retention`` seconds, deterministic ones are given again
    from ``cache``, and one that waits must have found a slot within ``max_wait`` seconds (0: no
    bound).
    """

    def __init__(
        self,
        *,
        log: StreamLog,
        queue: JobQueue,
        limits: Limits,
        models: ModelRegistry,
        telemetry: Telemetry,
        retention: float,
        cache: ResponseCache,
        max_wait: float = 0.0,
    ) -> None:
        self._retention = retention
        self._log = log
        self._cache = cache
        self._queue = queue
        self._limits = limits
        self._models = models
        self._telemetry = telemetry
        self._answers: dict[str, Answer] = {}
        self._ended: dict[str, Answer] = {}  # within the retention, in order of their ends
        self._closings: set[asyncio.Task[None]] = set()
        self.on_place_free: Callable[[], None] = lambda: None  # a batch may have waited for it
        self._intake = Intake(
            log=log,
            queue=queue,
            models=models,
            cache=cache,
            max_wait=max_wait,
            close=self.close,
            end_early=self.end_early,
        )
        models.close_answer = self.close
        models.divert_answer = self.divert

    @property
    def active(self) -> int:
        """Answers that have not ended."""
        return len(self._answers)

    def of_stream(self, stream_id: str) -> Answer | None:
        """The answer while it has not ended."""
        return self._answers.get(stream_id)

    def retained(self, stream_id: str) -> Answer | None:
        """The answer, also after its end while its text is kept."""
        self._forget_expired()
        return self._answers.get(stream_id) or self._ended.get(stream_id)

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
        self._limits.begin(ask.owner.limit_key)
        loop = asyncio.get_running_loop()
        record = StreamRecord(new_id("str"), model.id, loop.time())
        record.requested_model = requested
        answer = Answer(record, ask, request_id, closing or [])
        self._log.create(record)
        self._answers[record.stream_id] = answer
        if not model.is_ready:
            record.take(StreamStep.WAIT_FOR_MODEL)
        if ask.options.timeout is not None:
            answer.deadline = loop.call_later(ask.options.timeout / 1000, self._time_out, answer)
        return answer

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
        record = answer.record
        if answer.is_closing or record.cancel is not None:
            return
        model, requested = select(self._models, record.model_id, None)
        if requested is not None:
            bind(record, model, record.requested_model or requested)
        self._intake.line_up(answer, make_job(record, answer.ask, messages, raw, prior))

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

    def release(self, answer: Answer) -> None:
        """Have the start of an answer told that was held back (`Answer.is_held`)."""
        answer.is_held = False
        answer.record.wake()

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

    def end_early(self, answer: Answer, ending: Ending) -> bool:
        """Have an answer end as ``ending`` says. False if it has ended or will end otherwise."""
        record = answer.record
        if answer.is_closing or not self._log.cancel(record.stream_id, ending):
            return False
        if not self._models.stop(record):
            self._queue.remove(record.model_id, record.stream_id)
            self.close(record, record.fence, ending)
        return True

    def close(self, record: StreamRecord, fence: int, ending: Ending) -> None:
        """End an answer: run its hooks, then tell its watchers. Its slot is free already."""
        answer = self._answers.get(record.stream_id)
        if answer is None or answer.is_closing or self._intake.divert(answer, ending):
            return
        fence = max(fence, record.fence)  # a fallback that found no place has cost a fence
        answer.is_closing = True
        for timer in (answer.deadline, answer.patience):
            if timer is not None:
                timer.cancel()
        if not answer.closing:
            self._finish(answer, fence, ending)
            return
        task = asyncio.get_running_loop().create_task(self._close_slowly(answer, fence, ending))
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)

    def divert(self, record: StreamRecord, ending: Ending) -> bool:
        """Have a fallback take up an answer that waited for a model which went away. False if
        there is none, and the answer must end."""
        answer = self._answers.get(record.stream_id)
        return answer is not None and self._intake.divert(answer, ending)

    def stop_all(self, ending: Ending) -> None:
        """End every answer, wherever it is."""
        for answer in list(self._answers.values()):
            self.end_early(answer, ending)

    async def idle(self) -> None:
        """Wait until no answer runs or waits."""
        while self._answers:
            ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            next(iter(self._answers.values())).on_end.append(partial(_resolve, ended))
            await ended

    async def closed(self) -> None:
        """Wait until every hook that is under way has run."""
        while self._closings:
            await asyncio.wait(self._closings)

    async def _close_slowly(self, answer: Answer, fence: int, ending: Ending) -> None:
        for hook in answer.closing:
            await hook(answer.record, ending)
        self._finish(answer, fence, ending)

    def _finish(self, answer: Answer, fence: int, ending: Ending) -> None:
        record = answer.record
        answer.is_held = False
        answer.job = None  # its messages are not kept for as long as its text
        if record.fence:
            self._models.get(record.model_id).pace.note_end(asyncio.get_running_loop().time())
        del self._answers[record.stream_id]
        key = answer.ask.owner.limit_key
        self._limits.end(key)
        if not record.is_cached:
            used = record.prompt_tokens + record.transcript.generated
            self._limits.use_tokens(key, used, asyncio.get_running_loop().time())
        kept = keepable(record, ending) if answer.cache_key is not None else None
        if answer.cache_key is not None and kept is not None:
            self._cache.put(answer.cache_key, kept, asyncio.get_running_loop().time())
        self._telemetry.stream_ended(record.model_id, ending_word(ending))
        try:
            self._log.finish(record.stream_id, fence, len(record.transcript), ending)
        except Fenced:
            log.warning("the end of %s was refused: another writer holds it", record.stream_id)
        self._ended[record.stream_id] = answer
        self._forget_expired()
        for callback in answer.on_end:
            callback(answer)
        self.on_place_free()

    def _forget_expired(self) -> None:
        oldest = asyncio.get_running_loop().time() - self._retention
        while self._ended:
            first = next(iter(self._ended.values()))
            if (first.record.ended_at or 0.0) >= oldest:
                return
            del self._ended[first.stream_id]

    def _withdraw(self, answer: Answer) -> None:
        """Undo an acceptance that nobody was told of."""
        del self._answers[answer.stream_id]
        self._log.forget(answer.stream_id)
        self._limits.end(answer.ask.owner.limit_key)
        if answer.deadline is not None:
            answer.deadline.cancel()

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


def _resolve(waiter: asyncio.Future[None], _: Answer) -> None:
    if not waiter.done():
        waiter.set_result(None)
