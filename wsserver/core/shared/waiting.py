"""What waits for a worker's models, when other workers may serve the same ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from wsserver.core.errands import Errands
from wsserver.core.jobs import Job, SharedJobQueue
from wsserver.core.models.announcements import AnnouncedWorker
from wsserver.core.models.registry import ModelRegistry
from wsserver.core.sessions.store import SessionStore, StoreUnavailable
from wsserver.core.shared.endings import Endings
from wsserver.core.shared.ports import Ledger, SharedStreams
from wsserver.core.shared.work import end_unclaimed
from wsserver.core.streams import Ending, StreamRecord
from wsserver_protocol.errors import ErrorCode

log = logging.getLogger(__name__)

REAP_EVERY = 1.0
"""Seconds between looks for work whose worker has died: what its answers' readers wait, on average
half of this, beyond its lease."""

LOOKS_AFTER = (0.5, 2.0)
"""Seconds from the end of a model after which its line is emptied. Not at once: another worker that
is unloading it, too, has to have told so. And once more: a gateway may not have known yet."""

RETRY_EVERY = 1.0
"""Seconds between tries while the store is away."""

Workers = Callable[[], Awaitable[Sequence[AnnouncedWorker]]]
"""Who works, as announced now. Raises StoreUnavailable."""


class SharedWaiting:
    """`WaitingWork` over the queue of a fleet.

    Args:
        node: This worker.
        queue: The lines.
        streams: The log, for answers that no worker holds.
        store: Where sessions are.
        endings: What an end brings.
        workers: Looks who works.
    """

    def __init__(
        self,
        node: str,
        *,
        queue: SharedJobQueue,
        streams: SharedStreams,
        store: SessionStore,
        endings: Endings,
        workers: Workers,
    ) -> None:
        self._node = node
        self._queue = queue
        self._streams = streams
        self._store = store
        self._endings = endings
        self._workers = workers
        self._depths: dict[str, int] = {}
        self._errands = Errands("waiting work could not be ended")
        self._is_closing = False
        self.registry: ModelRegistry | None = None  # set before the first load

    def depth(self, model_id: str) -> int:
        """Requests that waited when `count` looked last."""
        return self._depths.get(model_id, 0)

    async def count(self, model_id: str) -> int:
        """Requests that wait.

        Raises:
            StoreUnavailable: If that can't be told.
        """
        self._depths[model_id] = await self._queue.depth(model_id)
        return self._depths[model_id]

    def became_ready(self, model_id: str) -> None:
        """Gateways hear of it by the announcement."""

    def end_waiting(self, model_id: str, ending: Ending) -> None:
        """End what waits, unless another worker serves the model, or this one again."""
        if not self._is_closing:  # else the process ends, not the model
            self._errands.begin(self._end_waiting(model_id, ending))

    def end_running(self, record: StreamRecord, ending: Ending) -> None:
        if record.cancel is None and not record.is_ended:
            record.cancel = ending

    async def reap(self) -> None:
        """Give work of dead workers back to the lines of our models, for ever."""
        while True:
            await asyncio.sleep(REAP_EVERY)
            models = self.registry.all() if self.registry is not None else []
            for job in await reaped(self._queue, [m.id for m in models if not m.is_idle]):
                self._errands.begin(self._end(job, given_up()))

    async def close(self) -> None:
        """End nothing more: what waits now waits for other workers."""
        self._is_closing = True
        self._errands.cancel()
        await self._errands.ended()

    async def _end_waiting(self, model_id: str, ending: Ending) -> None:
        slept = 0.0
        for after in LOOKS_AFTER:
            await asyncio.sleep(after - slept)
            slept = after
            while True:
                try:
                    if await self._is_served(model_id):
                        return
                    jobs = await self._queue.drain(model_id)
                    break
                except StoreUnavailable:
                    await asyncio.sleep(RETRY_EVERY)
            for job in jobs:
                await self._end(job, ending)

    async def _is_served(self, model_id: str) -> bool:
        models = self.registry.all() if self.registry is not None else []
        if any(m.id == model_id and not m.is_idle and not m.is_unloading for m in models):
            return True
        return any(
            model.id == model_id and not model.is_idle and not model.is_unloading
            for worker in await self._workers()
            if worker.node != self._node
            for model in worker.models
        )

    async def _end(self, job: Job, ending: Ending) -> None:
        """End an answer whose job is in this process's keeping."""
        await end_unclaimed(
            job.stream_id,
            ending,
            streams=self._streams,
            store=self._store,
            endings=self._endings,
        )
        self._queue.settled(job.stream_id)


async def is_led(ledger: Ledger, stream_id: str) -> bool:
    """Whether another process leads an answer into line, for all that can be told now."""
    try:
        return await ledger.is_led_elsewhere(stream_id)
    except StoreUnavailable:
        return True


async def reaped(queue: SharedJobQueue, model_ids: Sequence[str]) -> list[Job]:
    """Put dead workers' work back in its lines; returns what is given up, for the caller to end."""
    jobs: list[Job] = []
    for model_id in model_ids:
        try:
            jobs += await queue.reap(model_id)
        except StoreUnavailable as error:
            log.warning("dead workers' answers can't be looked for: %s", error)
            break
    return jobs


def given_up() -> Ending:
    """How an answer ends that several workers have died of."""
    return Ending.error(
        ErrorCode.GENERATION_FAILED,
        "Every worker that made this answer died.",
        retryable=True,
    )
