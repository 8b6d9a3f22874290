"""One answer in a slot, as its runner counts it."""

from __future__ import annotations

from dataclasses import dataclass

from wsserver.core.engine import Failed, Finished
from wsserver.core.engine import FinishReason as EngineFinish
from wsserver.core.fairness import PROMPT_WEIGHT, prompt_estimate
from wsserver.core.jobs import Job
from wsserver.core.streams import Ending, StreamRecord
from wsserver_protocol.errors import ErrorCode, FieldError
from wsserver_protocol.lifecycle import FinishReason


@dataclass(slots=True)
class Run:
    """A job that an engine is making."""

    job: Job
    record: StreamRecord
    fence: int
    offset: int  # bytes written
    prior_tokens: int  # tokens of the answer that the engine was fed with the prompt
    uncharged: float = 0.0  # weighted tokens used and not yet told to the queue
    is_prompt_charged: bool = False

    def charge_prompt(self, tokens: int) -> None:
        """Correct the estimate that was charged at admission by the engine's own count, once."""
        if not self.is_prompt_charged:
            self.is_prompt_charged = True
            self.uncharged += tokens * PROMPT_WEIGHT - prompt_estimate(self.job)


def failure_of(failed: Failed) -> Ending:
    """How an answer ends that its engine could not make."""
    field = failed.field
    details = (FieldError(field=field, message=failed.message),) if field is not None else ()
    return Ending.error(
        ErrorCode(failed.code), failed.message, retryable=failed.retryable, details=details
    )


def ending_of(record: StreamRecord, finished: Finished) -> Ending:
    """How an answer ends that its engine has ended in order."""
    if finished.reason is EngineFinish.CANCELLED:
        if record.cancel is None:
            raise AssertionError("an engine cancelled a job that nobody had asked to stop")
        return record.cancel
    return Ending.complete(FinishReason(finished.reason.value), finished.tool_calls)
