"""The models of this server: finding one for a request, loading, unloading.

A load belongs to the registry, never to who asked for it: it outlives its asker, and several
clients may follow the same one. A model that fails to load says why and disturbs nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from wsserver.core.engine import (
    ChatMessage,
    EngineDied,
    EngineFactory,
    LoadProgress,
    ModelInfo,
    ModelLoadError,
    RequestRefused,
)
from wsserver.core.jobs import AnswerKeeper, WorkQueue
from wsserver.core.models.capacity import Bounds, Capacity
from wsserver.core.models.directory import Admit, LoadCancelled, ModelView
from wsserver.core.models.loads import EstimateMemory, Loads, estimate_nothing
from wsserver.core.models.model import Model, ModelStatus
from wsserver.core.models.naming import choose_id, find_model, require_servable
from wsserver.core.models.sources import ModelSource, SourcePolicy
from wsserver.core.models.waiting import WaitingWork
from wsserver.core.restarts import RestartPolicy
from wsserver.core.streams import RunnerLog, StreamRecord
from wsserver.core.telemetry import Telemetry
from wsserver_protocol.errors import ErrorCode, WireError

MOST_REMEMBERED = 100
"""Models that clients named and that are not loaded: so many are still told of."""


class ModelRegistry:
    """All models by id, in the order in which they were named."""

    def __init__(
        self,
        *,
        sources: SourcePolicy,
        factory: EngineFactory,
        queue: WorkQueue,
        log: RunnerLog,
        waiting: WaitingWork,
        telemetry: Telemetry,
        restarts: RestartPolicy | None = None,
        bounds: Bounds | None = None,
        estimate: EstimateMemory = estimate_nothing,
    ) -> None:
        self.sources = sources
        self._waiting = waiting
        self._models: dict[str, Model] = {}
        self._capacity = Capacity(self._models.values, bounds or Bounds())
        self._loads = Loads(
            capacity=self._capacity,
            estimate=estimate,
            factory=factory,
            queue=queue,
            log=log,
            waiting=waiting,
            telemetry=telemetry,
            restarts=restarts or RestartPolicy(),
        )

    @property
    def keeper(self) -> AnswerKeeper | None:
        """Who answers for what is made here. To be set before the first load."""
        return self._loads.keeper

    @keeper.setter
    def keeper(self, keeper: AnswerKeeper) -> None:
        self._loads.keeper = keeper

    def all(self) -> list[Model]:
        """All models, loaded or not."""
        return list(self._models.values())

    def is_configured(self, model_id: str) -> bool:
        """Whether an id is an operator's, and not one that a client has chosen."""
        return model_id in self.sources.configured

    def queued(self, model: ModelView) -> int:
        """Requests that wait for the model."""
        return self._waiting.depth(model.id)

    def free_slots(self, model: ModelView) -> int:
        """Jobs that could begin at once; 0 while nothing is loaded."""
        return max(0, model.slots - model.busy)

    def default(self) -> Model | None:
        """The model for requests that name none: the operator's first, else the first ready."""
        models = self._models.values()
        chosen = next((m for m in models if m.is_default), None)
        return chosen or next((m for m in models if m.is_ready), None)

    def get(self, model_id: str | None) -> Model:
        """The model of that id, whatever its state.

        Raises:
            WireError: ``model_not_found``, or ``model_not_ready`` when there is no default.
        """
        return find_model(self._models, self.default(), model_id)

    def require(self, model_id: str | None) -> Model:
        """The model for a request: ready, or loading so that the request may wait.

        Whoever asks for it uses it: it is not the first to go where place is made.

        Raises:
            WireError: As for `get`; ``model_not_ready`` if it is unloaded or has failed.
        """
        model = self.get(model_id)
        require_servable(model)
        model.used_at = asyncio.get_running_loop().time()
        return model

    async def count_tokens(
        self,
        model_id: str | None,
        *,
        messages: Sequence[ChatMessage] | None = None,
        text: str | None = None,
    ) -> int:
        """Tokens by the model's own tokenizer; waits for a model that is loading.

        Raises:
            WireError: As for `require`, or ``invalid_parameters`` if the model refuses the input.
        """
        model = self.require(model_id)
        await model.settled.wait()
        host = self.require(model.id).require_host()
        try:
            return await host.count_tokens(messages=messages, text=text)
        except RequestRefused as refused:
            raise WireError(ErrorCode.INVALID_PARAMETERS, str(refused)) from refused
        except EngineDied as died:
            raise WireError(ErrorCode.GENERATION_FAILED, str(died), retryable=True) from died

    def add(self, source: ModelSource, *, is_default: bool = False, model_id: str) -> Model:
        """Make a model known, unloaded. The id must be free."""
        if model_id in self._models:
            raise ValueError(f"model id {model_id!r} is taken")
        model = Model(
            self.sources.spec(source, model_id),
            description=source.description,
            is_default=is_default,
            placement=source.placement,
            fallbacks=source.fallbacks,
        )
        self._models[model_id] = model
        return model

    def begin_load(
        self,
        source: str,
        *,
        model_id: str | None,
        settings: Mapping[str, object],
        admit: Admit,
        makes_place: bool = False,
    ) -> Model:
        """Start loading what a client named, or join the load or the model that is there already.

        ``admit`` is called before a load is started, and may refuse it. A load that
        ``makes_place`` unloads what stands in its way.

        Raises:
            WireError: If the source is refused, the id is taken by another source, or as many
                models are loaded as may be; whatever ``admit`` raises.
        """
        known = self._models.get(source)
        if known is not None and known.is_idle and not settings and model_id is None:
            self._admit_load(admit, makes_place=makes_place)
            self.load(known, makes_place=makes_place)  # by its id, as `models_list` shows it
            return known
        resolved = self.sources.resolve(source, settings)
        configured = self.sources.configured
        is_configured = source in configured
        name = choose_id(self._models, configured, resolved, model_id, is_configured=is_configured)
        model = self._models.get(name)
        if model is not None and not model.is_idle:
            return model
        self._admit_load(admit, makes_place=makes_place)
        if model is None:
            self._forget_some()
            model = self.add(resolved, model_id=name)
        model.spec, model.placement = self.sources.spec(resolved, name), resolved.placement
        self.load(model, makes_place=makes_place)
        return model

    def _forget_some(self) -> None:
        """Make place in the list: else it would grow with each name that a client thinks of."""
        named = self.sources.configured
        idle = [m for m in self._models.values() if m.is_idle and m.id not in named]
        idle.sort(key=lambda model: model.used_at)
        for model in idle[: max(0, len(idle) - MOST_REMEMBERED + 1)]:
            del self._models[model.id]

    def _admit_load(self, admit: Admit, *, makes_place: bool) -> None:
        refusal = None if makes_place else self._capacity.refuse_one_more()
        if refusal is not None:
            raise WireError(ErrorCode.OVERLOADED, refusal)
        if admit() is not None:
            raise AssertionError("where engines are a load is admitted at once")

    def load(self, model: Model, *, makes_place: bool = False) -> None:
        """Start loading a model that is unloaded or has failed."""
        self._loads.begin(model, makes_place=makes_place)

    async def begun(self, model_id: str) -> None:
        """Return at once: loads begin here."""

    async def loaded(
        self, view: ModelView, on_progress: Callable[[LoadProgress], None] | None = None
    ) -> ModelInfo:
        """Wait for a load's end. ``on_progress`` is told how far it is, and each step from there.

        Raises:
            ModelLoadError: With the engine's reason.
            LoadCancelled: If the model was unloaded meanwhile.
        """
        model = self._models[view.id]
        if on_progress is not None:
            if not model.settled.is_set():
                on_progress(model.progress)
            model.progress_sinks.add(on_progress)
        try:
            await model.settled.wait()
        finally:
            if on_progress is not None:
                model.progress_sinks.discard(on_progress)
        if model.status is ModelStatus.FAILED:
            raise ModelLoadError(model.reason or "the load failed")
        if model.status is not ModelStatus.READY or model.info is None:
            raise LoadCancelled(model.id)
        return model.info

    def begin_unload(self, view: ModelView, *, force: bool) -> None:
        """Take no more work for a model, and unload it when what runs has ended; see `Loads`."""
        self._loads.begin_unload(self._models[view.id], force=force)

    async def unloaded(self, view: ModelView) -> None:
        """Wait until a model is unloaded. After `begin_unload`."""
        await self._loads.unloaded(self._models[view.id])

    def stop(self, record: StreamRecord) -> bool:
        """End a running answer at its engine's next step. False if it is in no slot."""
        model = self._models.get(record.model_id)
        return model is not None and model.pool is not None and model.pool.stop(record.stream_id)

    async def drained(self) -> None:
        """Claim nothing more for any model, and wait until what runs has ended."""
        pools = [model.pool for model in self._models.values() if model.pool is not None]
        await asyncio.gather(*(pool.drained() for pool in pools))

    def hand_over(self) -> None:
        """Give what still runs back to the queue, with the text it has: another process goes on."""
        for model in self._models.values():
            if model.pool is not None:
                model.pool.hand_over()

    async def close(self) -> None:
        """End all engines. Their answers should have ended before."""
        tasks = [m.task for m in self._models.values() if m.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
