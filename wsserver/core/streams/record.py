"""One answer: who asked, what it has said, who watches it, and how it ended.

A record is the mirror that everyone on this process reads. Only the stream log changes its text
and state (for the memory log the record is the log itself); readers keep integers and are woken.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Protocol

import msgspec

from wsserver.core.streams.transcript import Transcript
from wsserver_protocol.errors import ErrorCode, FieldError, WireError
from wsserver_protocol.lifecycle import (
    FinishReason,
    StopReason,
    StreamState,
    StreamStep,
    next_stream_state,
)
from wsserver_protocol.tools import ToolCall


class EndKind(Enum):
    """Which of the terminal events a stream gets."""

    COMPLETE = "complete"
    STOPPED = "stopped"
    ERROR = "error"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the writer of an answer knows at its end, for readers in other processes.

    Attributes:
        tokens: Generated, hidden ones included.
        prompt_tokens: As the engine counted them.
        cached_tokens: Of these, taken from the engine's cache.
        is_cached: The answer came from the response cache.
        saved: Whether the session store took it; None without a session.
        seq: Its place in its room's log; None without a room.
        duration: Milliseconds from its acceptance to its end.
        first_token: Milliseconds from its acceptance to its first token; None if it has none, or
            an earlier writer made it.
        model: Where a fallback answered: its id.
        requested_model: Where a fallback answered: id of the model that was asked.
    """

    tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    is_cached: bool = False
    saved: bool | None = None
    seq: int | None = None
    duration: int = 0
    first_token: int | None = None
    model: str | None = None
    requested_model: str | None = None


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer ended. Exactly one per answer, set once."""

    kind: EndKind
    finish_reason: FinishReason
    stop_reason: StopReason | None = None  # STOPPED
    stopped_by: str | None = None  # STOPPED: a clientId or "server"
    code: ErrorCode | None = None  # ERROR
    message: str | None = None  # ERROR, for people
    retryable: bool = False
    retry_after: int | None = None  # ms
    details: tuple[FieldError, ...] = ()  # ERROR
    tool_calls: tuple[ToolCall, ...] = ()  # COMPLETE, with that finish reason
    facts: Facts | None = None  # where it is read from a log that lives elsewhere

    def told_with(self, facts: Facts) -> Ending:
        """The same ending, with what its writer knows."""
        return msgspec.structs.replace(self, facts=facts)

    @classmethod
    def stopped(cls, reason: StopReason, by: str) -> Ending:
        return cls(
            kind=EndKind.STOPPED,
            finish_reason=FinishReason.STOPPED,
            stop_reason=reason,
            stopped_by=by,
        )

    @classmethod
    def complete(cls, reason: FinishReason, tool_calls: tuple[ToolCall, ...] = ()) -> Ending:
        return cls(kind=EndKind.COMPLETE, finish_reason=reason, tool_calls=tool_calls)

    @classmethod
    def error(
        cls,
        code: ErrorCode,
        message: str,
        *,
        retryable: bool,
        retry_after: int | None = None,
        details: tuple[FieldError, ...] = (),
    ) -> Ending:
        return cls(
            kind=EndKind.ERROR,
            finish_reason=FinishReason.ERROR,
            code=code,
            message=message,
            retryable=retryable,
            retry_after=retry_after,
            details=details,
        )

    @classmethod
    def failed(cls, error: WireError) -> Ending:
        return cls.error(
            error.code,
            error.message,
            retryable=error.retryable,
            retry_after=error.retry_after,
            details=error.details,
        )


class Watcher(Protocol):
    """Someone who follows a record. Woken for new text, a new state, a new place in the queue."""

    def wake(self) -> None:
        """Note that something changed. Called inside the runner's step: must not block or raise."""

    def rewound(self, offset: int) -> None:
        """The text was cut to so many bytes; whoever has more has to be told. As for `wake`."""


class StreamRecord:
    """State of one answer. Times are event loop seconds (monotonic)."""

    __slots__ = (
        "accepted_at",
        "attempts",
        "cached_tokens",
        "cancel",
        "claimed_at",
        "ended_at",
        "ending",
        "fence",
        "first_token_at",
        "is_cached",
        "logprobs",
        "model_id",
        "prompt_tokens",
        "queue_position",
        "requested_model",
        "seq",
        "saved",
        "state",
        "stream_id",
        "transcript",
        "watchers",
    )

    def __init__(self, stream_id: str, model_id: str, accepted_at: float) -> None:
        self.stream_id = stream_id
        self.model_id = model_id
        self.requested_model: str | None = None  # who was asked, where a fallback answers
        self.accepted_at = accepted_at
        self.state = StreamState.QUEUED
        self.transcript = Transcript()
        self.logprobs: list[tuple[int, Any]] = []  # (byte offset at which its piece ended, entries)
        self.fence = 0  # counts claims; a writer with an older one is refused
        self.attempts = 0  # claims that ended with a dead engine
        self.cancel: Ending | None = None  # asked for, not yet done; the first one wins
        self.ending: Ending | None = None
        self.queue_position: int | None = None  # from 1, None when not waiting in a queue
        self.claimed_at: float | None = None
        self.first_token_at: float | None = None
        self.ended_at: float | None = None
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.is_cached = False  # given from the response cache
        self.seq: int | None = None  # the answer's place in its room's log, once ended
        self.saved: bool | None = None  # whether the session store took it; None without a session
        self.watchers: set[Watcher] = set()

    def __repr__(self) -> str:
        return f"<StreamRecord {self.stream_id} {self.state.value} {len(self.transcript)} bytes>"

    @property
    def is_ended(self) -> bool:
        return self.ending is not None

    def end_here(self, ending: Ending, now: float) -> None:
        """End an answer that no log has: it was never told of. Whoever calls it wakes."""
        self.ending, self.ended_at, self.queue_position = ending, now, None
        self.state = next_stream_state(self.state, StreamStep.END)

    def facts(self, now: float) -> Facts:
        """What readers elsewhere need to know at its end; ``now`` is loop time."""
        first = self.first_token_at
        return Facts(
            tokens=self.transcript.generated,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            is_cached=self.is_cached,
            saved=self.saved,
            seq=self.seq,
            duration=max(0, round((now - self.accepted_at) * 1000)),
            first_token=None if first is None else max(0, round((first - self.accepted_at) * 1000)),
            model=None if self.requested_model is None else self.model_id,
            requested_model=self.requested_model,
        )

    def learn(self, facts: Facts) -> None:
        """Take over what the writer knew; before the end is told to anyone."""
        self.prompt_tokens, self.cached_tokens = facts.prompt_tokens, facts.cached_tokens
        self.is_cached, self.saved, self.seq = facts.is_cached, facts.saved, facts.seq
        if facts.model is not None:  # its place in a line was found after it was first told of
            self.model_id, self.requested_model = facts.model, facts.requested_model
        ended_at = self.accepted_at + facts.duration / 1000
        # Never in the future, whatever the clocks of two hosts say.
        self.ended_at = ended_at if self.ended_at is None else min(self.ended_at, ended_at)
        if facts.first_token is not None:
            self.first_token_at = self.accepted_at + facts.first_token / 1000

    def take(self, step: StreamStep) -> None:
        """Change the state along the lifecycle table, and wake the watchers.

        Raises:
            IllegalStep: If the table does not have it; nothing has changed then.
        """
        self.state = next_stream_state(self.state, step)
        self.wake()

    def wake(self) -> None:
        for watcher in tuple(self.watchers):
            watcher.wake()
