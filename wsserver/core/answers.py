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
from wsserver.core.cache import (
    CachedAnswer,
    ResponseCache,
    cache_key,
    is_deterministic,
    keepable,
)
from wsserver.core.engine import ChatMessage
from wsserver.core.ids import new_id
from wsserver.core.jobs import JobQueue, QueueFull
from wsserver.core.limits import Limits
from wsserver.core.models import ModelDirectory
from wsserver.core.models.options import check_options
from wsserver.core.results import ending_word
from wsserver.core.streams import Ending, Fenced, StreamLog, StreamRecord
from wsserver.core.telemetry import Telemetry
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.lifecycle import FinishReason, StopReason, StreamState, StreamStep

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
        models: ModelDirectory,
        telemetry: Telemetry,
        retention: float,
        cache: ResponseCache,
        max_wait: float = 0.0,
    ) -> None:
        self._retention = retention
        self._log = log
        self._cache = cache
        self._max_wait = max_wait
        self._queue = queue
        self._limits = limits
        self._models = models
        self._telemetry = telemetry
        self._answers: dict[str, Answer] = {}
        self._ended: dict[str, Answer] = {}  # within the retention, in order of their ends
        self._closings: set[asyncio.Task[None]] = set()
        self.on_place_free: Callable[[], None] = lambda: None  # a batch may have waited for it

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
        model = self._models.require(ask.model)
        if not is_provisional:
            check_options(model, ask.options)
        self._limits.begin(ask.owner.limit_key)
        loop = asyncio.get_running_loop()
        record = StreamRecord(new_id("str"), model.id, loop.time())
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
        model = self._models.require(record.model_id)
        job = make_job(record, answer.ask, messages, raw, prior)
        if is_deterministic(answer.ask.options):
            answer.cache_key = cache_key(job, model.build)
            loop = asyncio.get_running_loop()
            cached = self._cache.get(answer.cache_key, loop.time())
            if cached is not None:
                # Soon, not now: whoever submits has not yet said what its end brings.
                loop.call_soon(self._give_again, answer, cached)
                return
        free = self._models.free_slots(model)
        try:
            self._queue.submit(job, record, free_slots=free)
        except QueueFull:
            raise WireError(
                ErrorCode.OVERLOADED, f"The queue of model {model.id!r} is full.", retry_after=1000
            ) from None
        # The free slots take the first in line as soon as their runner is woken.
        place = self._queue.place(model.id, record.stream_id) - free
        if place > 0:
            record.queue_position = place
            record.wake()  # its start may have been told before it had a place
            if self._max_wait:
                loop = asyncio.get_running_loop()
                answer.patience = loop.call_later(self._max_wait, self._waited_enough, answer)

    def rebind(self, answer: Answer, model_id: str) -> None:
        """Have another model make an answer that is not in line yet: its session's own.

        Raises:
            WireError: As for `accept`; the answer stays as it is.
        """
        model = self._models.require(model_id)
        check_options(model, answer.ask.options)
        record = answer.record
        record.model_id = model.id
        if record.state is StreamState.QUEUED and not model.is_ready:
            record.take(StreamStep.WAIT_FOR_MODEL)
        elif record.state is StreamState.LOADING and model.is_ready:
            record.take(StreamStep.QUEUE)

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
        if answer is None or answer.is_closing:
            return
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

    def _waited_enough(self, answer: Answer) -> None:
        """End a request that has found no slot in time; one that began once is let wait."""
        if answer.record.fence == 0:
            ending = Ending.error(
                ErrorCode.OVERLOADED,
                f"No slot was free within {self._max_wait:g} s.",
                retryable=True,
                retry_after=round(self._max_wait * 1000),
            )
            self.end_early(answer, ending)

    def _give_again(self, answer: Answer, cached: CachedAnswer) -> None:
        """Make a cached answer this one's: all at once, and no engine is asked."""
        record = answer.record
        if answer.is_closing or record.cancel is not None:
            return
        record.is_cached = True
        record.prompt_tokens = record.cached_tokens = cached.prompt_tokens
        self._log.append(record.stream_id, record.fence, 0, cached.text, cached.tokens)
        self.close(record, record.fence, Ending.complete(cached.finish_reason))

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
