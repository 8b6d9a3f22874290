"""The models of this server: finding one for a request, loading, unloading.

A load belongs to the registry, never to who asked for it: it outlives its asker, and several
clients may follow the same one. A model that fails to load says why and disturbs nobody.
"""

from __future__ import annotations

import asyncio
import logging
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
from wsserver.core.ids import new_id
from wsserver.core.jobs import AnswerKeeper, JobQueue
from wsserver.core.models.model import Model, ModelStatus
from wsserver.core.models.naming import choose_id
from wsserver.core.models.pool import Pool
from wsserver.core.models.sources import ModelSource, SourcePolicy
from wsserver.core.restarts import RestartPolicy
from wsserver.core.runner import Runner
from wsserver.core.streams import Ending, StreamLog, StreamRecord
from wsserver.core.telemetry import Telemetry
from wsserver_protocol.errors import ErrorCode, FieldError, WireError
from wsserver_protocol.lifecycle import StopReason, StreamState, StreamStep

log = logging.getLogger(__name__)

DEFAULT_NAME = "default"
"""The model name that means the default model."""


class LoadCancelled(Exception):
    """The load was cancelled by an unload before it ended."""


class ModelRegistry:
    """All models by id, in the order in which they were named."""

    def __init__(
        self,
        *,
        sources: SourcePolicy,
        factory: EngineFactory,
        queue: JobQueue,
        log: StreamLog,
        telemetry: Telemetry,
        restarts: RestartPolicy | None = None,
        most: int = 64,
    ) -> None:
        self.keeper: AnswerKeeper | None = None  # set before the first load
        self.sources = sources
        self._most = most  # models loaded or loading
        self._factory = factory
        self._queue = queue
        self._log = log
        self._telemetry = telemetry
        self._restarts = restarts or RestartPolicy()
        self._models: dict[str, Model] = {}

    def all(self) -> list[Model]:
        """All models, loaded or not."""
        return list(self._models.values())

    def queued(self, model: Model) -> int:
        """Requests that wait for the model."""
        return self._queue.depth(model.id)

    def free_slots(self, model: Model) -> int:
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
        if model_id is None or (model_id == DEFAULT_NAME and model_id not in self._models):
            default = self.default()
            if default is None:
                raise WireError(ErrorCode.MODEL_NOT_READY, "No model is loaded.")
            return default
        model = self._models.get(model_id)
        if model is None:
            raise WireError(
                ErrorCode.MODEL_NOT_FOUND,
                f"There is no model {model_id!r}.",
                details=(FieldError(field="model", message="unknown"),),
            )
        return model

    def require(self, model_id: str | None) -> Model:
        """The model for a request: ready, or loading so that the request may wait.

        Raises:
            WireError: As for `get`; ``model_not_ready`` if it is unloaded or has failed.
        """
        model = self.get(model_id)
        if model.status is ModelStatus.FAILED:
            raise WireError(ErrorCode.MODEL_NOT_READY, f"Model {model.id!r} failed: {model.reason}")
        if model.status is ModelStatus.UNLOADED or model.is_unloading:
            raise WireError(ErrorCode.MODEL_NOT_READY, f"Model {model.id!r} is not loaded.")
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
            wanted=source.replicas,
        )
        self._models[model_id] = model
        return model

    def begin_load(
        self,
        source: str,
        *,
        model_id: str | None,
        settings: Mapping[str, object],
        admit: Callable[[], None],
    ) -> Model:
        """Start loading what a client named, or join the load or the model that is there already.

        ``admit`` is called before a load is started, and may refuse it.

        Raises:
            WireError: If the source is refused, the id is taken by another source, or as many
                models are loaded as may be; whatever ``admit`` raises.
        """
        known = self._models.get(source)
        if known is not None and known.is_idle and not settings and model_id is None:
            self._admit_load(admit)
            self.load(known)  # by its id, as `models_list` shows it
            return known
        resolved = self.sources.resolve(source, settings)
        configured = self.sources.configured
        is_configured = source in configured
        name = choose_id(self._models, configured, resolved, model_id, is_configured=is_configured)
        model = self._models.get(name)
        if model is not None and not model.is_idle:
            return model
        self._admit_load(admit)
        if model is None:
            model = self.add(resolved, model_id=name)
        model.spec, model.wanted = self.sources.spec(resolved, name), resolved.replicas
        self.load(model)
        return model

    def _admit_load(self, admit: Callable[[], None]) -> None:
        if sum(not model.is_idle for model in self._models.values()) >= self._most:
            raise WireError(ErrorCode.OVERLOADED, f"This server loads at most {self._most} models.")
        admit()

    def load(self, model: Model) -> None:
        """Start loading a model that is unloaded or has failed."""
        model.status = ModelStatus.LOADING
        model.reason = None
        model.progress = LoadProgress("starting", 0.0)
        model.settled = asyncio.Event()
        model.is_unloading = False
        model.build = new_id("build")
        model.load_started_at = asyncio.get_running_loop().time()
        model.task = asyncio.create_task(self._serve(model), name=f"model {model.id}")

    async def loaded(
        self, model: Model, on_progress: Callable[[LoadProgress], None] | None = None
    ) -> ModelInfo:
        """Wait for a load's end. ``on_progress`` is told how far it is, and each step from there.

        Raises:
            ModelLoadError: With the engine's reason.
            LoadCancelled: If the model was unloaded meanwhile.
        """
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

    def begin_unload(self, model: Model, *, force: bool) -> None:
        """From now on take no work for the model, and end what waits (``force``: what runs, too).

        At once, not at a task's first step: a request that its client sent after the unload must
        find the model going. `unloaded` does the rest.
        """
        if model.task is None:
            return
        model.is_unloading = True
        self._refuse_waiting(model)
        if force and model.pool is not None:
            for record in model.pool.running():
                self._log.cancel(record.stream_id, Ending.stopped(StopReason.UNLOADED, "server"))
                model.pool.stop(record.stream_id)

    async def unloaded(self, model: Model) -> None:
        """Let the running answers end, then free the engine. After `begin_unload`.

        Idempotent: a second unload waits for the first.
        """
        task, pool = model.task, model.pool
        if task is None:
            return
        if pool is not None and model.is_ready:
            drained = asyncio.ensure_future(pool.drained())
            await asyncio.wait({drained, task}, return_when=asyncio.FIRST_COMPLETED)
            drained.cancel()
        task.cancel()
        await asyncio.wait({task})

    def stop(self, record: StreamRecord) -> bool:
        """End a running answer at its engine's next step. False if it is in no slot."""
        model = self._models.get(record.model_id)
        return model is not None and model.pool is not None and model.pool.stop(record.stream_id)

    async def close(self) -> None:
        """End all engines. Their answers should have ended before."""
        tasks = [m.task for m in self._models.values() if m.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _serve(self, model: Model) -> None:
        """A model's whole life from load to unload, as its own task."""
        pool = Pool(model.id, [self._runner(model) for _ in range(model.wanted)])
        model.pool = pool
        gone = Ending.error(
            ErrorCode.MODEL_NOT_READY, f"Model {model.id!r} was unloaded.", retryable=True
        )
        try:
            await pool.run()
        except ModelLoadError as error:
            model.status = ModelStatus.FAILED
            model.reason = str(error)
            self._telemetry.model_load_failed(model.id)
            gone = Ending.error(
                ErrorCode.MODEL_NOT_READY, f"Model {model.id!r} failed: {error}", retryable=True
            )
        except asyncio.CancelledError:
            # The one who cancels is `unload` or `close`: the end of this task is the answer.
            model.status = ModelStatus.UNLOADED
        except Exception:
            log.exception("model %s ended by a fault of the server", model.id)
            model.status, model.reason = ModelStatus.FAILED, "internal error"
        finally:
            pool.give_up(gone)
            model.pool = model.task = None
            self._end_waiting(model, gone)
            model.settled.set()

    def _runner(self, model: Model) -> Runner:
        if self.keeper is None:
            raise AssertionError("the registry loads before someone answers for the answers")
        return Runner(
            model.spec,
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
        for record in self._queue.waiting(model.id):
            if record.state is StreamState.LOADING:
                record.take(StreamStep.QUEUE)

    def _refuse_waiting(self, model: Model) -> None:
        self._end_waiting(
            model,
            Ending.error(
                ErrorCode.MODEL_NOT_READY, f"Model {model.id!r} is being unloaded.", retryable=True
            ),
        )

    def _end_waiting(self, model: Model, ending: Ending) -> None:
        for job in self._queue.drain(model.id):
            record = self._log.get(job.stream_id)
            if record is not None and self._log.cancel(record.stream_id, ending):
                assert self.keeper is not None  # it was loaded
                self.keeper.close(record, record.fence, ending)
