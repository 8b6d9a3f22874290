"""The core of a server, put together as the composition root does, over engines without processes.

Knows no socket. What it makes is real: queue, log, limits, registry, runner, answers, batches.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from tests.support.engines import LocalEngines
from wsserver.core.ask import Answer, Ask
from wsserver.core.batches import Batches
from wsserver.core.departures import Departures
from wsserver.core.engine import ChatMessage, ModelSpec
from wsserver.core.identity import Identity
from wsserver.core.limits import LimitPolicy, MemoryLimits
from wsserver.core.local_answers import LocalAnswers
from wsserver.core.models import Bounds, Model, ModelRegistry, ModelSource, SourcePolicy
from wsserver.core.models.waiting import LocalWaiting
from wsserver.core.restarts import RestartPolicy
from wsserver.core.rooms import RoomBounds, Rooms
from wsserver.core.rooms.answering import RoomAnswers
from wsserver.core.telemetry import NullTelemetry
from wsserver.engines.catalog import engine_for
from wsserver.stores.memory.job_queue import MemoryJobQueue
from wsserver.stores.memory.response_cache import MemoryResponseCache
from wsserver.stores.memory.room_broker import MemoryRoomBroker
from wsserver.stores.memory.room_state import MemoryRooms
from wsserver.stores.memory.stream_log import MemoryStreamLog
from wsserver_protocol.options import GenerationOptions


class Core:
    """A server without an edge."""

    def __init__(
        self,
        *,
        places: int = 64,
        queue: int = 1000,
        max_wait: float = 0.0,
        bounds: Bounds | None = None,
    ) -> None:
        self.sizes: dict[str, int] = {}  # modelId to the bytes that its load is told to take
        self.engines = LocalEngines()
        self.log = MemoryStreamLog(600.0)
        self.queue = MemoryJobQueue(queue)
        self.limits = MemoryLimits(LimitPolicy(max_concurrent_streams=places))
        waiting = LocalWaiting(self.queue, self.log)
        self.models = ModelRegistry(
            sources=SourcePolicy(
                models_dir=None,
                allowed_schemes=frozenset({"synthetic"}),
                choose_engine=engine_for,
            ),
            factory=self.engines,
            queue=self.queue,
            log=self.log,
            waiting=waiting,
            telemetry=NullTelemetry(),
            restarts=RestartPolicy(first_delay=0.1, max_delay=1.0),
            bounds=bounds,
            estimate=self._estimate,
        )
        self.answers = LocalAnswers(
            log=self.log,
            queue=self.queue,
            limits=self.limits,
            models=self.models,
            telemetry=NullTelemetry(),
            retention=600.0,
            cache=MemoryResponseCache(entries=10, size=100_000, ttl=600.0),
            max_wait=max_wait,
        )
        self.models.keeper = waiting.keeper = self.answers
        self.batches = Batches(self.answers, self.limits)
        self.rooms = Rooms(
            MemoryRoomBroker(MemoryRooms(RoomBounds(entries=100))),
            RoomAnswers(find=self.answers.retained, stop=self.answers.stop),
        )
        self.departures = Departures(self.answers, self.batches, self.rooms)
        self._numbers = itertools.count()

    def load(
        self,
        source: str,
        model_id: str = "m",
        *,
        is_default: bool = True,
        size: int = 0,
        makes_place: bool = False,
    ) -> Model:
        """Begin to load a synthetic model, of ``size`` bytes."""
        self.sizes[model_id] = size
        wanted = ModelSource(model_id, source, "synthetic")
        model = self.models.add(wanted, is_default=is_default, model_id=model_id)
        self.models.load(model, makes_place=makes_place)
        return model

    async def ready(self, source: str, model_id: str = "m", *, size: int = 0) -> Model:
        """Load a synthetic model and wait for it."""
        model = self.load(source, model_id, size=size)
        await self.models.loaded(model)
        return model

    async def _estimate(self, spec: ModelSpec) -> int:
        return self.sizes.get(spec.id, 0)

    def ask(
        self,
        owner: str = "ada",
        prompt: str = "one two",
        *,
        model: str | None = None,
        **options: Any,
    ) -> Ask:
        """A request of somebody."""
        return Ask(
            owner=Identity.named(owner, None, owner),
            client_id=f"cli_{owner}",
            options=GenerationOptions(**options),
            messages=(ChatMessage(role="user", content=prompt),),
            model=model,
        )

    def submit(self, owner: str = "ada", prompt: str = "one two", **options: Any) -> Answer:
        """Ask for an answer."""
        return self.answers.submit(self.ask(owner, prompt, **options))

    async def ended(self, *answers: Answer) -> None:
        """Wait until these have ended."""
        loop = asyncio.get_running_loop()
        for answer in answers:
            if not answer.record.is_ended:
                end: asyncio.Future[object] = loop.create_future()
                answer.on_end.append(end.set_result)
                await end

    async def close(self) -> None:
        """End the engines; nothing may be left in any slot, place or line."""
        await self.models.close()
        assert self.answers.active == 0
        assert all(model.busy == 0 for model in self.models.all())
        for owner in ("ada", "bob", "eve"):
            report = await self.limits.report(owner, asyncio.get_running_loop().time())
            assert report.concurrent_remaining == report.concurrent_limit
