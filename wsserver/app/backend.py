"""What stands behind a gateway: who makes its answers, and where all that it shares is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

from wsserver.app.policies import limit_policy
from wsserver.config import Config
from wsserver.core.answers import Answers
from wsserver.core.batches import Batches
from wsserver.core.clients import Client, Clients
from wsserver.core.limits import Limits, MemoryLimits
from wsserver.core.local_answers import LocalAnswers
from wsserver.core.models import ModelDirectory, ModelRegistry
from wsserver.core.models.waiting import LocalWaiting
from wsserver.core.rooms import Presence, RoomBroker
from wsserver.core.sessions.elsewhere import Elsewhere
from wsserver.core.telemetry import FleetSnapshot, Telemetry
from wsserver.engines.host import create_host
from wsserver.engines.memory import estimate_memory
from wsserver.model_setup import model_bounds, source_policy
from wsserver.stores.memory.job_queue import MemoryJobQueue
from wsserver.stores.memory.response_cache import MemoryResponseCache
from wsserver.stores.memory.stream_log import MemoryStreamLog
from wsserver.stores.rooms import open_room_stores

MakeClients = Callable[[float, Callable[[Client], None], Callable[[Client], None]], Clients]

Task = Callable[[], Coroutine[None, None, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One way to serve: all in this process, or over what many processes share.

    Attributes:
        answers: Makes answers, or has them made.
        batches: Has the items of batches made.
        models: Which models there are.
        limits: What callers may ask for.
        broker: The rooms.
        presence: This process's leases on seats in rooms.
        load_models: Begins to load what the configuration wants to be there.
        close: Ends what it runs; answers should have ended before.
        make_clients: The clients of this process: window in seconds, what follows when one is
            gone, what follows when one has moved to another process.
        drained: Waits until this process makes no answers any more, and all have ended that were
            asked for here.
        is_shared: Whether other processes have answers that can be found.
        fleet: What is known of the other processes; None: there are none.
        elsewhere: How turns of sessions go on where other processes make the answers.
        tasks: Run for the life of the process; each only ever ends by a fault.
    """

    answers: Answers
    batches: Batches
    models: ModelDirectory
    limits: Limits
    broker: RoomBroker
    presence: Presence
    load_models: Callable[[], None]
    close: Callable[[], Awaitable[None]]
    make_clients: MakeClients
    drained: Callable[[], Awaitable[None]]
    is_shared: bool = False
    fleet: Callable[[], FleetSnapshot] | None = None
    elsewhere: Elsewhere | None = None
    tasks: tuple[Task, ...] = ()


def embedded(config: Config, telemetry: Telemetry) -> Backend:
    """Everything in this process: engines as its children, the rest in its memory."""
    limits = MemoryLimits(limit_policy(config))
    stream_log = MemoryStreamLog(config.streams.retention_seconds)
    queue = MemoryJobQueue(config.limits.queue_per_model)
    waiting = LocalWaiting(queue, stream_log)
    models = ModelRegistry(
        sources=source_policy(config),
        factory=create_host,
        queue=queue,
        log=stream_log,
        waiting=waiting,
        telemetry=telemetry,
        bounds=model_bounds(config.models),
        estimate=estimate_memory,
    )
    answers = LocalAnswers(
        log=stream_log,
        queue=queue,
        limits=limits,
        models=models,
        telemetry=telemetry,
        retention=config.streams.retention_seconds,
        max_wait=config.limits.queue_seconds,
        cache=MemoryResponseCache(
            entries=config.cache.entries, size=config.cache.bytes, ttl=config.cache.ttl_seconds
        ),
    )
    models.keeper = waiting.keeper = answers
    broker, presence = open_room_stores(config)
    return Backend(
        answers=answers,
        batches=Batches(answers, limits),
        models=models,
        limits=limits,
        broker=broker,
        presence=presence,
        load_models=lambda: load_models(models, config.models.start),
        close=models.close,
        drained=answers.idle,
        make_clients=lambda window, gone, moved: Clients(window, gone),
    )


def load_models(models: ModelRegistry, start: tuple[str, ...]) -> None:
    """Make the configured models known, and start loading those that are to be there."""
    sources = models.sources.configured
    for name in [*start, *(name for name in sources if name not in start)]:
        is_default = bool(start) and name == start[0]
        model = models.add(sources[name], is_default=is_default, model_id=name)
        if name in start:
            models.load(model)
