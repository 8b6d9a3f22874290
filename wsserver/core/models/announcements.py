"""What workers tell of their models, and the port through which gateways hear of it and call.

An announcement is a worker's whole picture, written anew at each change and gone when its lease
ends: a worker that died takes its models along. What is announced travels as MessagePack.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from wsserver.core.engine import ChatMessage, LoadProgress, ModelInfo
from wsserver.core.models.model import ModelStatus


class AnnouncedModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model of one worker; see `ModelView`."""

    id: str
    engine: str
    kind: str
    status: ModelStatus
    load: str = ""  # names this load: another text with each
    build: str = ""
    reason: str | None = None
    description: str | None = None
    is_default: bool = False
    is_configured: bool = False  # its id is an operator's
    is_unloading: bool = False
    fallbacks: tuple[str, ...] = ()
    info: ModelInfo | None = None
    progress: LoadProgress | None = None
    slots: int = 0
    busy: int = 0
    replicas: int = 0
    queued: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is loaded and nothing is being loaded."""
        return self.status in (ModelStatus.UNLOADED, ModelStatus.FAILED)


class AnnouncedWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker and its models."""

    node: str
    models: tuple[AnnouncedModel, ...] = ()

    @property
    def loaded(self) -> int:
        """Models that take room."""
        return sum(not model.is_idle for model in self.models)


class CountTokens(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Asks for a count by a model's tokenizer. Answered with a number."""

    model_id: str
    messages: tuple[ChatMessage, ...] | None = None
    text: str | None = None


class LoadModel(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Asks for a load to begin. Answered with its `AnnouncedModel.load`."""

    source: str
    model_id: str | None
    settings: dict[str, Any]
    makes_place: bool = False


class UnloadModel(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Asks for an unload to begin. Answered with nothing."""

    model_id: str
    force: bool


WorkerCall = CountTokens | LoadModel | UnloadModel


class Unreachable(Exception):
    """The worker did not answer in time, or Redis is away: it may have done what was asked."""


class Fleet(Protocol):
    """The workers as a gateway sees them.

    Attributes:
        on_change: Called after the picture has changed.
    """

    on_change: Callable[[], None]

    @property
    def workers(self) -> Sequence[AnnouncedWorker]:
        """All workers that live, as they last announced themselves; the oldest first."""

    def freshen(self) -> None:
        """Take in what a worker in this very process has to announce by now."""

    async def call(self, node: str, call: WorkerCall, timeout: float) -> bytes:
        """Have a worker do something. Answers travel as MessagePack.

        Raises:
            WireError: The worker's refusal.
            Unreachable: If no answer comes within ``timeout`` seconds.
        """
        ...


class Announcing(Protocol):
    """A worker's voice."""

    async def announce(self, worker: AnnouncedWorker) -> None:
        """Tell all gateways, and renew the lease.

        Raises:
            StoreUnavailable: If Redis is away.
        """

    async def leave(self) -> None:
        """Take the announcement back: the worker ends.

        Raises:
            StoreUnavailable: If Redis is away.
        """


CallHandler = Callable[[WorkerCall], Awaitable[bytes]]
"""Does what a gateway asks of this worker. Raises WireError to refuse."""
