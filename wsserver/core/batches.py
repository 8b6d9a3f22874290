"""Batches: several prompts in one request, each an answer of its own.

Items begin in order while their owner has free places; one failure ends one item. A batch ends
once, when all its items have: done, failed, or cancelled by a stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial

from wsserver.core.answers import Answers
from wsserver.core.ask import Answer, Ask, Claim
from wsserver.core.errands import Errands
from wsserver.core.ids import new_id
from wsserver.core.limits import Limits
from wsserver.core.results import failure, result
from wsserver.core.streams import EndKind, Watcher
from wsserver_protocol import events
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.lifecycle import StopReason


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """How one prompt ended: a result, or an error."""

    index: int
    result: events.GenerationResult | None = None
    error: WireError | None = None

    @property
    def is_cancelled(self) -> bool:
        return self.error is not None and self.error.code is ErrorCode.CANCELLED


class Batch:
    """State of one batch. ``outcomes`` is in the order in which the items ended."""

    def __init__(self, asks: Sequence[Ask], accepted_at: float, batch_id: str = "") -> None:
        self.batch_id = batch_id or new_id("bat")
        self.asks = asks
        self.accepted_at = accepted_at
        self.outcomes: list[ItemOutcome] = []
        self.running: dict[int, Answer] = {}
        self.next_index = 0
        self.stop: tuple[StopReason, str] | None = None
        self.watchers: set[Watcher] = set()
        self.on_item: Callable[[Answer], object] = _ignore  # told each answer that begins
        self.on_end: list[Callable[[Batch], object]] = []
        self.asker_is_gone = False
        self.is_held = False  # its start is not told yet: it may still be refused
        self.refusal: WireError | None = None
        self.is_elsewhere = False  # another process goes on with it: here it is over, unended
        self.claim: Claim | None = None

    @property
    def total(self) -> int:
        return len(self.asks)

    @property
    def is_ended(self) -> bool:
        is_over = self.refusal is not None or self.is_elsewhere
        return is_over or len(self.outcomes) == self.total

    def summary(self) -> events.BatchSummary:
        """Counts, and the mean latency of the successful items in ms."""
        latencies = [o.result.latency for o in self.outcomes if o.result is not None]
        cancelled = sum(o.is_cancelled for o in self.outcomes)
        return events.BatchSummary(
            total=self.total,
            successful=len(latencies),
            failed=self.total - len(latencies) - cancelled,
            cancelled=cancelled,
            average_latency=round(sum(latencies) / len(latencies)) if latencies else 0,
        )


class Batches:
    """The batches of this process that have not ended."""

    is_shared = False
    """Whether other processes can go on with them."""

    def __init__(self, answers: Answers, limits: Limits) -> None:
        self._answers = answers
        self._limits = limits
        self._batches: dict[str, Batch] = {}
        self._errands = Errands("a batch could not be let in")
        answers.on_place_free = self._fill_all

    def get(self, batch_id: str) -> Batch | None:
        """The batch while it has not ended."""
        return self._batches.get(batch_id)

    def submit(
        self,
        asks: Sequence[Ask],
        admission: Coroutine[None, None, None] | None = None,
        *,
        batch_id: str = "",
    ) -> Batch:
        """Accept a batch and begin as many items as there are places.

        With an ``admission`` nothing is begun or told before that has let it pass.
        """
        batch = Batch(asks, asyncio.get_running_loop().time(), batch_id)
        self._batches[batch.batch_id] = batch
        if admission is None:
            self._fill(batch)
        else:
            batch.is_held = True
            self._errands.begin(self._admit(batch, admission))
        return batch

    def claim_id(self, batch: Batch, claim: Claim) -> None:
        """The asker gave the request an id: told in the same step as its acceptance."""

    def let_go(self, batch: Batch) -> None:
        """Leave a batch that nobody follows here to whoever is asked for it again."""

    def stop(self, batch: Batch, reason: StopReason, by: str) -> None:
        """Stop what runs, never begin what waits. Idempotent."""
        if batch.stop is not None or batch.is_ended:
            return
        batch.stop = (reason, by)
        batch.is_held = False
        # First what waits: each stop below frees a place, which would begin the next item.
        waiting = range(batch.next_index, batch.total)
        batch.next_index = batch.total
        for index in waiting:
            self._record(batch, ItemOutcome(index, error=_cancelled()))
        for answer in list(batch.running.values()):
            self._answers.stop(answer, reason, by)

    async def idle(self) -> None:
        """Wait until no batch is under way."""
        while self._batches:
            ended = asyncio.Event()
            next(iter(self._batches.values())).on_end.append(partial(_set, ended))
            await ended.wait()

    def stop_all(self, reason: StopReason) -> None:
        """Stop every batch, in the server's name."""
        for batch in list(self._batches.values()):
            self.stop(batch, reason, "server")

    async def _admit(self, batch: Batch, admission: Coroutine[None, None, None]) -> None:
        try:
            await admission
        except WireError as error:
            if not batch.is_ended:
                batch.refusal = error
                self._ended(batch)
        else:
            batch.is_held = False
            self._fill(batch)
        for watcher in tuple(batch.watchers):
            watcher.wake()

    def _fill_all(self) -> None:
        for batch in list(self._batches.values()):
            self._fill(batch)

    def _fill(self, batch: Batch) -> None:
        while batch.next_index < batch.total and not batch.is_held:
            ask = batch.asks[batch.next_index]
            if not self._limits.has_place(ask.owner.limit_key):
                return
            index = batch.next_index
            batch.next_index += 1
            try:
                answer = self._answers.submit(ask)
            except WireError as error:
                self._record(batch, ItemOutcome(index, error=error))
                continue
            self._follow(batch, index, answer)

    def _follow(self, batch: Batch, index: int, answer: Answer) -> None:
        batch.running[index] = answer
        answer.on_end.append(partial(self._item_ended, batch, index))

    def _item_ended(self, batch: Batch, index: int, answer: Answer) -> None:
        if batch.is_elsewhere:
            return
        del batch.running[index]
        record, ending = answer.record, answer.record.ending
        if ending is None:
            raise AssertionError("an item was reported as ended before it was")
        if ending.kind is EndKind.COMPLETE:
            outcome = ItemOutcome(index, result=result(record, ending))
        else:
            outcome = ItemOutcome(index, error=failure(ending))
        self._record(batch, outcome)

    def _record(self, batch: Batch, outcome: ItemOutcome) -> None:
        batch.outcomes.append(outcome)
        if batch.is_ended:
            self._ended(batch)
        for watcher in tuple(batch.watchers):
            watcher.wake()

    def _ended(self, batch: Batch) -> None:
        del self._batches[batch.batch_id]
        for callback in batch.on_end:
            callback(batch)


def _ignore(_: object) -> None:
    pass


def _set(event: asyncio.Event, _: Batch) -> None:
    event.set()


def _cancelled() -> WireError:
    return WireError(ErrorCode.CANCELLED, "Stopped before it began.")
