"""The models of a fleet, as a gateway without engines knows them.

The picture is what the workers announce: a model served by several of them is one model, with all
their slots. It is a fraction of a second old. Three things must not wait for it, and are known here
at once: that a load was asked for, that an unload was, and that a model was there a moment ago.
The last so that a worker's end is told as what it is: a model that is away for now, and not one
that never was.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import PurePath

import msgspec

from wsserver.core.engine import ChatMessage, LoadProgress, ModelInfo
from wsserver.core.errands import Errands
from wsserver.core.models.announcements import (
    AnnouncedModel,
    CountTokens,
    Fleet,
    LoadModel,
    UnloadModel,
    Unreachable,
)
from wsserver.core.models.directory import Admit, ModelView
from wsserver.core.models.fleet_model import FleetModel, Load
from wsserver.core.models.model import ModelStatus
from wsserver.core.models.naming import find_model, numbered, require_servable
from wsserver.core.models.sources import SCHEME
from wsserver.core.models.waiting import being_unloaded
from wsserver.core.streams import Ending, StreamRecord
from wsserver_protocol.errors import ErrorCode, WireError

log = logging.getLogger(__name__)

COUNT_SECONDS = 5.0
"""For one worker's count of tokens; after that another one is asked."""

COUNT_TRIES = 3

BEGIN_SECONDS = 10.0
"""For a worker to begin a load or an unload."""

KEEP_SECONDS = 600.0
"""For how long a model is remembered that no worker announces any more."""


