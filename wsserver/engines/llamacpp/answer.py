"""One running answer: from the chunks of llama.cpp's callback to outputs.

Decides what a chunk means: text, tokens, progress, the end and why. It starts nothing and calls
no server; it is fed by the thread that waits for the answer. The rule: what `Answer.take` returns
is all that goes back to llama.cpp, True meaning "stop now".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from wsserver.core.engine import (
    Delta,
    EngineJob,
    Failed,
    Finished,
    FinishReason,
    Output,
    Prefilled,
    TokenLogprob,
)
from wsserver.engines.calls import CallAssembler, CallPart
from wsserver.engines.failures import without_host_paths
from wsserver.engines.grammar import is_bound
from wsserver.engines.stops import StopMatcher
from wsserver_protocol.tools import ToolCall


class _Top(msgspec.Struct):
    token: str
    logprob: float


class _Token(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: list[_Top] = []


class _Logprobs(msgspec.Struct):
    content: list[_Token] = []


class _Part(msgspec.Struct):
    content: str | None = None
    tool_calls: list[CallPart] = []


class _Choice(msgspec.Struct):
    text: str = ""
    delta: _Part | None = None  # in place of the text, from the chat endpoint
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Timings(msgspec.Struct):
    predicted_n: int = 0


class _Progress(msgspec.Struct):
    total: int
    cache: int
    processed: int


class _Error(msgspec.Struct):
    message: str = ""
    type: str = ""


class Chunk(msgspec.Struct):
    """What one call of the callback brings; other fields are left unread."""

    choices: list[_Choice] = []
    timings: _Timings | None = None
    prompt_progress: _Progress | None = None
    error: _Error | None = None


_decoder: Final = msgspec.json.Decoder(Chunk)

_REASONS: Final = {"length": FinishReason.LENGTH, "tool_calls": FinishReason.TOOL_CALLS}
_SILENT_ENDS: Final = (FinishReason.STOP, FinishReason.TOOL_CALLS)  # by a token without a text
_NOT_TAKEN_UP: Final = "an answer bound by a grammar could not be taken up again"

# llama.cpp's error types that are the request's fault, as codes of the wire.
_CODES: Final = {
    "invalid_request_error": "invalid_parameters",
    "exceed_context_size_error": "context_length_exceeded",
    "not_supported_error": "unsupported_option",
}


class Answer:
    """Turns one job's chunks into outputs. Fed by one thread; `cancel` may come from another."""

    def __init__(
        self, job: EngineJob, emit: Callable[[Output], None], own_stops: Sequence[str] = ()
    ) -> None:
        """``own_stops`` end the answer like the model's own end of turn, not as a stop string."""
        self._job_id = job.job_id
        self._emit = emit
        self._stops = StopMatcher(job.sampling.stop)
        self._own_stops = StopMatcher(own_stops)
        self._logprobs = job.sampling.logprobs
        self._replay = job.prior if is_bound(job.sampling) else ""
        self.is_replay = bool(self._replay)
        self._max_tokens = job.max_tokens
        self._new_tokens = 0
        self._json: list[str] | None = None if job.sampling.json_schema is None else []
        self._calls = CallAssembler()
        self._must_call = bool(job.sampling.tools) and job.sampling.tool_choice == "required"
        self._cancelled = False
        self._reason: FinishReason | None = None
        self._error: _Error | None = None
        self._counted = 0  # tokens already told in deltas
        self._generated = 0  # tokens that llama.cpp has counted
        self.prompt_tokens = 0
        self.cached_tokens = 0

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Have the next `take` say stop. Any thread."""
        self._cancelled = True

    def take(self, data: bytes) -> bool:
        """One chunk; True = llama.cpp is to stop."""
        if self._cancelled:
            return True
        chunk = _decoder.decode(data)
        if chunk.error is not None:
            self._error = chunk.error
            return True
        if chunk.prompt_progress is not None:
            self._take_progress(chunk.prompt_progress)
        if chunk.timings is not None:
            self._generated = max(self._generated, chunk.timings.predicted_n)
        if chunk.choices:
            self._take_choice(chunk.choices[0])
        return self._reason is not None or self._error is not None

    def end(self) -> Finished | Failed:
        """The last output, after the last `take`; shows first what was held back."""
        if self._replay and self._reason is not None:
            self._error = _Error(_NOT_TAKEN_UP)
        if self._reason is FinishReason.STOP and not self._is_kept():
            self._error = _Error("the answer does not keep to its schema")
        calls = self._finished_calls()
        if self._error is not None or (self._reason is None and not self._cancelled):
            return self._failure()
        held = self._stops.finish() + self._own_stops.finish()
        # The token that ends a turn made no text and is none of the answer's.
        silent = self._generated - self._counted - (self._reason in _SILENT_ENDS)
        if held or silent > 0:
            self._emit(Delta(self._job_id, held, max(0, silent)))
        reason = self._reason or FinishReason.CANCELLED
        return Finished(self._job_id, reason, self.prompt_tokens, self.cached_tokens, calls)

    def _finished_calls(self) -> tuple[ToolCall, ...]:
        """The calls of tools; those of an answer that was cut are none."""
        if self._reason is FinishReason.TOOL_CALLS:
            try:
                return self._calls.finish()
            except ValueError as error:
                self._error = _Error(str(error))
        elif self._reason is FinishReason.STOP and self._must_call:
            self._error = _Error("the model called no tool")
        return ()

    def _take_progress(self, progress: _Progress) -> None:
        self.cached_tokens = progress.cache
        self.prompt_tokens = self.prompt_tokens or progress.total  # the chat endpoint's own count
        self._emit(Prefilled(self._job_id, progress.processed, progress.total, progress.cache))

    def _take_choice(self, choice: _Choice) -> None:
        part = choice.delta
        text = choice.text if part is None else part.content
        if text:
            self._take_text(text, choice.logprobs)
        if part is not None:
            self._take_calls(part.tool_calls)
        if self._reason is None and choice.finish_reason is not None and self._error is None:
            self._reason = _REASONS.get(choice.finish_reason, FinishReason.STOP)

    def _take_calls(self, parts: Sequence[CallPart]) -> None:
        try:
            self._calls.push(parts)
        except ValueError as error:
            self._error = _Error(str(error))

    def _take_text(self, text: str, logprobs: _Logprobs | None) -> None:
        if self._json is not None:
            self._json.append(text)
        text = self._after_replay(text)
        if not text:
            return
        shown = self._stops.push(self._own_stops.push(text))
        tokens = self._generated - self._counted
        self._counted = self._generated
        self._new_tokens += tokens
        self._emit(Delta(self._job_id, shown, tokens, self._told_logprobs(logprobs)))
        if self._stops.is_matched:
            self._reason = FinishReason.STOP_STRING
        elif self._own_stops.is_matched:
            self._reason = FinishReason.STOP
        elif self.is_replay and self._new_tokens >= self._max_tokens:
            self._reason = FinishReason.LENGTH

    def _after_replay(self, text: str) -> str:
        """What of ``text`` is new, where the answer was begun before under a grammar.

        A grammar can't be entered in the middle, so such an answer is generated from its beginning
        again, and what it had said is left out. Greedy or seeded, it says the same; where it does
        not, going on would show two different answers as one.
        """
        if not self._replay:
            return text
        if not (self._replay.startswith(text) or text.startswith(self._replay)):
            self._error = _Error(_NOT_TAKEN_UP)
            return ""
        new = text[len(self._replay) :]
        self._replay = self._replay[len(text) :]
        if not new:
            # As in an answer taken up without a grammar, what it had said is part of the prompt.
            self.prompt_tokens += self._generated - self._counted
            self._counted = self._generated
        return new

    def _is_kept(self) -> bool:
        """Whether an answer that a schema binds is JSON, in the end.

        The last line of defence: llama.cpp drops a grammar that fails in the middle of an answer
        and says so only in its log.
        """
        if self._json is None:
            return True
        try:
            msgspec.json.decode("".join(self._json))
        except msgspec.DecodeError:
            return False
        return True

    def _told_logprobs(self, logprobs: _Logprobs | None) -> tuple[TokenLogprob, ...] | None:
        if self._logprobs is None or logprobs is None:
            return None
        return tuple(
            TokenLogprob(
                item.token,
                item.logprob,
                tuple((top.token, top.logprob) for top in item.top_logprobs[: self._logprobs]),
            )
            for item in logprobs.content
        )

    def _failure(self) -> Failed:
        if self._error is None:
            return Failed(
                self._job_id, "generation_failed", "the engine ended without a result", True
            )
        code = _CODES.get(self._error.type, "generation_failed")
        message = without_host_paths(self._error.message) or "the engine gave no reason"
        return Failed(self._job_id, code, message, code == "generation_failed")
