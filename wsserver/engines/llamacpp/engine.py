"""The llama.cpp engine: a model in xllamacpp's server, a thread for each running answer.

Decides how jobs meet llama.cpp's slots. It knows no socket to the parent and no client. The rules,
each from a trap that was measured:

* Nothing queues in llama.cpp: a job waiting there can't be cancelled. The runner starts no more
  jobs than there are slots, and a thread waits for each.
* A cancel is a flag that the callback answers with: it takes effect after the decode step or the
  prompt batch under way.
* A callback never raises (xllamacpp would swallow it and end the stream as if all were well).
"""

from __future__ import annotations

import os
import secrets
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Final

import msgspec

from wsserver.core.engine import (
    EngineJob,
    Failed,
    Finished,
    FinishReason,
    LoadProgress,
    ModelInfo,
    ModelLoadError,
    ModelSpec,
)
from wsserver.engines.catalog import ENTRIES
from wsserver.engines.contract import EngineOutput, JobRefused, ProgressReport
from wsserver.engines.failures import without_host_paths
from wsserver.engines.grammar import LLGUIDANCE_OPTIONS
from wsserver.engines.link import Count, Counted, CountRefused
from wsserver.engines.llamacpp.answer import Answer
from wsserver.engines.llamacpp.api import LocalApi
from wsserver.engines.llamacpp.companions import check_draft
from wsserver.engines.llamacpp.devices import no_gpu
from wsserver.engines.llamacpp.gguf import GgufError, Metadata, has_llguidance, read_metadata
from wsserver.engines.llamacpp.sampling import SamplingLimits, completion_body
from wsserver.engines.llamacpp.server import has_gpu, open_server, server_parameters
from wsserver.engines.llamacpp.settings import (
    LlamaCppSettings,
    Machine,
    choose_settings,
    free_memory,
    usable_cores,
)
from wsserver.engines.llamacpp.threads import Pulse
from wsserver.engines.llamacpp.tools import chat_body, refusal
from wsserver.engines.outbox import Outbox
from wsserver.engines.prompt import PLAIN_STOPS, PromptBuilder

# In the child's working directory, which is its own. Relative: a Unix socket's path is short.
SOCKET: Final = "llamacpp.sock"
_TEMPLATE_KEY: Final = "tokenizer.chat_template"

# Threads beyond one per slot: a job may start while the thread before it is on its last lines,
# and counting must not wait for answers.
_SPARE_THREADS: Final = 4
_OPTIONS: Final = ("json_schema", "grammar", "regex", "logprobs", "tools")
_DRAIN_SECONDS: Final = 4.0


