"""Events of whole answers and batches, and what these share with streams."""

from __future__ import annotations

from wsserver_protocol.events.base import Failure, Part, ServerMessage
from wsserver_protocol.lifecycle import FinishReason
from wsserver_protocol.tools import ToolCall


class Usage(Part, frozen=True, kw_only=True):
    """Tokens of a request.

    Attributes:
        prompt_tokens: Tokens of the input.
        completion_tokens: Tokens of the answer.
        total_tokens: Their sum.
        cached_tokens: Tokens of the input that needed no work.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int


class TopLogprob(Part, frozen=True, kw_only=True):
    """A token that was possible.

    Attributes:
        token: Its text.
        logprob: Natural logarithm of its probability.
    """

    token: str
    logprob: float


class TokenLogprob(Part, frozen=True, kw_only=True):
    """Log probabilities of one token of the answer.

    Attributes:
        token: Its text.
        logprob: Natural logarithm of its probability.
        top: The likeliest tokens in its place, as many as were asked for.
    """

    token: str
    logprob: float
    top: tuple[TopLogprob, ...]


class GenerationResult(Part, frozen=True, kw_only=True):
    """A whole answer.

    Attributes:
        text: The answer.
        tokens: Tokens of the answer.
        model: Id of the model that answered.
        latency: Milliseconds from the request to its end.
        cached: Whether it came from the cache.
        finish_reason: Why it ended.
        usage: Tokens of the request.
        logprobs: Log probabilities, if asked for.
        tool_calls: The tools that the model asks for, where ``finishReason`` is ``tool_calls``.
        requested_model: Id of the model that was asked, where a fallback answered in its place.
    """

    text: str
    tokens: int
    model: str
    latency: int
    cached: bool
    finish_reason: FinishReason
    usage: Usage
    logprobs: tuple[TokenLogprob, ...] | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    requested_model: str | None = None


class GenerationComplete(ServerMessage, frozen=True, kw_only=True, tag="generation_complete"):
    """Ends a ``generate``.

    Attributes:
        result: The answer.
        saved: False: the store did not take it.
    """

    result: GenerationResult
    saved: bool | None = None


class GenerationError(Failure, frozen=True, kw_only=True, tag="generation_error"):
    """Ends a ``generate`` that was refused or failed.

    Attributes:
        saved: False: the store did not take what there was.
    """

    saved: bool | None = None


class Interrupted(ServerMessage, frozen=True, kw_only=True, tag="interrupted"):
    """Answer to ``interrupt``; each stopped request has its own terminal event besides.

    Attributes:
        stream_ids: What was stopped.
        batch_ids: Batches that were stopped.
    """

    stream_ids: tuple[str, ...]
    batch_ids: tuple[str, ...]


class BatchStart(ServerMessage, frozen=True, kw_only=True, tag="batch_start"):
    """A batch was accepted.

    Attributes:
        batch_id: Id of the batch.
        total: How many prompts it has.
    """

    batch_id: str
    total: int


class BatchItem(ServerMessage, frozen=True, kw_only=True, tag="batch_item"):
    """One prompt of a batch has ended, with a result or an error.

    Attributes:
        batch_id: The batch.
        index: Which prompt, from 0.
        result: The answer.
        error: Why there is none, for people.
        code: Why there is none: a code of the error catalogue.
    """

    batch_id: str
    index: int
    result: GenerationResult | None = None
    error: str | None = None
    code: str | None = None


class BatchSummary(Part, frozen=True, kw_only=True):
    """How a batch went.

    Attributes:
        total: How many prompts it had.
        successful: How many have a result.
        failed: How many have an error.
        cancelled: How many were stopped.
        average_latency: Mean milliseconds of the successful ones; null: there is none.
    """

    total: int
    successful: int
    failed: int
    cancelled: int
    average_latency: float | None


class BatchComplete(ServerMessage, frozen=True, kw_only=True, tag="batch_complete"):
    """Ends a batch, also a stopped one.

    Attributes:
        batch_id: The batch.
        summary: How it went.
    """

    batch_id: str
    summary: BatchSummary


class BatchError(Failure, frozen=True, kw_only=True, tag="batch_error"):
    """Ends a batch that was refused.

    Attributes:
        batch_id: The batch, if there came to be one.
    """

    batch_id: str | None = None


class TokenCount(ServerMessage, frozen=True, kw_only=True, tag="token_count"):
    """Answer to ``count_tokens``.

    Attributes:
        tokens: How many.
    """

    tokens: int
