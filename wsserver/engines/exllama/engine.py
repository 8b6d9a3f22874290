"""The engine of both ExLlama libraries: steps a generator, one chunk or decode step at a time.

Decides how jobs meet the generator. It knows no library and no socket. The rules:

* A prompt is rendered, tokenized and made into a job in a thread of its own, one at a time: a long
  one takes tens of milliseconds, which the running answers do not wait for.
* A step processes at most one chunk of prompts: a job is handed to the generator when the prompts
  under way leave room in the chunk. The libraries would process a chunk of *every* new prompt, and
  a stop, like all other answers, would wait for them all.
* A job takes its pages for prompt and answer when it begins, so its length is bounded here.
* A fault of one answer ends that answer; an exception out of a step ends the child, and the host
  goes on elsewhere.
"""

from __future__ import annotations

import sys
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from wsserver.core.engine import EngineJob, LoadProgress, ModelInfo, ModelSpec, Output
from wsserver.engines.contract import EngineOutput, JobRefused, ProgressReport
from wsserver.engines.exllama.answer import Answer
from wsserver.engines.exllama.backend import Backend, Order
from wsserver.engines.exllama.loading import Loaded, load_model
from wsserver.engines.exllama.machine import is_device_fault
from wsserver.engines.exllama.results import Event, Stage
from wsserver.engines.link import Count, Counted, CountRefused
from wsserver.engines.outbox import Outbox

_OPTIONS: Final = ("json_schema", "grammar", "regex", "logprobs", "banned_strings")


Loader = Callable[[Backend, ModelSpec, Callable[[float], None]], Loaded]


@dataclass(frozen=True)
class _Prepared:
    """What the thread made of a job."""

    answer: Answer
    job: Any  # the library's


@dataclass(frozen=True)
class _Refused:
    """Why the thread made nothing of it."""

    job_id: str
    reason: JobRefused


