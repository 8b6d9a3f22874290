"""Ended answers in the wire's words: results, usage, terminal events."""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter

from wsserver.core.ask import Answer
from wsserver.core.engine import TokenLogprob
from wsserver.core.streams import Ending, EndKind, StreamRecord
from wsserver_protocol import events
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.lifecycle import StopReason


def milliseconds(start: float, end: float | None) -> int:
    """Whole milliseconds between two loop times; 0 if there is no end yet."""
    return 0 if end is None else max(0, round((end - start) * 1000))


def usage(record: StreamRecord) -> events.Usage:
    """Tokens of an answer: those that the engine counted, hidden ones included."""
    generated = record.transcript.generated
    return events.Usage(
        prompt_tokens=record.prompt_tokens,
        completion_tokens=generated,
        total_tokens=record.prompt_tokens + generated,
        cached_tokens=record.cached_tokens,
    )


def result(record: StreamRecord, ending: Ending) -> events.GenerationResult:
    """A whole answer."""
    return events.GenerationResult(
        text=record.transcript.text,
        tokens=record.transcript.generated,
        model=record.model_id,
        latency=milliseconds(record.accepted_at, record.ended_at),
        cached=record.is_cached,
        finish_reason=ending.finish_reason,
        usage=usage(record),
        logprobs=logprobs_between(record, 0, len(record.transcript)),
        tool_calls=ending.tool_calls or None,
        requested_model=record.requested_model,
    )


def failure(ending: Ending) -> WireError:
    """The error that an answer ended with, also where a stop by the server left no answer."""
    if ending.kind is EndKind.ERROR and ending.code is not None:
        return WireError(
            ending.code,
            ending.message or "",
            retryable=ending.retryable,
            retry_after=ending.retry_after,
            details=ending.details,
        )
    if ending.stop_reason is StopReason.UNLOADED:
        return WireError(ErrorCode.MODEL_NOT_READY, "The model was unloaded.", retryable=True)
    return WireError(ErrorCode.CANCELLED, "Stopped before it ended.")


def generation_terminal(
    record: StreamRecord, ending: Ending, request_id: str | None
) -> events.GenerationComplete | events.GenerationError:
    """What ends a `generate`. A stop gives the text so far."""
    if ending.kind is not EndKind.ERROR:
        return events.GenerationComplete(
            request_id=request_id, result=result(record, ending), saved=record.saved
        )
    error = failure(ending)
    return events.GenerationError(
        request_id=request_id,
        code=error.code,
        error=error.message,
        retryable=error.retryable,
        details=error.details or None,
        retry_after=error.retry_after,
        saved=record.saved,
    )


def stream_terminal(
    answer: Answer, ending: Ending, request_id: str | None
) -> events.StreamComplete | events.StreamStopped | events.StreamError:
    """What ends a `stream`, for one of its watchers."""
    record, room_id = answer.record, answer.ask.room_id
    offset = len(record.transcript)
    # The start may have named another model: it is told before a place in line is found.
    model = record.model_id if record.requested_model is not None else None
    match ending.kind:
        case EndKind.COMPLETE:
            first = record.first_token_at
            return events.StreamComplete(
                request_id=request_id,
                stream_id=record.stream_id,
                total_tokens=record.transcript.tokens,
                duration=milliseconds(record.accepted_at, record.ended_at),
                time_to_first_token=None
                if first is None
                else milliseconds(record.accepted_at, first),
                finish_reason=ending.finish_reason,
                usage=usage(record),
                offset=offset,
                tool_calls=ending.tool_calls or None,
                model=model,
                requested_model=record.requested_model,
                saved=record.saved,
                room_id=room_id,
                seq=record.seq,
            )
        case EndKind.STOPPED:
            return events.StreamStopped(
                request_id=request_id,
                stream_id=record.stream_id,
                total_tokens=record.transcript.tokens,
                offset=offset,
                reason=ending.stop_reason or StopReason.CLIENT,
                stopped_by=ending.stopped_by or "server",
                model=model,
                requested_model=record.requested_model,
                saved=record.saved,
                room_id=room_id,
                seq=record.seq,
            )
        case EndKind.ERROR:
            error = failure(ending)
            return events.StreamError(
                request_id=request_id,
                stream_id=record.stream_id,
                code=error.code,
                error=error.message,
                retryable=error.retryable,
                details=error.details or None,
                retry_after=error.retry_after,
                offset=offset,
                saved=record.saved,
                room_id=room_id,
                seq=record.seq,
            )


def ending_word(ending: Ending) -> str:
    """The one word that says how it ended: for metrics and logs."""
    if ending.kind is EndKind.STOPPED and ending.stop_reason is not None:
        return ending.stop_reason.value
    if ending.kind is EndKind.ERROR and ending.code is not None:
        return ending.code.value
    return ending.finish_reason.value


def logprobs_between(
    record: StreamRecord, start: int, end: int
) -> tuple[events.TokenLogprob, ...] | None:
    """Log probabilities of the tokens whose pieces ended in ``(start, end]``; None if not asked."""
    if not record.logprobs:
        return None
    # Sorted by offset: a scan for each piece would make a long answer quadratic.
    first = bisect_right(record.logprobs, start, key=itemgetter(0))
    last = bisect_right(record.logprobs, end, key=itemgetter(0))
    return tuple(_logprob(entry) for _, entries in record.logprobs[first:last] for entry in entries)


def _logprob(entry: TokenLogprob) -> events.TokenLogprob:
    return events.TokenLogprob(
        token=entry.token,
        logprob=entry.logprob,
        top=tuple(events.TopLogprob(token=t, logprob=p) for t, p in entry.top),
    )
