"""What waits in front of the models, and what runs, as loads and unloads deal with it."""

from __future__ import annotations

from typing import Protocol

from wsserver.core.jobs import AnswerKeeper, JobQueue
from wsserver.core.streams import Ending, StreamLog, StreamRecord
from wsserver_protocol.errors import ErrorCode
from wsserver_protocol.lifecycle import StreamState, StreamStep


class WaitingWork(Protocol):
    """All work of all models, whoever accepted it."""

    def depth(self, model_id: str) -> int:
        """Requests that wait for a model."""

    def became_ready(self, model_id: str) -> None:
        """A model has loaded: what waited for that waits for a slot now."""

    def end_waiting(self, model_id: str, ending: Ending) -> None:
        """End what waits for a model that takes no more work; not what others can still serve."""

    def end_running(self, record: StreamRecord, ending: Ending) -> None:
        """Note that an answer in a slot is to end so. Its engine is told by the caller."""


class DivertingKeeper(AnswerKeeper, Protocol):
    """Ends answers, or has another model make them."""

    def divert(self, record: StreamRecord, ending: Ending) -> bool:
        """Have a fallback take up an answer that waited for a model which ended as told. False if
        there is none, and the answer must end."""


def being_unloaded(model_id: str) -> Ending:
    """How work ends that waits for a model when its unload begins."""
    return Ending.error(
        ErrorCode.MODEL_NOT_READY, f"Model {model_id!r} is being unloaded.", retryable=True
    )


class LocalWaiting:
    """The work of a single process."""

    def __init__(self, queue: JobQueue, log: StreamLog) -> None:
        self._queue = queue
        self._log = log
        self.keeper: DivertingKeeper | None = None  # set before the first load

    def depth(self, model_id: str) -> int:
        return self._queue.depth(model_id)

    def became_ready(self, model_id: str) -> None:
        for record in self._queue.waiting(model_id):
            if record.state is StreamState.LOADING:
                record.take(StreamStep.QUEUE)

    def end_waiting(self, model_id: str, ending: Ending) -> None:
        for job in self._queue.drain(model_id):
            record = self._log.get(job.stream_id)
            assert self.keeper is not None  # the model was loaded
            if record is None or self.keeper.divert(record, ending):
                continue
            if self._log.cancel(record.stream_id, ending):
                self.keeper.close(record, record.fence, ending)

    def end_running(self, record: StreamRecord, ending: Ending) -> None:
        self._log.cancel(record.stream_id, ending)
