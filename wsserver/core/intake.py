"""How an accepted answer comes into a model's line, and out of it again without a slot.

A deterministic answer that is kept is given again and needs no line. Where the model's queue is
full, or the model fails before the first token, its fallbacks are asked; after the first token
nothing is asked again, since the text would change its author in the middle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

from wsserver.core.ask import Answer
from wsserver.core.cache import CachedAnswer, ResponseCache, cache_key, is_deterministic
from wsserver.core.jobs import Job, JobQueue, QueueFull
from wsserver.core.models import ModelDirectory, ModelView
from wsserver.core.models.fallbacks import bind, others
from wsserver.core.streams import Ending, StreamLog, StreamRecord
from wsserver_protocol.errors import ErrorCode
from wsserver_protocol.lifecycle import StreamState

_ANOTHER_MAY = frozenset((ErrorCode.OVERLOADED, ErrorCode.MODEL_NOT_READY))
"""Failures that are the model's and not the request's: another model may well answer."""

CloseAnswer = Callable[[StreamRecord, int, Ending], None]
"""Ends an answer: record, the writer's fence, how."""


class Intake:
    """Puts answers in line.

    Args:
        log: Where text goes.
        queue: The models' lines.
        models: All there are.
        cache: Answers that are given again.
        close: Ends an answer that was given again.
        wait: Told of each answer in line, and its place behind the free slots.
    """

    def __init__(
        self,
        *,
        log: StreamLog,
        queue: JobQueue,
        models: ModelDirectory,
        cache: ResponseCache,
        close: CloseAnswer,
        wait: Callable[[Answer, int], None],
    ) -> None:
        self._log = log
        self._queue = queue
        self._models = models
        self._cache = cache
        self._close = close
        self._wait = wait

    def line_up(self, answer: Answer, job: Job) -> None:
        """Put an answer in its model's line, or in a fallback's if that is full.

        Raises:
            QueueFull: If all of them are; the answer has not ended then.
        """
        record = answer.record
        asked = record.requested_model or record.model_id
        model = self._models.get(record.model_id)
        if not self._try(answer, job, model) and not self._try_others(answer, job, asked):
            raise QueueFull

    def divert(self, answer: Answer, ending: Ending) -> bool:
        """Have a fallback answer in place of a model that failed as ``ending`` says.

        False if there is none, or it is too late for one.
        """
        record, job = answer.record, answer.job
        is_too_late = record.first_token_at is not None or record.cancel is not None
        if ending.code not in _ANOTHER_MAY or job is None or is_too_late:
            return False
        asked = record.requested_model or record.model_id
        answer.tried.add(record.model_id)
        if next(self._others(answer, asked), None) is None:
            return False
        if record.state is StreamState.RUNNING:
            self._log.release(record.stream_id, record.fence)
        return self._try_others(answer, job, asked)

    def _others(self, answer: Answer, asked: str) -> Iterator[ModelView]:
        return others(self._models, asked, answer.ask.options, answer.tried)

    def _try_others(self, answer: Answer, job: Job, asked: str) -> bool:
        return any(self._try(answer, job, model) for model in self._others(answer, asked))

    def _try(self, answer: Answer, job: Job, model: ModelView) -> bool:
        """Put an answer in one model's line; False if that is full, and nothing has changed."""
        record = answer.record
        if model.id != job.model_id:
            job = replace(job, model_id=model.id)
        if self._is_given_again(answer, job, model):
            return True
        free = self._models.free_slots(model)
        before = record.model_id
        record.model_id = model.id  # the queue may look at it
        try:
            self._queue.submit(job, record, free_slots=free)
        except QueueFull:
            record.model_id = before
            return False
        if model.id != before:
            bind(record, model, record.requested_model or before)
        answer.job = job
        # The free slots take the first ones as soon as their runner is woken.
        self._wait(answer, self._queue.place(model.id, record.stream_id) - free)
        return True

    def _is_given_again(self, answer: Answer, job: Job, model: ModelView) -> bool:
        if not is_deterministic(answer.ask.options):
            return False
        answer.cache_key = cache_key(job, model.build)
        loop = asyncio.get_running_loop()
        cached = self._cache.get(answer.cache_key, loop.time())
        if cached is None:
            return False
        if model.id != answer.record.model_id:
            bind(answer.record, model, answer.record.requested_model or answer.record.model_id)
        # Soon, not now: whoever submits has not yet said what its end brings.
        loop.call_soon(self._give_again, answer, cached)
        return True

    def _give_again(self, answer: Answer, cached: CachedAnswer) -> None:
        """Make a cached answer this one's: all at once, and no engine is asked."""
        record = answer.record
        if answer.is_closing or record.cancel is not None:
            return
        record.is_cached = True
        record.prompt_tokens = record.cached_tokens = cached.prompt_tokens
        self._log.append(record.stream_id, record.fence, 0, cached.text, cached.tokens)
        self._close(record, record.fence, Ending.complete(cached.finish_reason))
