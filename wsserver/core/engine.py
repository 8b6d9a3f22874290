"""What the server and an engine say to each other: jobs in, outputs out, and the parent-side port.

This room knows no engine and no process. `wsserver.engines` implements the port: an engine
always runs in a child process (a load holds the GIL for seconds, a GPU fault ends its process),
and these messages cross the socket between the two as MessagePack arrays. They are msgspec
structs for that reason: one C pass decodes and validates a frame that carries the deltas of all
streams of a step.

Rules that both sides keep:

* The runner starts at most ``ModelInfo.slots`` jobs at once; nothing ever queues in an engine.
* Every started job ends in exactly one `Finished` or `Failed`, also after a cancel (``cancelled``).
* `Delta.text` never splits a UTF-8 character and never shows the beginning of a stop string.
* Text is never repeated: the deltas joined, after ``EngineJob.prior``, are the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Literal, Protocol

import msgspec

from wsserver_protocol.tools import ToolCall


class FinishReason(StrEnum):
    """Why a job ended in order; the names are those of the wire's ``finishReason``."""

    STOP = "stop"
    LENGTH = "length"
    STOP_STRING = "stop_string"
    TOOL_CALLS = "tool_calls"
    CANCELLED = "cancelled"


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to load.

    ``settings`` are the engine's own keys (slots, context length, threads, …); an engine refuses
    a key that it does not know with `ModelLoadError`, so that a typing error is never silent.
    """

    id: str
    engine: str  # "llamacpp", "synthetic", …: a key of wsserver.engines.catalog
    source: str  # as the user wrote it; shown to people
    path: str | None = None  # absolute path on this host; None for engines without files
    settings: dict[str, Any] = {}
    gpus: tuple[int, ...] = ()  # that the engine may see; none named: all


def placed(spec: ModelSpec, gpus: tuple[int, ...]) -> ModelSpec:
    """The same model, on these GPUs."""
    return msgspec.structs.replace(spec, gpus=gpus)


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a loaded model is and can do."""

    name: str
    slots: int  # jobs at once
    context_length: int  # tokens of prompt and answer together, per job
    size: int = 0  # bytes of the weights on disk
    capabilities: tuple[str, ...] = ()  # e.g. "chat", "json_schema", "grammar", "logprobs"
    unsupported_options: frozenset[str] = frozenset()  # snake_case names of GenerationOptions
    description: str | None = None
    warnings: tuple[str, ...] = ()  # for the operator: what is served worse than it could be


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One turn, to be rendered by the model's own chat template."""

    role: str  # system | user | assistant | tool
    content: str
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()  # of an assistant
    tool_call_id: str | None = None  # of a tool: the call that the content is the result of


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """The wire's sampling options, checked; None means the engine's neutral default."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    banned_strings: tuple[str, ...] = ()
    logit_bias: dict[str, float] | None = None  # token id (as text) to bias
    json_schema: dict[str, Any] | None = None
    grammar: str | None = None
    regex: str | None = None
    logprobs: int | None = None
    tools: tuple[dict[str, Any], ...] = ()  # as the wire has them
    tool_choice: Literal["auto", "none", "required"] = "auto"


class EngineJob(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to make, or to go on with.

    Exactly one of ``messages`` and ``raw`` is set. ``prior`` is the answer so far (a failover or a
    ``continue``): the model is fed it as the open beginning of its own turn and goes on after it;
    ``prior_tokens`` is how many tokens it had, and ``max_tokens`` bounds the new ones only.
    """

    job_id: str
    messages: tuple[ChatMessage, ...] | None = None
    raw: str | None = None
    prior: str = ""
    prior_tokens: int = 0
    max_tokens: int = 512
    sampling: Sampling = Sampling()


