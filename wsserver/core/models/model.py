"""One model: what it is, whether it answers, and the load that is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from enum import StrEnum

from wsserver.core.engine import EngineHost, LoadProgress, ModelInfo, ModelSpec
from wsserver.core.models.placement import Placement
from wsserver.core.models.pool import Pool
from wsserver.core.pace import Pace
from wsserver_protocol.errors import ErrorCode, WireError


class ModelStatus(StrEnum):
    """The wire's ``status`` of a model."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


class Model:
    """State of one model. Changed by the registry only."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        description: str | None,
        is_default: bool,
        placement: Placement,
        fallbacks: tuple[str, ...] = (),
    ) -> None:
        self.spec = spec
        self.placement = placement
        self.fallbacks = fallbacks
        self.pace = Pace()
        self.description = description
        self.is_default = is_default
        self.status = ModelStatus.UNLOADED
        self.info: ModelInfo | None = None  # of the last successful load
        self.reason: str | None = None  # why it failed
        self.progress = LoadProgress("starting", 0.0)
        self.pool: Pool | None = None
        self.task: asyncio.Task[None] | None = None  # loads and serves
        self.settled = asyncio.Event()  # the first load has succeeded or failed
        self.is_unloading = False
        self.unloading: asyncio.Task[None] | None = None
        self.load_started_at = 0.0
        self.used_at = 0.0  # loop seconds of the last request for it
        self.room: Mapping[str, int] = {}  # what it holds of `Capacity` while it is not idle
        self.makes_place = False  # others may go for this load: it is immediate
        self.build = ""  # another one with each load: what the response cache goes by
        self.progress_sinks: set[Callable[[LoadProgress], None]] = set()

    def __repr__(self) -> str:
        return f"<Model {self.id} {self.status.value}>"

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def engine(self) -> str:
        """Name of its engine."""
        return self.spec.engine

    @property
    def kind(self) -> str:
        """Kind of the weights: the scheme or the file's ending, else the engine's name."""
        source = self.spec.path or self.spec.source
        if self.spec.path is None:
            return source.partition(":")[0]
        return source.rpartition(".")[2] if "." in source else self.spec.engine

    @property
    def is_ready(self) -> bool:
        return self.status is ModelStatus.READY

    @property
    def is_idle(self) -> bool:
        """Whether nothing is loaded and nothing is being loaded."""
        return self.status in (ModelStatus.UNLOADED, ModelStatus.FAILED)

    @property
    def slots(self) -> int:
        """Jobs at once; 0 while nothing is loaded."""
        return self.pool.slots if self.pool is not None else 0

    @property
    def busy(self) -> int:
        """Slots in use."""
        return self.pool.busy if self.pool is not None else 0

    @property
    def replicas(self) -> int:
        """Engines that answer now."""
        return self.pool.replicas if self.pool is not None else 0

    def tell_progress(self, progress: LoadProgress) -> None:
        """Note how far the load is, and tell who follows it.

        Of several replicas the furthest tells: the model is ready when the first one is.
        """
        if progress.progress < self.progress.progress:
            return
        self.progress = progress
        for sink in tuple(self.progress_sinks):
            sink(progress)

    def require_host(self) -> EngineHost:
        """The host of the loaded engine.

        Raises:
            WireError: ``model_not_ready`` (retryable) between two lives of the engine.
        """
        host = self.pool.host if self.pool is not None else None
        if host is None:
            raise WireError(
                ErrorCode.MODEL_NOT_READY, f"Model {self.id!r} is starting again.", retryable=True
            )
        return host
