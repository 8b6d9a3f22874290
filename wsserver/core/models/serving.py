"""A worker's models as it tells the fleet of them, and what the fleet asks of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from wsserver.core.errands import Errands
from wsserver.core.models.announcements import (
    AnnouncedModel,
    AnnouncedWorker,
    Announcing,
    CountTokens,
    LoadModel,
    UnloadModel,
    WorkerCall,
)
from wsserver.core.models.fingerprint import fingerprint
from wsserver.core.models.model import Model, ModelStatus
from wsserver.core.models.registry import ModelRegistry
from wsserver.core.sessions.store import StoreUnavailable

log = logging.getLogger(__name__)

LOOK_EVERY = 0.1
"""Seconds between looks at the models: what changes within them is told at once."""

RENEW_EVERY = 5.0
"""Seconds after which the same is told again, to show that this worker lives."""

DEPTH_EVERY = 2.0
"""Seconds between looks at the lines in front of the models."""

RETRY_EVERY = 1.0
"""Seconds between tries while the store is away."""

Depth = Callable[[str], Awaitable[int]]
"""How many requests wait for a model. May raise StoreUnavailable."""


class WorkerModels:
    """Tells the fleet of a registry's models, and serves its calls."""

    def __init__(self, node: str, registry: ModelRegistry, voice: Announcing, depth: Depth) -> None:
        self._node = node
        self._registry = registry
        self._voice = voice
        self._depth = depth
        self._builds: dict[str, str] = {}  # a load's own name to what it is the same as
        self._queued: dict[str, int] = {}
        self._counted_at = 0.0
        self._errands = Errands("a model's files could not be told from others")
        self._is_closing = False

    async def run(self) -> None:
        """Tell what changes, until cancelled."""
        loop = asyncio.get_running_loop()
        told: AnnouncedWorker | None = None
        told_at = 0.0
        while True:
            picture = self.picture()
            is_due = picture != told or loop.time() - told_at >= RENEW_EVERY
            if is_due and not self._is_closing:  # who has taken leave is not to be missed again
                try:
                    await self._voice.announce(picture)
                except StoreUnavailable as error:
                    log.warning("this worker can't tell of its models: %s", error)
                    told = None
                    await asyncio.sleep(RETRY_EVERY)
                    continue
                told, told_at = picture, loop.time()
            await asyncio.sleep(LOOK_EVERY)
            if loop.time() - self._counted_at >= DEPTH_EVERY:
                self._counted_at = loop.time()
                await self._count_waiting()

    def picture(self) -> AnnouncedWorker:
        """What is to be told now."""
        models = tuple(self._entry(model) for model in self._registry.all())
        loads = {entry.load for entry in models}
        self._builds = {load: build for load, build in self._builds.items() if load in loads}
        return AnnouncedWorker(node=self._node, models=models)

    async def handle(self, body: bytes) -> bytes:
        """Do what a gateway asks.

        Raises:
            WireError: As the registry refuses it.
        """
        call = msgspec.msgpack.decode(body, type=WorkerCall)
        registry = self._registry
        match call:
            case CountTokens(model_id=model_id, messages=messages, text=text):
                tokens = await registry.count_tokens(model_id, messages=messages, text=text)
                return msgspec.msgpack.encode(tokens)
            case LoadModel():
                model = registry.begin_load(
                    call.source,
                    model_id=call.model_id,
                    settings=call.settings,
                    admit=lambda: None,  # the gateway has admitted it
                    makes_place=call.makes_place,
                )
                return msgspec.msgpack.encode(model.build)
            case UnloadModel():
                registry.begin_unload(registry.get(call.model_id), force=call.force)
        return msgspec.msgpack.encode(None)

    async def close(self) -> None:
        """Tell no more, and that this worker is gone."""
        self._is_closing = True
        self._errands.cancel()
        await self._errands.ended()
        try:
            await self._voice.leave()
        except StoreUnavailable as error:
            log.warning("this worker can't take leave; its lease ends by itself: %s", error)

    def _entry(self, model: Model) -> AnnouncedModel:
        is_loading = model.status is ModelStatus.LOADING
        return AnnouncedModel(
            id=model.id,
            engine=model.engine,
            kind=model.kind,
            status=model.status,
            load=model.build,
            build=self._build(model),
            reason=model.reason,
            description=model.description,
            is_default=model.is_default,
            is_configured=model.id in self._registry.sources.configured,
            is_unloading=model.is_unloading,
            fallbacks=model.fallbacks,
            info=model.info,
            progress=model.progress if is_loading else None,
            slots=model.slots,
            busy=model.busy,
            replicas=model.replicas,
            queued=self._queued.get(model.id, 0),
        )

    def _build(self, model: Model) -> str:
        if not model.build or model.is_idle:
            return ""
        if model.build not in self._builds:
            self._builds[model.build] = model.build  # until its files have been looked at
            self._errands.begin(self._find_build(model))
        return self._builds[model.build]

    async def _find_build(self, model: Model) -> None:
        load = model.build
        try:
            found = await asyncio.to_thread(fingerprint, model.spec)
        except OSError as error:
            log.warning("the files of model %s can't be read: %s", model.id, error)
            return
        if found is not None:
            self._builds[load] = found

    async def _count_waiting(self) -> None:
        for model in self._registry.all():
            if model.is_idle:
                self._queued.pop(model.id, None)
                continue
            try:
                self._queued[model.id] = await self._depth(model.id)
            except StoreUnavailable:
                return
