"""The models as everyone sees them who serves requests: which there are, and what state each is in.

A request's path needs a model's name, its state and its figures, never its engine. So handlers,
histories and rooms ask this port. `ModelRegistry` answers it where the engines are in this very
process.

What is asked on a request's path is answered at once, from what this process knows. Only what
really takes time (counting, a load, an unload) is awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Protocol

from wsserver.core.engine import ChatMessage, LoadProgress, ModelInfo
from wsserver.core.models.model import ModelStatus
from wsserver.core.pace import Pace
from wsserver.core.streams import StreamRecord

Admit = Callable[[], Coroutine[None, None, None] | None]
"""Called before a load is begun, and may refuse it by a WireError: at once, or, where others decide
on it, in what it returns."""


class LoadCancelled(Exception):
    """The load was cancelled by an unload before it ended."""


class ModelView(Protocol):
    """One model, to be looked at. It changes while one looks."""

    @property
    def id(self) -> str:
        """The name that clients use."""

    @property
    def engine(self) -> str:
        """Name of its engine."""

    @property
    def kind(self) -> str:
        """Kind of the weights: the scheme or the file's ending, else the engine's name."""

    @property
    def status(self) -> ModelStatus:
        """Whether it answers."""

    @property
    def reason(self) -> str | None:
        """Why it failed, for people."""

    @property
    def description(self) -> str | None:
        """What the operator says of it."""

    @property
    def is_default(self) -> bool:
        """Whether it is the operator's choice for requests that name none."""

    @property
    def fallbacks(self) -> Sequence[str]:
        """Ids of the models that answer where it can't, nearest first."""

    @property
    def pace(self) -> Pace:
        """How fast its slots become free, as far as this process has seen."""

    @property
    def info(self) -> ModelInfo | None:
        """What it can do; of its last successful load."""

    @property
    def build(self) -> str:
        """Another text where its answers may be others: what the response cache goes by."""

    @property
    def load_started_at(self) -> float:
        """When its newest load was begun, in loop seconds; in a fleet, as seen here."""

    @property
    def settled(self) -> asyncio.Event:
        """Set once its load has succeeded or failed. Another event with each load."""

    @property
    def is_ready(self) -> bool:
        """Whether it answers now."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is loaded and nothing is being loaded."""

    @property
    def is_unloading(self) -> bool:
        """Whether it takes no work any more."""

    @property
    def slots(self) -> int:
        """Jobs at once; 0 while nothing is loaded."""

    @property
    def busy(self) -> int:
        """Slots in use."""

    @property
    def replicas(self) -> int:
        """Engines that answer now."""


class ModelDirectory(Protocol):
    """All models by id, and what can be asked of them."""

    def all(self) -> Sequence[ModelView]:
        """All models, loaded or not."""

    def is_configured(self, model_id: str) -> bool:
        """Whether an id is an operator's, and not one that a client has chosen."""

    def queued(self, model: ModelView) -> int:
        """Requests that wait for the model."""

    def free_slots(self, model: ModelView) -> int:
        """Jobs that could begin at once; 0 while nothing is loaded."""

    def default(self) -> ModelView | None:
        """The model for requests that name none: the operator's first, else the first ready."""

    def get(self, model_id: str | None) -> ModelView:
        """The model of that id, whatever its state.

        Raises:
            WireError: ``model_not_found``, or ``model_not_ready`` when there is no default.
        """

    def require(self, model_id: str | None) -> ModelView:
        """The model for a request: ready, or loading so that the request may wait.

        Raises:
            WireError: As for `get`; ``model_not_ready`` if it is unloaded or has failed.
        """

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

    def begin_load(
        self,
        source: str,
        *,
        model_id: str | None,
        settings: Mapping[str, object],
        admit: Admit,
        makes_place: bool = False,
    ) -> ModelView:
        """Start loading what a client named, or join the load or the model that is there already.

        ``admit`` is called before a load is started, and may refuse it. A load that
        ``makes_place`` unloads what stands in its way.

        Raises:
            WireError: If the source is refused, the id is taken by another source, or as many
                models are loaded as may be; whatever ``admit`` raises.
        """

    async def begun(self, model_id: str) -> None:
        """Wait until a process has taken the load of a model that is loading.

        Before that nothing may be lined up for it: there may come nobody who serves the line.

        Raises:
            WireError: The refusal, if nobody takes it.
        """

    async def loaded(
        self, model: ModelView, on_progress: Callable[[LoadProgress], None] | None = None
    ) -> ModelInfo:
        """Wait for a load's end. ``on_progress`` is told how far it is, and each step from there.

        Raises:
            ModelLoadError: With the engine's reason.
            LoadCancelled: If the model was unloaded meanwhile.
        """

    def begin_unload(self, model: ModelView, *, force: bool) -> None:
        """Take no more work for it, and end what waits (``force``: what runs, too)."""

    async def unloaded(self, model: ModelView) -> None:
        """Let the running answers end, then free the engine. After `begin_unload`; idempotent."""

    def stop(self, record: StreamRecord) -> bool:
        """End a running answer at its engine's next step. False if it is in no slot here."""