class TokenLogprob(msgspec.Struct, frozen=True, gc=False):
    """Log probability (natural) of a token, and of its best alternatives."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class Prefilled(msgspec.Struct, tag="p", array_like=True, frozen=True, gc=False):
    """Prompt tokens processed so far; sent at least when the prompt is done."""

    job_id: str
    done: int
    total: int
    cached: int = 0


class Delta(msgspec.Struct, tag="d", array_like=True, frozen=True, gc=False):
    """New text of one job and how many tokens made it.

    ``text`` may be empty while ``tokens`` counts on (a held back stop string, half a character).
    """

    job_id: str
    text: str
    tokens: int
    logprobs: tuple[TokenLogprob, ...] | None = None


class Finished(msgspec.Struct, tag="f", array_like=True, frozen=True, gc=False):
    """The job's slot is free. All its deltas came before.

    ``prompt_tokens`` counts all that was fed, `EngineJob.prior` included. ``tool_calls`` are not
    empty where, and only where, the reason is ``tool_calls``; no delta shows anything of them, nor
    counts their tokens before they are whole, so that a job begun anew repeats nothing.
    """

    job_id: str
    reason: FinishReason
    prompt_tokens: int
    cached_tokens: int = 0
    tool_calls: tuple[ToolCall, ...] = ()


class Failed(msgspec.Struct, tag="x", array_like=True, frozen=True, gc=False):
    """The job ended by an error of its own; the engine goes on and the slot is free.

    ``code`` is one of the wire's error codes; ``message`` is fit for the client to read; ``field``
    is the path of the request's field that it is about, such as ``options.grammar``.
    """

    job_id: str
    code: str
    message: str
    retryable: bool = False
    field: str | None = None


Output = Prefilled | Delta | Finished | Failed


class LoadProgress(msgspec.Struct, frozen=True, gc=False):
    """How far a load is; ``progress`` is 0..1.

    An engine tells bytes or layers where it knows them. ``estimated``: they, or ``progress``, are
    inferred from what can be seen from outside.
    """

    stage: str  # "making_place", "starting", "loading", "warming_up"
    progress: float
    estimated: bool = False
    bytes_done: int | None = None
    bytes_total: int | None = None
    layers_done: int | None = None
    layers_total: int | None = None


class EngineError(Exception):
    """Base of what an engine's host raises."""


class ModelLoadError(EngineError):
    """The model did not load; ``str(error)`` says why, for people and free of host paths."""


class EngineDied(EngineError):
    """The child process is gone; ``str(error)`` says how: signal, exit code, no sign of life."""


class RequestRefused(EngineError):
    """The engine could not serve a `count_tokens`: bad input, with the reason in words."""


OutputSink = Callable[[Sequence[Output]], None]
"""Called on the event loop with all outputs of one engine frame, in order. Must not block."""

ExitSink = Callable[[EngineDied], None]
"""Called once if the child ends without `EngineHost.close`; no output follows it. It may come as
soon as the model is loaded, before `EngineHost.load` has returned to its caller."""

ProgressSink = Callable[[LoadProgress], None]


class EngineHost(Protocol):
    """Parent side of one engine child process. Not thread-safe: event loop only."""

    async def load(self, progress: ProgressSink) -> ModelInfo:
        """Start the child and load the model. Cancelling ends the child and waits for its end.

        Raises:
            ModelLoadError: With the engine's own reason; the child is gone then.
        """

    def start(self, job: EngineJob) -> None:
        """Begin a job at the next step. A dead child is told by the exit sink, not here."""

    def cancel(self, job_id: str) -> None:
        """End a job at the next step (decode or prefill chunk). Unknown ids are ignored: the job
        may have ended while the cancel was on its way."""

    async def count_tokens(
        self, *, messages: Sequence[ChatMessage] | None = None, text: str | None = None
    ) -> int:
        """Tokens of ``messages`` through the chat template (open for an answer), or of ``text``.

        Raises:
            RequestRefused: If the template or tokenizer refuses the input.
            EngineDied: If the child ends before it answers.
        """

    async def close(self, grace: float = 5.0) -> None:
        """End the child: ask, then SIGTERM-proof kill after ``grace`` seconds. Idempotent.

        No output and no exit is told after the call.
        """

    @property
    def pid(self) -> int | None:
        """Process id of the child, None before `load` and after its end. For tests and metrics."""


class EngineFactory(Protocol):
    """Makes the host for a model; given to the model registry by the composition root."""

    def __call__(
        self, spec: ModelSpec, on_outputs: OutputSink, on_exit: ExitSink
    ) -> EngineHost: ...
