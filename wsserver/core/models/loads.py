"""A model's life: place is made for it, it is loaded, it serves, it is unloaded.

Loads and unloads belong to the server, never to who asked for them: they go on when their asker
goes. Each model has a task for its life from the load on, and one for the unload that ends it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from wsserver.core.engine import (
    EngineFactory,
    LoadProgress,
    ModelInfo,
    ModelLoadError,
    ModelSpec,
    placed,
)
from wsserver.core.ids import new_id
from wsserver.core.jobs import AnswerKeeper, WorkQueue
from wsserver.core.models.capacity import MODELS, Capacity, NoPlace, room_needed
from wsserver.core.models.model import Model, ModelStatus
from wsserver.core.models.pool import Pool
from wsserver.core.models.waiting import WaitingWork, being_unloaded
from wsserver.core.restarts import RestartPolicy
from wsserver.core.runner import Runner
from wsserver.core.streams import Ending, RunnerLog
from wsserver.core.telemetry import Telemetry
from wsserver_protocol.errors import ErrorCode
from wsserver_protocol.lifecycle import StopReason

log = logging.getLogger(__name__)

EstimateMemory = Callable[[ModelSpec], Awaitable[int]]
"""Bytes that one replica of a model will take, told before it is loaded; 0 if that can't be told.
Must not block the event loop."""


async def estimate_nothing(spec: ModelSpec) -> int:
    """An `EstimateMemory` for engines that take none worth counting."""
    return 0


class Loads:
    """Drives the models from load to unload. Called with models that the registry knows."""

    def __init__(
        self,
        *,
        capacity: Capacity,
        estimate: EstimateMemory,
        factory: EngineFactory,
        queue: WorkQueue,
        log: RunnerLog,
        waiting: WaitingWork,
        telemetry: Telemetry,
        restarts: RestartPolicy,
    ) -> None:
        self._capacity = capacity
        self._estimate = estimate
        self._factory = factory
        self._queue = queue
        self._log = log
        self._waiting = waiting
        self.keeper: AnswerKeeper | None = None
        self._telemetry = telemetry
        self._restarts = restarts
        self._in_turn = asyncio.Lock()  # loads get their room in the order in which they were asked

    def begin(self, model: Model, *, makes_place: bool) -> None:
        """Start loading a model that is unloaded or has failed."""
        now = asyncio.get_running_loop().time()
        model.status = ModelStatus.LOADING
        model.reason = None
        model.progress = LoadProgress("starting", 0.0)
        model.settled = asyncio.Event()
        model.is_unloading = False
        model.makes_place = makes_place
        # Counted at once among the models, as it was admitted by their number.
        model.room = {} if makes_place else {MODELS: 1}
        model.build = new_id("build")
        model.load_started_at = model.used_at = now
        model.task = asyncio.create_task(self._live(model), name=f"model {model.id}")

    def begin_unload(self, model: Model, *, force: bool) -> None:
        """From now on take no work for the model, and end what waits (``force``: what runs, too).

        At once, not at a task's first step: a request that its client sent after the unload must
        find the model going. Again with ``force``, it ends what a gentle unload waits for.
        """
        model.used_at = asyncio.get_running_loop().time()
        if model.task is None:
            model.status, model.reason = ModelStatus.UNLOADED, None  # a failure is put aside
            return
        model.is_unloading = True
        if model.pool is not None and model.is_ready:
            model.pool.admit_nothing()  # before a slot is freed: what is claimed then would be lost
        self._waiting.end_waiting(model.id, being_unloaded(model.id))
        if force and model.pool is not None:
            for record in model.pool.running():
                self._waiting.end_running(record, Ending.stopped(StopReason.UNLOADED, "server"))
                model.pool.stop(record.stream_id)
        if model.unloading is None:
            model.unloading = asyncio.create_task(
                _unload(model.task, model.pool if model.is_ready else None),
                name=f"unload {model.id}",
            )

    async def unloaded(self, model: Model) -> None:
        """Wait until a model is unloaded. Whoever stops waiting does not stop the unload."""
        if model.unloading is not None:
            await asyncio.wait({model.unloading})

    async def _live(self, model: Model) -> None:
        """A model's whole life from load to unload, as its own task."""
        gone = Ending.error(
            ErrorCode.MODEL_NOT_READY, f"Model {model.id!r} was unloaded.", retryable=True
        )
        try:
            await self._make_place(model)
            places = model.placement.of_each()
            model.pool = Pool(model.id, [self._runner(model, gpus) for gpus in places])
            await model.pool.run()
        except ModelLoadError as error:
            model.status = ModelStatus.FAILED
            model.reason = str(error)
            log.warning("model %s failed: %s", model.id, error)
            self._telemetry.model_load_failed(model.id)
            gone = Ending.error(
                ErrorCode.MODEL_NOT_READY, f"Model {model.id!r} failed: {error}", retryable=True
            )
        except asyncio.CancelledError:
            # The one who cancels is an unload or `close`: the end of this task is the answer.
            model.status = ModelStatus.UNLOADED
        except Exception:
            log.exception("model %s ended by a fault of the server", model.id)
            model.status, model.reason = ModelStatus.FAILED, "internal error"
        finally:
            if model.pool is not None:
                model.pool.give_up(gone)
            model.pool = model.task = model.unloading = None
            model.room = {}
            self._waiting.end_waiting(model.id, gone)
            model.settled.set()

    async def _make_place(self, model: Model) -> None:
        """Get the model its room, and wait until those who had it are gone.

        Raises:
            ModelLoadError: If it does not fit.
        """
        async with self._in_turn:
            place = model.placement
            each = max(place.memory or await self._estimate(model.spec), place.at_least)
            need = room_needed(each, place.of_each(), place.split)
            try:
                going = self._capacity.take(model, need, makes_place=model.makes_place)
            except NoPlace as error:
                raise ModelLoadError(str(error)) from error
            for other in going:
                log.info("model %s makes place for %s", other.id, model.id)
                self.begin_unload(other, force=True)
        if going:
            model.tell_progress(LoadProgress("making_place", 0.0))
        for other in going:
            await self.unloaded(other)

    def _runner(self, model: Model, gpus: tuple[int, ...]) -> Runner:
        if self.keeper is None:
            raise AssertionError("a model is loaded before someone answers for its answers")
        return Runner(
            placed(model.spec, gpus),
            factory=self._factory,
            queue=self._queue,
            log=self._log,
            keeper=self.keeper,
            on_ready=lambda info: self._became_ready(model, info),
            on_progress=model.tell_progress,
            telemetry=self._telemetry,
            restarts=self._restarts,
        )

    def _became_ready(self, model: Model, info: ModelInfo) -> None:
        model.info = info
        if model.status is ModelStatus.LOADING:
            seconds = asyncio.get_running_loop().time() - model.load_started_at
            self._telemetry.model_loaded(model.id, seconds)
        model.status = ModelStatus.READY
        model.settled.set()
        self._waiting.became_ready(model.id)


async def _unload(life: asyncio.Task[None], pool: Pool | None) -> None:
    """Let what runs in ``pool`` end, then end the model's life."""
    if pool is not None:
        drained = asyncio.ensure_future(pool.drained())
        await asyncio.wait({drained, life}, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
    life.cancel()
    await asyncio.wait({life})
