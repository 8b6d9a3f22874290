"""Requests that report while they run: whole answers, batches, the loading of a model.

Like a stream, each is a call that collects what events tell and ends exactly once; unlike one,
it has no text that grows. What is collected is bounded: a batch has at most as many items as
prompts, and of a load only the latest progress is kept.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Generator
from typing import Any, Generic, TypeVar

from wsserver_client.calls import FAILURES, Call, Message
from wsserver_client.errors import ClientError, RequestTimeout, WireFailure
from wsserver_client.ports import StreamPort
from wsserver_client.results import (
    BatchItem,
    BatchResult,
    Generation,
    LoadProgress,
    batch_item_of,
    generation_of,
)
from wsserver_client.signal import Signal

T = TypeVar("T")


class Job(Call, Generic[T]):
    """A call with a result of type ``T``. ``await job`` waits for it."""

    def __init__(self, port: StreamPort, message: Message) -> None:
        super().__init__(message)
        self._port = port
        self._changed = Signal()
        self._end: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._end.add_done_callback(_retrieve)

    def __await__(self) -> Generator[Any, None, T]:
        return self.result().__await__()

    @property
    def is_settled(self) -> bool:
        return self._end.done()

    async def result(self) -> T:
        """Wait for the end.

        Raises:
            WireFailure: If the request was refused or failed.
            ConnectionLost: If the connection was, and the request could not be repeated.
        """
        return await asyncio.shield(self._end)

    def take(self, event: Message) -> None:
        if self._end.done():
            return
        if event["type"] in FAILURES:
            self.fail(WireFailure.from_event(event))
        else:
            self.note(event)
        self._changed.ring()

    @abstractmethod
    def note(self, event: Message) -> None:
        """An event that is no failure."""

    def fail(self, error: ClientError) -> None:
        if not self._end.done():
            self._end.set_exception(error)
            self._changed.ring()

    def _finish(self, result: T) -> None:
        self._end.set_result(result)


class GenerateJob(Job[Generation]):
    """A ``generate`` under way."""

    def note(self, event: Message) -> None:
        if event["type"] == "generation_complete":
            saved = event.get("saved") is not False
            self._finish(generation_of(event.get("result") or {}, saved=saved))

    def abandon(self) -> None:
        if not self.is_settled and not self._port.withdraw(self):
            self._port.post({"type": "stop_stream", "requestId": self.request_id})


class BatchHandle(Job[BatchResult]):
    """A batch under way.

    ``await batch`` gives all results in the order of the prompts; ``async for item in batch``
    gives each as it ends, every loop from the first. Leaving the loop stops nothing: `stop` does.

    Attributes:
        batch_id: The server's id of it, None until the server has answered.
    """

    def __init__(self, port: StreamPort, message: Message) -> None:
        super().__init__(port, message)
        self.batch_id: str | None = None
        self._total = len(message["prompts"])
        self._ended: dict[int, BatchItem] = {}
        self._stop_asked = False

    @property
    def items(self) -> list[BatchItem]:
        """What has ended so far, in the order of ending."""
        return list(self._ended.values())

    async def __aiter__(self) -> AsyncIterator[BatchItem]:
        given = 0
        while True:
            items = self.items
            if given < len(items):
                given += 1
                yield items[given - 1]
            elif self.is_settled:
                await self.result()  # raises if the batch failed
                return
            else:
                await self._changed.wait()

    async def stop(self) -> BatchResult:
        """End what still runs; the results so far. Idempotent.

        Raises:
            RequestTimeout: If the server does not answer in time.
        """
        self.abandon()
        done, _ = await asyncio.wait({self._end}, timeout=self._port.request_timeout)
        if not done:
            raise RequestTimeout("the server did not stop the batch in time")
        return await self.result()

    def abandon(self) -> None:
        if self.is_settled or self._stop_asked:
            return
        self._stop_asked = True
        if self._port.withdraw(self):
            self.fail(WireFailure("cancelled", "stopped before it was sent"))
        elif self.batch_id is None:
            self._port.post({"type": "stop_batch", "requestId": self.request_id})
        else:
            self._port.post({"type": "stop_batch", "batchId": self.batch_id})

    def take(self, event: Message) -> None:
        if event["type"] == "error" and self._stop_asked:
            return  # the reply to a stop by requestId; the batch's own end is on its way
        super().take(event)

    def note(self, event: Message) -> None:
        if event["type"] == "batch_start":
            self.batch_id = str(event.get("batchId"))
        elif event["type"] == "batch_item":
            # A repeated request tells all items again.
            self._ended.setdefault(int(event["index"]), batch_item_of(event))
        elif event["type"] == "batch_complete":
            self._complete(event)

    def _complete(self, event: Message) -> None:
        summary = event.get("summary") or {}
        items = tuple(self._ended.get(index, BatchItem(index)) for index in range(self._total))
        successful = sum(item.generation is not None for item in items)
        self._finish(
            BatchResult(
                batch_id=str(event.get("batchId")),
                items=items,
                total=int(summary.get("total", self._total)),
                successful=int(summary.get("successful", successful)),
                failed=int(summary.get("failed", self._total - successful)),
                cancelled=int(summary.get("cancelled", 0)),
                average_latency_ms=summary.get("averageLatency"),
            )
        )


class LoadHandle(Job[str]):
    """A model being loaded. ``await load`` gives its id; ``async for`` its progress.

    A load outlives its asker: leaving the loop, or the client, does not end it.

    Attributes:
        progress: The latest progress, None before the first.
        model: What the server said of the loaded model, as the wire spells it.
    """

    def __init__(self, port: StreamPort, message: Message) -> None:
        super().__init__(port, message)
        self.progress: LoadProgress | None = None
        self.model: dict[str, Any] = {}

    async def __aiter__(self) -> AsyncIterator[LoadProgress]:
        given: LoadProgress | None = None
        while True:
            if self.progress is not None and self.progress is not given:
                given = self.progress
                yield given
            elif self.is_settled:
                await self.result()  # raises if the load failed
                return
            else:
                await self._changed.wait()

    def note(self, event: Message) -> None:
        if event["type"] == "model_load_progress":
            self.progress = LoadProgress(
                str(event.get("id", "")),
                str(event.get("stage", "")),
                float(event.get("progress", 0.0)),
            )
        elif event["type"] == "model_loaded":
            self.model = dict(event.get("model") or {})
            self._finish(str(self.model.get("id", "")))


def _retrieve(future: asyncio.Future[Any]) -> None:
    # A job that fails with nobody waiting is no fault of the program.
    if not future.cancelled():
        future.exception()