class FleetModels:
    """A `ModelDirectory` over announcements.

    Attributes:
        end_waiting: Ends what waits for a model that none of its workers serves any more.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.end_waiting: Callable[[str, Ending], Coroutine[None, None, None]] = _leave_waiting
        self._models: dict[str, FleetModel] = {}
        self._errands = Errands("what was asked of workers has failed")
        fleet.on_change = self._look
        self._look()

    def all(self) -> list[FleetModel]:
        """All models, loaded or not."""
        self._fleet.freshen()
        return list(self._models.values())

    def is_configured(self, model_id: str) -> bool:
        """Whether an id is an operator's, as far as workers have told."""
        return model_id in self._models and self._models[model_id].is_configured

    def queued(self, model: ModelView) -> int:
        """Requests that wait for the model, as its workers last looked."""
        return _ours(model).queued

    def free_slots(self, model: ModelView) -> int:
        """Jobs that could begin at once, as far as is known here."""
        return max(0, model.slots - model.busy)

    def default(self) -> FleetModel | None:
        """The model for requests that name none: the operator's, else the first that is ready."""
        models = self._models.values()
        chosen = next((m for m in models if m.is_default), None)
        return chosen or next((m for m in models if m.is_ready), None)

    def get(self, model_id: str | None) -> FleetModel:
        """The model of that id, whatever its state.

        Raises:
            WireError: ``model_not_found``; ``model_not_ready`` when there is no default, or no
                worker at all.
        """
        self._fleet.freshen()
        if not self._models:
            raise WireError(ErrorCode.MODEL_NOT_READY, "No worker is there yet.", retryable=True)
        return find_model(self._models, self.default(), model_id)

    def require(self, model_id: str | None) -> FleetModel:
        """The model for a request: ready, or loading so that the request may wait.

        Raises:
            WireError: As for `get`; ``model_not_ready`` if it is unloaded, has failed, or has lost
                its workers (retryable: they may come back).
        """
        model = self.get(model_id)
        if model.is_away:
            raise WireError(
                ErrorCode.MODEL_NOT_READY,
                f"No worker serves model {model.id!r} now.",
                retryable=True,
            )
        require_servable(model)
        return model

    async def count_tokens(
        self,
        model_id: str | None,
        *,
        messages: Sequence[ChatMessage] | None = None,
        text: str | None = None,
    ) -> int:
        """Tokens by the model's own tokenizer, on any worker; waits for a model that is loading.

        Raises:
            WireError: As for `require`; the model's refusal; ``model_not_ready`` (retryable) if
                no worker answers.
        """
        given = None if messages is None else tuple(messages)
        asked: set[str] = set()
        for _ in range(COUNT_TRIES):
            model = self.require(model_id)
            await model.settled.wait()
            ready = self.require(model.id).nodes_ready()
            fresh = [node for node in ready if node not in asked] or ready
            if not fresh:
                continue
            node = random.choice(fresh)
            asked.add(node)
            call = CountTokens(model_id=model.id, messages=given, text=text)
            try:
                reply = await self._fleet.call(node, call, COUNT_SECONDS)
                return msgspec.msgpack.decode(reply, type=int)
            except Unreachable as error:
                log.warning("worker %s did not count: %s", node, error)
        raise WireError(
            ErrorCode.MODEL_NOT_READY, f"Model {model_id!r} does not answer.", retryable=True
        )

    def begin_load(
        self,
        source: str,
        *,
        model_id: str | None,
        settings: Mapping[str, object],
        admit: Admit,
        makes_place: bool = False,
    ) -> FleetModel:
        """Have a worker load what a client named, or join the load or the model that is there.

        For everyone here the model is loading from now on. Which worker takes it, and whether one
        does, is seen by `loaded`.

        Raises:
            WireError: Whatever ``admit`` raises.
        """
        known = self._models.get(source) if model_id is None else None
        if known is not None and not known.is_idle and not settings:
            return known
        name = source if known is not None else self._name(source, model_id)
        admission = admit()
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = FleetModel(name, source.partition(":")[0])
        load = Load()
        if model.is_idle:
            model.expect(load)
        model.newest_load = load
        call = LoadModel(
            source=source,
            model_id=None if known is not None else name,
            settings=dict(settings),
            makes_place=makes_place,
        )
        self._errands.begin(self._load(model, load, call, admission))
        return model

    async def begun(self, model_id: str) -> None:
        """Wait until a worker has taken the load of a model that is loading.

        Raises:
            WireError: The refusal, if none takes it.
        """
        known = self._models.get(model_id)
        load = known.expected if known is not None else None
        if load is not None:
            await asyncio.shield(load.begun)

    async def loaded(
        self, model: ModelView, on_progress: Callable[[LoadProgress], None] | None = None
    ) -> ModelInfo:
        """Wait for a load's end. ``on_progress`` is told how far it is, and each step from there.

        Raises:
            ModelLoadError: With the engine's reason, or because its worker is gone.
            LoadCancelled: If the model was unloaded meanwhile.
            WireError: If the workers refuse the load.
        """
        known = _ours(model)  # a load that was refused may have left the list by now
        load = known.newest_load
        if load is not None:
            await asyncio.shield(load.begun)
        told: LoadProgress | None = None
        while known.status is ModelStatus.LOADING:
            progress = known.progress
            if on_progress is not None and progress is not None and progress != told:
                told = progress
                on_progress(progress)
            await known.changed()
        return known.outcome_of(load)

    def begin_unload(self, model: ModelView, *, force: bool) -> None:
        """Take no more work for it here, and have all its workers unload it."""
        known = _ours(model)
        nodes = known.nodes_loaded()
        if nodes:
            known.go()
            call = UnloadModel(model_id=known.id, force=force)
            known.unloading = self._errands.begin(self._unload_all(known, nodes, call))

    async def unloaded(self, model: ModelView) -> None:
        """Wait until no worker has it loaded, and what waited for it has ended."""
        known = _ours(model)
        while known.is_unloading:
            await known.changed()
        if known.unloading is not None:
            await asyncio.wait({known.unloading})

    def stop(self, record: StreamRecord) -> bool:
        """No answer is in a slot of a gateway: False."""
        return False

    async def close(self) -> None:
        """Wait no more for what was asked of workers. It goes on there."""
        self._errands.cancel()
        await self._errands.ended()

    def _name(self, source: str, model_id: str | None) -> str:
        """The id under which a source that is nobody's id will be loaded."""
        if model_id is not None:
            return model_id
        scheme = SCHEME.match(source)
        stem = scheme[1].lower() if scheme else PurePath(source).stem
        return next(name for name in numbered(stem) if self._is_free(name))

    def _is_free(self, name: str) -> bool:
        known = self._models.get(name)
        return known is None or (known.is_idle and not known.is_configured)

    async def _load(
        self,
        model: FleetModel,
        load: Load,
        call: LoadModel,
        admission: Coroutine[None, None, None] | None,
    ) -> None:
        try:
            if admission is not None:
                await admission
            load.identity = await self._begin_somewhere(model, load, call)
        except WireError as error:
            load.begun.set_exception(error)
            load.begun.exception()  # nobody may be waiting for it
            model.give_up(load)
            if model.is_away:
                self._models.pop(model.id, None)
            return
        load.begun.set_result(None)
        self._look()

    async def _begin_somewhere(self, model: FleetModel, load: Load, call: LoadModel) -> str:
        """Ask the workers in turn until one takes the load. Returns the load's name there.

        Those that have the model come first, then those with the least loaded. A worker that
        can't see the source leaves it to the next; any other refusal is told: whether there is
        room need not be asked of all, since the emptiest was asked first.
        """
        refusal = WireError(ErrorCode.MODEL_NOT_READY, "No worker is there.", retryable=True)
        has_it = model.nodes_loaded()
        for worker in sorted(self._fleet.workers, key=lambda w: (w.node not in has_it, w.loaded)):
            load.node = worker.node
            try:
                reply = await self._fleet.call(worker.node, call, BEGIN_SECONDS)
                return msgspec.msgpack.decode(reply, type=str)
            except Unreachable as error:
                log.warning("worker %s did not begin a load: %s", worker.node, error)
            except WireError as error:
                refusal = error
                if error.code is not ErrorCode.MODEL_NOT_FOUND:
                    break
        raise refusal

    async def _unload_all(self, model: FleetModel, nodes: Sequence[str], call: UnloadModel) -> None:
        if all(await asyncio.gather(*(self._unload(model, node, call) for node in nodes))):
            await self.end_waiting(model.id, being_unloaded(model.id))

    async def _unload(self, model: FleetModel, node: str, call: UnloadModel) -> bool:
        try:
            await self._fleet.call(node, call, BEGIN_SECONDS)
        except (Unreachable, WireError) as error:
            log.warning("worker %s did not unload %s: %s", node, model.id, error)
            model.stay()
            return False
        return True

    def _look(self) -> None:
        """Take in what is announced now."""
        workers = self._fleet.workers
        found: dict[str, dict[str, AnnouncedModel]] = {}
        for worker in workers:
            for entry in worker.models:
                found.setdefault(entry.id, {})[worker.node] = entry
                if entry.id not in self._models:
                    self._models[entry.id] = FleetModel(entry.id, entry.engine)
        oldest = asyncio.get_running_loop().time() - KEEP_SECONDS
        living = {worker.node for worker in workers}
        for model in list(self._models.values()):
            model.show(found.get(model.id, {}), living)
            if model.is_away and model.seen_at < oldest:
                del self._models[model.id]


async def _leave_waiting(model_id: str, ending: Ending) -> None:
    """Nothing: its workers look after that."""


def _ours(model: ModelView) -> FleetModel:
    """A model that this directory gave out."""
    assert isinstance(model, FleetModel)
    return model