class LlamaCppEngine:
    """Serves a GGUF model; an `wsserver.engines.contract.Engine`."""

    def __init__(self) -> None:
        self._server: Any = None
        self._settings: LlamaCppSettings | None = None
        self._api: LocalApi | None = None
        self._prompts: PromptBuilder | None = None
        self._own_stops: tuple[str, ...] = ()
        self._limits: SamplingLimits | None = None
        self._context = 0
        self._knows_tools = False
        self._control_tokens: tuple[str, ...] = ()
        self._threads: ThreadPoolExecutor | None = None
        self._answers: dict[str, Answer] = {}
        self._running: set[Future[None]] = set()
        self._outbox: Outbox[EngineOutput] = Outbox()
        self._pulse = Pulse()
        self._fault: OSError | None = None

    def load(self, spec: ModelSpec, report: ProgressReport) -> ModelInfo:
        """Load the file of ``spec.path``."""
        if spec.path is None:
            raise ModelLoadError("llama.cpp needs a model file")
        try:
            metadata = read_metadata(spec.path)
        except GgufError as error:
            raise ModelLoadError(str(error)) from error
        size = os.stat(spec.path).st_size
        machine = Machine(usable_cores(), free_memory(), has_gpu())
        if spec.gpus and not machine.has_gpu:
            raise no_gpu("gpus")
        self._settings = settings = choose_settings(spec.settings, metadata, size, machine)
        if settings.draft is not None:
            check_draft(settings.draft, spec.path, metadata)
        key = secrets.token_hex(32)
        report(LoadProgress("loading", 0.0, estimated=True))
        self._server = open_server(server_parameters(spec.path, settings, SOCKET, key))
        self._api = LocalApi(SOCKET, key, settings.template_options)
        properties = self._api.properties()
        self._knows_tools = properties.knows_tools and has_template(settings, metadata)
        self._control_tokens = metadata.control_tokens
        self._context = properties.default_generation_settings.n_ctx
        self._limits = SamplingLimits(
            settings.sampling,
            metadata.vocabulary,
            has_llguidance=has_llguidance(metadata),
            has_logprobs=settings.draft is None,
        )
        self._prompts = self._prompt_builder(metadata, settings, self._api)
        self._threads = ThreadPoolExecutor(settings.slots + _SPARE_THREADS, "answer")
        return self._describe(spec, metadata, size)

    def _prompt_builder(
        self, metadata: Metadata, settings: LlamaCppSettings, api: LocalApi
    ) -> PromptBuilder:
        is_chat = has_template(settings, metadata)
        self._own_stops = () if is_chat else PLAIN_STOPS
        begin = metadata.number("tokenizer.ggml.bos_token_id")
        return PromptBuilder(
            tokenizer=api,
            steering_tokens=metadata.steering_tokens,
            begin_token=None if begin is None else int(begin),
            has_template=is_chat,
        )

    def _describe(self, spec: ModelSpec, metadata: Metadata, size: int) -> ModelInfo:
        assert self._settings is not None
        unsupported = ENTRIES["llamacpp"].unsupported_options
        if not has_llguidance(metadata):
            unsupported |= LLGUIDANCE_OPTIONS
        if self._settings.draft is not None:
            unsupported |= {"logprobs"}
        if not self._knows_tools:
            unsupported |= {"tools"}
        options = [name for name in _OPTIONS if name not in unsupported]
        loaded = {"lora": self._settings.adapters, "draft": self._settings.draft}
        options += [name for name, given in loaded.items() if given]
        return ModelInfo(
            name=metadata.text("general.name") or Path(spec.path or spec.source).stem,
            slots=self._settings.slots,
            context_length=self._context,
            size=size,
            capabilities=(*(() if self._own_stops else ("chat",)), *options),
            unsupported_options=unsupported,
            description=metadata.text("general.description"),
        )

    def start(self, job: EngineJob) -> None:
        """Hand the job to a thread."""
        answer = Answer(job, self._outbox.put, self._own_stops)
        self._answers[job.job_id] = answer
        self._submit(lambda: self._answer(job, answer))

    def cancel(self, job_id: str) -> None:
        """Raise the job's flag."""
        answer = self._answers.get(job_id)
        if answer is not None:
            answer.cancel()

    def count(self, request: Count) -> None:
        """Count in a thread: a long text takes the tokenizer half a second a megabyte."""
        self._submit(lambda: self._outbox.put(self._counted(request)))

    def next_due(self) -> float | None:
        """None: the wake-up comes from the threads."""
        return None

    def wake_fd(self) -> int | None:
        """Readable when a thread has put an output."""
        return self._outbox.fileno()

    def step(self) -> list[EngineOutput]:
        """What the threads have put.

        Raises:
            OSError: If llama.cpp's server could not be reached; a new child will have its own.
        """
        outputs = self._outbox.take()
        if self._fault is not None:
            raise self._fault
        for output in outputs:
            if isinstance(output, Finished | Failed):
                self._answers.pop(output.job_id, None)
        return outputs

    def has_moved(self) -> bool:
        """Whether llama.cpp called back or computed since the last look."""
        return self._pulse.was_felt() or not self._answers

    def close(self) -> None:
        """Stop all answers and wait for their threads: leaving under them aborts the process."""
        for answer in self._answers.values():
            answer.cancel()
        wait(self._running, timeout=_DRAIN_SECONDS)
        Path(SOCKET).unlink(missing_ok=True)

    def _submit(self, work: Callable[[], None]) -> None:
        assert self._threads is not None
        self._running = {future for future in self._running if not future.done()}
        self._running.add(self._threads.submit(work))

    def _counted(self, request: Count) -> Counted | CountRefused:
        assert self._prompts is not None
        try:
            if request.messages is not None:
                tokens = self._prompts.of_chat(request.messages)
            else:
                tokens = self._prompts.of_text(request.text or "")
        except JobRefused as refused:
            return CountRefused(request.request, refused.message)
        except OSError as error:
            self._fault = error
            return CountRefused(request.request, "the tokenizer can't be reached")
        except Exception:
            traceback.print_exc()
            return CountRefused(request.request, "the tokenizer failed")
        return Counted(request.request, len(tokens))

    def _answer(self, job: EngineJob, answer: Answer) -> None:
        """The life of one answer, in its thread: exactly one `Finished` or `Failed`."""
        try:
            last = self._generate(job, answer)
        except JobRefused as refused:
            last = refused.as_failed(job.job_id)
        except OSError as error:
            # Not this answer's failure: the next step raises it, and the answer goes on in the
            # next child.
            self._fault = error
            last = Failed(job.job_id, "generation_failed", "the engine was lost", True)
        except Exception:
            traceback.print_exc()
            last = Failed(job.job_id, "generation_failed", "the engine failed", True)
        self._outbox.put(last)

    def _generate(self, job: EngineJob, answer: Answer) -> Finished | Failed:
        if job.sampling.tools:
            return self._generate_with_tools(job, answer)
        assert self._limits is not None
        prompt = self._prompt(job, "" if answer.is_replay else job.prior)
        answer.prompt_tokens = len(prompt)
        room = self._context - len(prompt)
        # A replay counts its new tokens itself: how many the old ones take is not known before.
        max_tokens = room if answer.is_replay else min(job.max_tokens, room)
        body = completion_body(job, prompt, max_tokens, self._limits)
        if answer.is_cancelled:
            return Finished(job.job_id, FinishReason.CANCELLED, len(prompt))
        return self._complete(self._server.handle_completions, body, answer)

    def _generate_with_tools(self, job: EngineJob, answer: Answer) -> Finished | Failed:
        assert self._limits is not None and self._settings is not None
        if not self._knows_tools or job.messages is None:
            raise JobRefused("unsupported_option", "this model's template knows no tools")
        options = self._settings.template_options
        body = chat_body(job, self._limits, self._control_tokens, options)
        if answer.is_cancelled:
            return Finished(job.job_id, FinishReason.CANCELLED, 0)
        try:
            return self._complete(self._server.handle_chat_completions, body, answer)
        except ValueError as error:  # what its template or grammar can't be made of
            raise refusal(job, without_host_paths(str(error))) from error

    def _complete(
        self, call: Callable[..., object], body: dict[str, Any], answer: Answer
    ) -> Finished | Failed:
        """Have llama.cpp answer, this thread waiting.

        Raises:
            Exception: What taking a chunk raised.
        """
        fault: list[Exception] = []

        def on_chunk(data: bytes) -> bool:
            self._pulse.beat()
            try:
                return answer.take(data)
            except Exception as error:
                fault.append(error)
                return True

        call(msgspec.json.encode(body), on_chunk)
        if fault:
            raise fault[0]
        return answer.end()

    def _prompt(self, job: EngineJob, prior: str) -> list[int]:
        assert self._prompts is not None
        if job.messages is not None:
            prompt = self._prompts.of_chat(job.messages, prior)
        else:
            prompt = self._prompts.of_raw(job.raw or "", prior)
        if not prompt:
            raise JobRefused("invalid_parameters", "the input has no tokens")
        if len(prompt) >= self._context:
            raise JobRefused(
                "context_length_exceeded",
                f"the input has {len(prompt)} tokens; the context of {self._context} leaves no"
                " room for an answer",
            )
        return prompt


def has_template(settings: LlamaCppSettings, metadata: Metadata) -> bool:
    """Whether the model has a chat template, of its own or given."""
    return bool(settings.chat_template or metadata.text(_TEMPLATE_KEY))
