"""One running answer: from the events of a stream to outputs.

Decides what an event means: text, tokens, progress, log probabilities, the end and why. It knows
no socket and no server by name. The rules:

* Stop strings are matched here, on every server alike: a server's own ``stop`` hides which one it
  was, or that it was one at all. The caller closes the connection once `Answer.is_over`.
* A stream that ends without a reason was cut off, whatever its last event.
* Text of a model's reasoning is not the answer's; its tokens count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from wsserver.core.engine import (
    Delta,
    EngineJob,
    Finished,
    FinishReason,
    Output,
    Prefilled,
    TokenLogprob,
)
from wsserver.engines.calls import CallAssembler, CallPart
from wsserver.engines.openai import faults
from wsserver.engines.stops import StopMatcher
from wsserver_protocol.tools import ToolCall

DONE: Final = "[DONE]"


class _Text(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[CallPart] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    text: str | None = None
    delta: _Text | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None


class _Timings(msgspec.Struct):
    predicted_n: int = 0


class _Progress(msgspec.Struct):
    total: int
    processed: int
    cache: int = 0


class Chunk(msgspec.Struct):
    """What one event brings; other fields are left unread."""

    choices: list[_Choice] = []
    usage: _Usage | None = None
    timings: _Timings | None = None
    prompt_progress: _Progress | None = None
    error: Any = None


_decoder: Final = msgspec.json.Decoder(Chunk)

_REASONS: Final = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "tool_calls": FinishReason.STOP,  # also where servers say so and tell none
    "function_call": FinishReason.STOP,
    "length": FinishReason.LENGTH,
}


class Answer:
    """Turns one job's events into outputs. One thread only."""

    def __init__(self, job: EngineJob, emit: Callable[[Output], None], prompt_tokens: int) -> None:
        """``prompt_tokens``: an estimate, until the server tells."""
        self._job = job
        self._emit = emit
        self._stops = StopMatcher(job.sampling.stop)
        self._prompt_tokens = prompt_tokens
        self._cached_tokens = 0
        self._is_prefilled = False
        self._calls = CallAssembler()
        self._tool_calls: tuple[ToolCall, ...] = ()
        self._counted = 0  # tokens told in deltas
        self._generated = 0  # tokens that the server has told, or the pieces it sent
        self._reason: FinishReason | None = None
        self._overlap = ""
        self.has_begun = False  # a token came: nothing may be asked for a second time

    @property
    def is_over(self) -> bool:
        """Whether nothing more is wanted: a stop string was met."""
        return self._reason is FinishReason.STOP_STRING

    def begin(self, overlap: str) -> None:
        """An attempt begins; what one before it told, and nobody was shown, is forgotten.

        ``overlap``: white space of the prior text that the server may repeat.
        """
        self._overlap = overlap
        self._generated = self._counted
        self._reason = None

    def expect_prompt(self, tokens: int) -> None:
        """The prompt was counted."""
        self._prompt_tokens = tokens

    def take(self, data: str, secrets: tuple[str, ...] = ()) -> None:
        """The data of one event.

        Raises:
            Fault: If it tells of an error, or can't be read.
        """
        if data == DONE:
            return
        try:
            chunk = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise faults.broken(f"an event that can't be read: {error}") from error
        if chunk.error is not None:
            raise faults.of_event(chunk.error, secrets)
        self._take_usage(chunk)
        if chunk.prompt_progress is not None:
            self._take_progress(chunk.prompt_progress)
        for choice in chunk.choices:
            if choice.index == 0 and not self.is_over:
                self._take_choice(choice, is_counted=_has_count(chunk))

    def check_end(self) -> None:
        """The stream is over.

        Raises:
            Fault: If it had not come to an end of its own.
        """
        if self._reason is None:
            raise faults.broken("the stream ended without a finish_reason")
        if self._reason is FinishReason.STOP and self._calls.has_begun:
            # Some say "stop" where a call was asked for by name.
            self._reason = FinishReason.TOOL_CALLS
            self._tool_calls = self._finished_calls()
        elif self._reason is FinishReason.STOP and _must_call(self._job):
            raise faults.no_call()

    def _finished_calls(self) -> tuple[ToolCall, ...]:
        try:
            return self._calls.finish()
        except ValueError as error:
            raise faults.broken(str(error)) from error

    def end(self) -> Finished:
        """The last output, whether the answer came to its end or was cancelled; shows first what
        was held back."""
        reason = self._reason or FinishReason.CANCELLED
        held = self._stops.finish()
        # The token that ends a turn made no text and is none of the answer's.
        silent = self._generated - self._counted - (reason is FinishReason.STOP)
        if held or silent > 0:
            self._tell_prefilled()
            self._emit(Delta(self._job.job_id, held, max(0, silent)))
            self._counted += max(0, silent)
        prompt = self._all_prompt_tokens()
        return Finished(self._job.job_id, reason, prompt, self._cached_tokens, self._tool_calls)

    def _all_prompt_tokens(self) -> int:
        return max(self._prompt_tokens, self._job.prior_tokens)

    def _take_usage(self, chunk: Chunk) -> None:
        if chunk.usage is not None:
            if chunk.usage.prompt_tokens:
                self._prompt_tokens = chunk.usage.prompt_tokens
            if chunk.usage.prompt_tokens_details is not None:
                self._cached_tokens = chunk.usage.prompt_tokens_details.cached_tokens or 0
            self._generated = max(self._generated, chunk.usage.completion_tokens or 0)
        if chunk.timings is not None:
            self._generated = max(self._generated, chunk.timings.predicted_n)

    def _take_progress(self, progress: _Progress) -> None:
        self._prompt_tokens, self._cached_tokens = progress.total, progress.cache
        self._is_prefilled = progress.processed >= progress.total
        job_id = self._job.job_id
        self._emit(Prefilled(job_id, progress.processed, progress.total, progress.cache))

    def _tell_prefilled(self) -> None:
        """The prompt is done, at the latest when its first token comes."""
        if not self._is_prefilled:
            self._is_prefilled = True
            total = self._all_prompt_tokens()
            self._emit(Prefilled(self._job.job_id, total, total, self._cached_tokens))

    def _take_choice(self, choice: _Choice, *, is_counted: bool) -> None:
        delta = choice.delta or _Text()
        text = choice.text or delta.content or ""
        if text or delta.reasoning_content or delta.reasoning:
            if not is_counted:
                self._generated = max(self._generated, self._counted + 1)
            self._take_text(text, self._told_logprobs(choice.logprobs) if text else None)
        if delta.tool_calls:
            self._take_calls(delta.tool_calls, is_counted=is_counted)
        if choice.finish_reason and self._reason is None:
            self._reason = _REASONS.get(choice.finish_reason)
            if self._reason is None:
                raise faults.ended_by(choice.finish_reason)

    def _take_calls(self, parts: list[CallPart], *, is_counted: bool) -> None:
        self.has_begun = True
        self._tell_prefilled()
        if not is_counted:
            self._generated += 1
        try:
            self._calls.push(parts)
        except ValueError as error:
            raise faults.broken(str(error)) from error

    def _take_text(self, text: str, logprobs: tuple[TokenLogprob, ...] | None) -> None:
        self.has_begun = True
        self._tell_prefilled()
        shown = self._stops.push(self._without_overlap(text))
        tokens = max(0, self._generated - self._counted)
        self._counted += tokens
        self._emit(Delta(self._job.job_id, shown, tokens, logprobs))
        if self._stops.is_matched:
            self._reason = FinishReason.STOP_STRING

    def _without_overlap(self, text: str) -> str:
        """``text`` less the white space that the answer had shown before."""
        if not self._overlap or not text:
            return text
        same = 0
        while same < min(len(text), len(self._overlap)) and text[same] == self._overlap[same]:
            same += 1
        self._overlap = self._overlap[same:] if same == len(text) else ""
        return text[same:]

    def _told_logprobs(self, logprobs: dict[str, Any] | None) -> tuple[TokenLogprob, ...] | None:
        count = self._job.sampling.logprobs
        if count is None or not logprobs:
            return None
        try:
            return read_logprobs(logprobs, count)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise faults.broken(f"log probabilities that can't be read: {error}") from error


def read_logprobs(logprobs: dict[str, Any], count: int) -> tuple[TokenLogprob, ...]:
    """Of the chat's form, or of the older one of completions; ``count`` alternatives at most.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: If it has neither form.
    """
    if "tokens" in logprobs:
        tops = logprobs.get("top_logprobs") or [None] * len(logprobs["tokens"])
        return tuple(
            TokenLogprob(token, float(value or 0.0), tuple((top or {}).items())[:count])
            for token, value, top in zip(
                logprobs["tokens"], logprobs["token_logprobs"], tops, strict=True
            )
        )
    return tuple(
        TokenLogprob(
            item["token"],
            float(item["logprob"]),
            tuple(
                (top["token"], float(top["logprob"]))
                for top in (item.get("top_logprobs") or ())[:count]
            ),
        )
        for item in logprobs.get("content") or ()
    )


def _must_call(job: EngineJob) -> bool:
    return bool(job.sampling.tools) and job.sampling.tool_choice == "required"


def _has_count(chunk: Chunk) -> bool:
    """Whether the server told with this event how many tokens it has made."""
    return chunk.timings is not None or (
        chunk.usage is not None and chunk.usage.completion_tokens is not None
    )
