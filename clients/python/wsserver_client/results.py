"""What a client gets back: plain, immutable values.

Texts and counts are as the wire has them. Times that come from the server are integers in
milliseconds and say so in their names; strings that a later server may extend (finish reasons,
states) stay strings, so that a newer server never breaks an older client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wsserver_client.errors import WireFailure


@dataclass(frozen=True)
class Usage:
    """Tokens of a request; ``cached_tokens`` of the input needed no work."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True)
class ToolCall:
    """A model's call of a tool; ``arguments`` is the text of a JSON object that a model wrote."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class StreamResult:
    """How a stream ended.

    Attributes:
        text: The whole answer, or what there was of it when it was stopped.
        finish_reason: ``stop``, ``length``, ``stop_string``, ``tool_calls``, ``timeout`` or
            ``stopped``.
        total_tokens: Tokens of the answer.
        usage: Tokens of the request; None for a stopped one.
        duration_ms: From the request to its end; None for a stopped one.
        time_to_first_token_ms: None for a stopped one, and if none came.
        stop_reason: Why it was stopped (``client``, ``interrupt``, …), None if it was not.
        stopped_by: Who stopped it: a clientId or ``server``.
        stream_id: Its id; None if it was stopped before it left this client.
        model: The model that answered.
        message_id: Id of the answer in the session's history or the room's log.
        saved: False if the server's store did not take the answer.
        tool_calls: The tools that the model asks for, where it ended in ``tool_calls``.
    """

    text: str
    finish_reason: str
    total_tokens: int = 0
    usage: Usage | None = None
    duration_ms: int | None = None
    time_to_first_token_ms: int | None = None
    stop_reason: str | None = None
    stopped_by: str | None = None
    stream_id: str | None = None
    model: str | None = None
    message_id: str | None = None
    saved: bool = True
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True)
class Generation:
    """A whole answer; ``logprobs`` is as the wire has it."""

    text: str
    tokens: int
    model: str
    finish_reason: str
    latency_ms: int
    cached: bool = False
    usage: Usage | None = None
    logprobs: tuple[dict[str, Any], ...] | None = None
    saved: bool = True
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True)
class BatchItem:
    """One prompt of a batch: ``generation``, or the ``error`` because of which there is none."""

    index: int
    generation: Generation | None = None
    error: WireFailure | None = None

    @property
    def text(self) -> str:
        """The answer.

        Raises:
            WireFailure: If there is none.
        """
        if self.generation is None:
            raise self.error or WireFailure("cancelled", "the batch ended before this prompt")
        return self.generation.text


@dataclass(frozen=True)
class BatchResult:
    """A whole batch. ``items[i]`` answers ``prompts[i]``, whatever order they ended in."""

    batch_id: str
    items: tuple[BatchItem, ...]
    total: int
    successful: int
    failed: int
    cancelled: int
    average_latency_ms: float | None = None

    @property
    def texts(self) -> list[str]:
        """All answers in order.

        Raises:
            WireFailure: The first item's that has none.
        """
        return [item.text for item in self.items]


@dataclass(frozen=True)
class LoadProgress:
    """How far the loading of a model is; ``progress`` is 0 to 1."""

    model_id: str
    stage: str
    progress: float


def usage_of(wire: dict[str, Any] | None) -> Usage | None:
    if not wire:
        return None
    prompt, completion = int(wire.get("promptTokens", 0)), int(wire.get("completionTokens", 0))
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=int(wire.get("totalTokens", prompt + completion)),
        cached_tokens=int(wire.get("cachedTokens", 0)),
    )


def tool_calls_of(wire: list[dict[str, Any]] | None) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(id=str(call["id"]), name=str(call["name"]), arguments=str(call["arguments"]))
        for call in wire or ()
    )


def generation_of(wire: dict[str, Any], *, saved: bool = True) -> Generation:
    logprobs = wire.get("logprobs")
    return Generation(
        text=str(wire.get("text", "")),
        tokens=int(wire.get("tokens", 0)),
        model=str(wire.get("model", "")),
        finish_reason=str(wire.get("finishReason", "stop")),
        latency_ms=int(wire.get("latency", 0)),
        cached=bool(wire.get("cached", False)),
        usage=usage_of(wire.get("usage")),
        logprobs=None if logprobs is None else tuple(logprobs),
        saved=saved,
        tool_calls=tool_calls_of(wire.get("toolCalls")),
    )


def stream_result_of(
    event: dict[str, Any],
    text: str,
    stream_id: str | None,
    model: str | None,
    message_id: str | None,
) -> StreamResult:
    """The end that ``stream_complete`` or ``stream_stopped`` tells."""
    stopped = event["type"] == "stream_stopped"
    return StreamResult(
        text=text,
        finish_reason="stopped" if stopped else str(event.get("finishReason", "stop")),
        total_tokens=int(event.get("totalTokens", 0)),
        usage=usage_of(event.get("usage")),
        duration_ms=event.get("duration"),
        time_to_first_token_ms=event.get("timeToFirstToken"),
        stop_reason=str(event.get("reason", "client")) if stopped else None,
        stopped_by=event.get("stoppedBy"),
        stream_id=stream_id,
        model=model,
        message_id=message_id,
        saved=event.get("saved") is not False,
        tool_calls=tool_calls_of(event.get("toolCalls")),
    )


def batch_item_of(event: dict[str, Any]) -> BatchItem:
    index = int(event["index"])
    result = event.get("result")
    if result is not None:
        return BatchItem(index, generation=generation_of(result))
    return BatchItem(index, error=WireFailure.from_event(event))
