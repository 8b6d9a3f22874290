"""One model: what it is, whether it answers, and the load that is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum

from wsserver.core.engine import LoadProgress, ModelInfo, ModelSpec
from wsserver.core.runner import Runner


class ModelStatus(StrEnum):
    """The wire's ``status`` of a model."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


class Model:
    """State of one model. Changed by the registry only."""

    def __init__(self, spec: ModelSpec, *, description: str | None, is_default: bool) -> None:
        self.spec = spec
        self.description = description
        self.is_default = is_default
        self.status = ModelStatus.UNLOADED
        self.info: ModelInfo | None = None  # of the last successful load
        self.reason: str | None = None  # why it failed
        self.progress = LoadProgress("starting", 0.0)
        self.runner: Runner | None = None
        self.task: asyncio.Task[None] | None = None  # loads and serves
        self.settled = asyncio.Event()  # the first load has succeeded or failed
        self.is_unloading = False
        self.load_started_at = 0.0
        self.progress_sinks: set[Callable[[LoadProgress], None]] = set()

    def __repr__(self) -> str:
        return f"<Model {self.id} {self.status.value}>"

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def is_ready(self) -> bool:
        return self.status is ModelStatus.READY

    @property
    def slots(self) -> int:
        """Jobs at once; 0 while nothing is loaded."""
        return self.runner.slots if self.runner is not None else 0

    @property
    def busy(self) -> int:
        """Slots in use."""
        return self.runner.busy if self.runner is not None else 0