class ExllamaEngine:
    """Serves a folder; an `wsserver.engines.contract.Engine`."""

    def __init__(self, backend: Backend, load: Loader = load_model) -> None:
        self._backend = backend
        self._load = load
        self._model: Loaded | None = None
        self._thread = ThreadPoolExecutor(1, "prompts")
        self._outbox: Outbox[_Prepared | _Refused | Counted | CountRefused] = Outbox()
        self._preparing: set[str] = set()
        self._waiting: deque[_Prepared] = deque()
        self._running: dict[str, _Prepared] = {}
        self._ready: list[EngineOutput] = []

    def load(self, spec: ModelSpec, report: ProgressReport) -> ModelInfo:
        """Load the folder of ``spec.path``."""

        def tell(progress: float) -> None:
            report(LoadProgress("loading", min(1.0, progress)))

        self._model = model = self._load(self._backend, spec, tell)
        for warning in model.warnings:
            print(warning, file=sys.stderr)  # noqa: T201 - stderr is this child's log
        options = (name for name in _OPTIONS if name not in model.unsupported)
        return ModelInfo(
            name=model.files.folder.name,
            slots=model.settings.slots,
            context_length=model.settings.ctx,
            size=model.files.size,
            capabilities=(*(("chat",) if model.prompts.has_template else ()), *options),
            unsupported_options=model.unsupported,
            warnings=model.warnings,
        )

    def start(self, job: EngineJob) -> None:
        """Hand the job's prompt to the thread; refuses options that the model lacks."""
        assert self._model is not None
        for option in sorted(self._model.unsupported):
            if getattr(job.sampling, option) not in (None, ()):
                name = self._backend.name
                raise JobRefused("unsupported_option", f"{name} has no {option} for this model")
        self._preparing.add(job.job_id)
        self._thread.submit(self._prepare, job)

    def cancel(self, job_id: str) -> None:
        """Drop the job; its end comes with the next step."""
        if job_id in self._preparing:
            self._preparing.discard(job_id)
            # Its prompt was never counted: what comes of the thread is left alone.
            self._ready += Answer.unborn(job_id)
            return
        waiting = next((p for p in self._waiting if p.answer.job_id == job_id), None)
        if waiting is not None:
            self._waiting.remove(waiting)
            self._ready += waiting.answer.cancel()
        elif (running := self._running.pop(job_id, None)) is not None:
            self._backend.cancel(running.job)
            self._ready += running.answer.cancel()

    def count(self, request: Count) -> None:
        """Count in the thread."""
        self._thread.submit(self._count, request)

    def next_due(self) -> float | None:
        """At once while there is work; new work comes by the file of the thread."""
        return 0.0 if self._running or self._waiting or self._ready else None

    def wake_fd(self) -> int | None:
        """Readable when the thread has prepared or counted something."""
        return self._outbox.fileno()

    def step(self) -> list[EngineOutput]:
        """What was prepared, and one step of the generator."""
        self._collect()
        outputs, self._ready = self._ready, []
        self._admit(outputs)
        if self._running:
            events = self._backend.iterate()
            is_prefill = any(event.stage is Stage.PREFILL for event in events)
            if is_prefill and not any(event.stage is Stage.TOKENS for event in events):
                # Nothing was read from the GPU: further chunks would only pile up there, and a
                # stop would have to wait for them all.
                self._backend.synchronize()
            for event in events:
                outputs += self._take(event)
            outputs += self._faults()
        return outputs

    def has_moved(self) -> bool:
        """True: it works in the loop that asks."""
        return True

    def close(self) -> None:
        """Drop all work and unload."""
        self._thread.shutdown(cancel_futures=True)
        self._outbox.close()
        for prepared in self._running.values():
            self._backend.cancel(prepared.job)
        self._running.clear()
        self._backend.close()

    def _collect(self) -> None:
        for item in self._outbox.take():
            match item:
                case _Prepared(answer) if answer.job_id in self._preparing:
                    self._preparing.discard(answer.job_id)
                    self._waiting.append(item)
                case _Refused(job_id, reason) if job_id in self._preparing:
                    self._preparing.discard(job_id)
                    self._ready += Answer.refused(job_id, reason)
                case Counted() | CountRefused():
                    self._ready.append(item)

    def _admit(self, outputs: list[EngineOutput]) -> None:
        """Hand jobs to the generator while the prompts under way leave room in a chunk."""
        assert self._model is not None
        chunk = self._model.settings.chunk
        busy = sum(
            min(chunk, p.answer.prompt_tokens - p.answer.done)
            for p in self._running.values()
            if not p.answer.is_prefilled
        )
        while self._waiting:
            prepared = self._waiting[0]
            wanted = min(chunk, prepared.answer.prompt_tokens)
            if busy and busy + wanted > chunk:
                return
            busy += wanted
            self._waiting.popleft()
            try:
                self._backend.enqueue(prepared.job)
            except (AssertionError, ValueError):
                traceback.print_exc()
                outputs += prepared.answer.fail(
                    "generation_failed", "the engine can't take this answer", retryable=False
                )
            else:
                self._running[prepared.answer.job_id] = prepared

    def _take(self, event: Event) -> list[Output]:
        prepared = self._running.get(event.job_id)
        if prepared is None:
            return []  # a guess accepted after the stop string, in the same step
        if event.error is not None:
            if is_device_fault(event.error):
                raise event.error
            traceback.print_exception(event.error)
        outputs = prepared.answer.take(event, self._backend.cached_tokens(prepared.job))
        if prepared.answer.is_over:
            del self._running[event.job_id]
            if event.end is None and event.stage is not Stage.ERROR:
                self._backend.cancel(prepared.job)  # ended here: the generator would go on
        return outputs

    def _faults(self) -> list[Output]:
        outputs: list[Output] = []
        for job_id, prepared in list(self._running.items()):
            if (words := self._backend.fault_of(prepared.job)) is not None:
                del self._running[job_id]
                self._backend.cancel(prepared.job)
                outputs += prepared.answer.fail("generation_failed", words)
        return outputs

    # The thread's part.

    def _prepare(self, job: EngineJob) -> None:
        try:
            self._outbox.put(self._prepared(job))
        except JobRefused as refused:
            self._outbox.put(_Refused(job.job_id, refused))
        except Exception:
            traceback.print_exc()
            reason = JobRefused("internal_error", "the engine could not begin this job")
            self._outbox.put(_Refused(job.job_id, reason))

    def _prepared(self, job: EngineJob) -> _Prepared:
        assert self._model is not None
        model, settings = self._model, self._model.settings
        tokens = model.prompt_of(job)
        if not tokens:
            raise JobRefused("invalid_parameters", "the input has no tokens")
        room = settings.ctx - len(tokens) - settings.drafted - self._backend.extra_reserve
        if room < 1:
            raise JobRefused(
                "context_length_exceeded",
                f"the input has {len(tokens)} tokens; the context of {settings.ctx} leaves no"
                " room for an answer",
            )
        order = Order(
            job_id=job.job_id,
            tokens=tokens,
            max_tokens=min(job.max_tokens, room),
            sampling=job.sampling,
            prior=job.prior,
            end_tokens=model.end_tokens,
        )
        answer = Answer(job, len(tokens), model.tokenizer.vocabulary, model.own_stops)
        return _Prepared(answer, self._backend.make_job(order))

    def _count(self, request: Count) -> None:
        self._outbox.put(self._counted(request, self._count_tokens))

    def _count_tokens(self, request: Count) -> int:
        assert self._model is not None
        prompts = self._model.prompts
        if request.messages is not None:
            return len(prompts.of_chat(request.messages))
        return len(prompts.of_text(request.text or ""))

    @staticmethod
    def _counted(request: Count, count: Callable[[Count], int]) -> Counted | CountRefused:
        try:
            return Counted(request.request, count(request))
        except JobRefused as refused:
            return CountRefused(request.request, refused.message)
        except Exception:
            traceback.print_exc()
            return CountRefused(request.request, "the tokenizer failed")
