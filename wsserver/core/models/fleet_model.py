"""One model of a fleet: what its workers announce of it, and what was asked of them here."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from wsserver.core.engine import LoadProgress, ModelInfo, ModelLoadError
from wsserver.core.models.announcements import AnnouncedModel
from wsserver.core.models.directory import LoadCancelled
from wsserver.core.models.model import ModelStatus
from wsserver.core.pace import Pace

_BEST_FIRST = (ModelStatus.READY, ModelStatus.LOADING, ModelStatus.FAILED, ModelStatus.UNLOADED)


class Load:
    """A load that this gateway has asked for."""

    def __init__(self) -> None:
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.node = ""  # the worker that was asked last
        self.identity = ""  # as that worker announces it, once it has begun


class FleetModel:
    """A `ModelView` over all workers that know the model. Changed by `FleetModels` only."""

    def __init__(self, model_id: str, engine: str) -> None:
        self.id = model_id
        self.seen_at = asyncio.get_running_loop().time()  # announced last
        self.load_started_at = self.seen_at
        self.settled = asyncio.Event()
        self.newest_load: Load | None = None
        self.pace = Pace()  # of the answers that are looked at here
        self._engine = engine
        self._entries: Mapping[str, AnnouncedModel] = {}  # by worker
        self.expected: Load | None = None  # asked for and not announced yet
        self.unloading: asyncio.Task[None] | None = None  # asks its workers for that
        self._is_going = False  # its unload was asked for here
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<FleetModel {self.id} {self.status.value}>"

    @property
    def _best(self) -> AnnouncedModel | None:
        entries = self._entries.values()
        return min(entries, key=lambda e: _BEST_FIRST.index(e.status), default=None)

    @property
    def status(self) -> ModelStatus:
        """The best of its workers' states."""
        best = self._best
        if self.expected is not None and (best is None or best.is_idle):
            return ModelStatus.LOADING
        return best.status if best is not None else ModelStatus.UNLOADED

    @property
    def is_ready(self) -> bool:
        return self.status is ModelStatus.READY

    @property
    def is_idle(self) -> bool:
        return self.status in (ModelStatus.UNLOADED, ModelStatus.FAILED)

    @property
    def is_away(self) -> bool:
        """Whether no worker knows it (any more)."""
        return not self._entries and self.expected is None

    @property
    def is_unloading(self) -> bool:
        loaded = [entry for entry in self._entries.values() if not entry.is_idle]
        return self._is_going or (bool(loaded) and all(entry.is_unloading for entry in loaded))

    @property
    def is_default(self) -> bool:
        return any(entry.is_default for entry in self._entries.values())

    @property
    def is_configured(self) -> bool:
        """Whether its id is an operator's."""
        return any(entry.is_configured for entry in self._entries.values())

    @property
    def engine(self) -> str:
        best = self._best
        return best.engine if best is not None else self._engine

    @property
    def kind(self) -> str:
        best = self._best
        return best.kind if best is not None else self._engine

    @property
    def description(self) -> str | None:
        best = self._best
        return best.description if best is not None else None

    @property
    def fallbacks(self) -> tuple[str, ...]:
        best = self._best
        return best.fallbacks if best is not None else ()

    @property
    def reason(self) -> str | None:
        best = self._best
        return best.reason if best is not None and best.status is ModelStatus.FAILED else None

    @property
    def info(self) -> ModelInfo | None:
        """Of the worker with the shortest context: what fits there fits everywhere."""
        known = [e.info for e in self._entries.values() if e.info is not None]
        ready = [e.info for e in self._ready() if e.info is not None]
        return min(ready or known, key=lambda info: info.context_length, default=None)

    @property
    def build(self) -> str:
        """One text where all workers would give the same answers, else all of theirs."""
        return "+".join(sorted({entry.build for entry in self._ready()}))

    @property
    def progress(self) -> LoadProgress | None:
        """How far the load is that is furthest."""
        loading = [e.progress for e in self._entries.values() if e.progress is not None]
        return max(loading, key=lambda progress: progress.progress, default=None)

    @property
    def slots(self) -> int:
        return sum(entry.slots for entry in self._entries.values())

    @property
    def busy(self) -> int:
        return sum(entry.busy for entry in self._entries.values())

    @property
    def replicas(self) -> int:
        return sum(entry.replicas for entry in self._entries.values())

    @property
    def queued(self) -> int:
        """Requests in its line, as its workers last looked: each looks at the same one."""
        return max((entry.queued for entry in self._entries.values()), default=0)

    def nodes_ready(self) -> list[str]:
        """The workers that answer."""
        return [n for n, entry in self._entries.items() if entry.status is ModelStatus.READY]

    def nodes_loaded(self) -> list[str]:
        """The workers that have it, or are loading it."""
        return [node for node, entry in self._entries.items() if not entry.is_idle]

    def entry_of(self, load: Load) -> AnnouncedModel | None:
        """What the worker that took a load says of this very load."""
        entry = self._entries.get(load.node)
        return entry if entry is not None and entry.load == load.identity else None

    def outcome_of(self, load: Load | None) -> ModelInfo:
        """What became of a load that is over.

        Raises:
            ModelLoadError: With the engine's reason, or because its worker is gone.
            LoadCancelled: If the model was unloaded meanwhile.
        """
        entry = self.entry_of(load) if load is not None else None
        if self.is_away:
            raise ModelLoadError("the worker that loaded it is gone")
        status = self.status if entry is None else entry.status
        reason = self.reason if entry is None else entry.reason
        info = self.info if entry is None else entry.info
        if status is ModelStatus.FAILED:
            raise ModelLoadError(reason or "the load failed")
        if status is not ModelStatus.READY or info is None:
            raise LoadCancelled(self.id)
        return info

    async def changed(self) -> None:
        """Wait for the next change."""
        await self._changed.wait()

    def expect(self, load: Load) -> None:
        """A load was asked for: it is loading until its worker says more."""
        self.newest_load = self.expected = load
        self._tell()

    def give_up(self, load: Load) -> None:
        """Nobody took the load, or its worker is gone."""
        if self.expected is load:
            self.expected = None
            self._tell()

    def go(self) -> None:
        """Its unload was asked for: here it takes no more work."""
        self._is_going = True
        self._tell()

    def stay(self) -> None:
        """The unload was refused."""
        self._is_going = False
        self._tell()

    def show(self, entries: Mapping[str, AnnouncedModel], living: Collection[str]) -> None:
        """Take in what the workers announce now."""
        if entries:
            self.seen_at = asyncio.get_running_loop().time()
        load = self.expected
        is_same = entries == self._entries
        self._entries = entries
        if (
            load is not None
            and load.begun.done()
            and (self.entry_of(load) is not None or load.node not in living)
        ):
            self.expected, is_same = None, False
        if self.is_idle:
            self._is_going = False
        if not is_same:
            self._tell()

    def _ready(self) -> list[AnnouncedModel]:
        return [e for e in self._entries.values() if e.status is ModelStatus.READY]

    def _tell(self) -> None:
        if self.status is not ModelStatus.LOADING:
            self.settled.set()
        elif self.settled.is_set():
            self.settled = asyncio.Event()
            self.load_started_at = asyncio.get_running_loop().time()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
