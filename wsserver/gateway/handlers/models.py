"""`models`, `load_model`, `unload_model`, `metrics`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import psutil

from wsserver.core.engine import LoadProgress, ModelLoadError
from wsserver.core.models import LoadCancelled, ModelView
from wsserver.core.results import milliseconds
from wsserver.gateway.connection import Connection
from wsserver.gateway.dispatch import Call, Reply
from wsserver.gateway.handlers.scopes import require_scope
from wsserver_protocol import events, requests
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.fields import ModelStatus

# Load progress is told at most this often, in seconds: enough for a bar that moves.
PROGRESS_EVERY = 0.1


def models(call: Call) -> Reply:
    """All models that the server knows, in the order in which they came to be known."""
    registry = call.connection.services.models
    default = registry.default()
    return events.ModelsList(
        request_id=call.request_id,
        models=tuple(_describe(model, model is default) for model in registry.all()),
    )


def load_model(call: Call) -> Coroutine[None, None, Reply]:
    """Load a model, or join its load. It goes on when the asker goes.

    It begins at once: a request for the model that its client sends next must find it loading.
    """
    request: requests.LoadModel = call.request
    connection = call.connection
    services = connection.services
    require_scope(connection, "models:write")
    services.require_open()
    key, now = connection.client.identity.limit_key, asyncio.get_running_loop().time()

    def admit() -> Coroutine[None, None, None] | None:
        services.limits.admit(key, 1, now)
        return services.limits.admission(key, 1)

    model = services.models.begin_load(
        request.source,
        model_id=request.id,
        settings=request.options or {},
        admit=admit,
        makes_place=request.immediate,
    )
    return _loaded(call, model)


async def _loaded(call: Call, model: ModelView) -> Reply:
    services = call.connection.services
    tell = _ProgressTeller(call.connection, call.request_id, model)
    try:
        await services.models.loaded(model, tell)
    except ModelLoadError as error:
        raise WireError(ErrorCode.MODEL_LOAD_FAILED, str(error)) from error
    except LoadCancelled:
        raise WireError(ErrorCode.CANCELLED, "The model was unloaded meanwhile.") from None
    return events.ModelLoaded(
        request_id=call.request_id,
        model=events.ModelSummary(
            id=model.id, name=_name(model), type=model.kind, status=ModelStatus.READY
        ),
    )


def unload_model(call: Call) -> Coroutine[None, None, Reply]:
    """Unload a model: running streams end first, or are stopped with ``force``."""
    request: requests.UnloadModel = call.request
    connection = call.connection
    require_scope(connection, "models:write")
    registry = connection.services.models
    model = registry.get(request.id)
    registry.begin_unload(model, force=request.force)
    return _unloaded(call, model)


async def _unloaded(call: Call, model: ModelView) -> Reply:
    await call.connection.services.models.unloaded(model)
    return events.ModelUnloaded(request_id=call.request_id, id=model.id)


def metrics(call: Call) -> Reply:
    """The server's figures, for its operators."""
    connection = call.connection
    require_scope(connection, "metrics:read")
    services = connection.services
    uptime = round((asyncio.get_running_loop().time() - services.started_at) * 1000)
    memory = psutil.Process().memory_info()
    registry = services.models
    return events.MetricsReport(
        request_id=call.request_id,
        data=events.MetricsData(
            uptime=uptime,
            system=events.SystemFigures(
                uptime=uptime,
                memory_usage={"rss": memory.rss, "vms": memory.vms},
                connected_clients=sum(c.connection is not None for c in services.clients),
                active_streams=services.answers.active,
                rooms=len(services.rooms),
            ),
            engine={
                "models": {
                    model.id: {
                        "engine": model.engine,
                        "status": model.status.value,
                        "slots": model.slots,
                        "slotsBusy": model.busy,
                        "queued": registry.queued(model),
                    }
                    for model in registry.all()
                }
            },
            totals=dict(services.telemetry.totals()),
        ),
    )


class _ProgressTeller:
    """Sends a load's progress to one connection, not more often than it can be seen."""

    def __init__(self, connection: Connection, request_id: str, model: ModelView) -> None:
        self._connection, self._request_id, self._model = connection, request_id, model
        self._last = 0.0
        self._stage = ""

    def __call__(self, progress: LoadProgress) -> None:
        now = asyncio.get_running_loop().time()
        if progress.stage == self._stage and now - self._last < PROGRESS_EVERY:
            return
        self._last, self._stage = now, progress.stage
        self._connection.send(
            events.ModelLoadProgress(
                request_id=self._request_id,
                id=self._model.id,
                stage=progress.stage,
                progress=round(progress.progress, 4),
                elapsed_time=milliseconds(self._model.load_started_at, now),
                estimated=progress.estimated or None,
                bytes_done=progress.bytes_done,
                bytes_total=progress.bytes_total,
                layers_done=progress.layers_done,
                layers_total=progress.layers_total,
            )
        )


def _describe(model: ModelView, is_default: bool) -> events.ModelDescription:
    info = model.info
    description = model.description or (info.description if info is not None else None)
    if model.reason is not None:
        description = f"Failed: {model.reason}"
    return events.ModelDescription(
        id=model.id,
        name=_name(model),
        type=model.kind,
        status=ModelStatus(model.status.value),
        size=info.size if info is not None else 0,
        capabilities=info.capabilities if info is not None else (),
        context_length=info.context_length if info is not None else 0,
        engine=model.engine,
        replicas=model.replicas,
        slots=model.slots,
        active_streams=model.busy,
        default=is_default,
        description=description,
        reason=model.reason,
    )


def _name(model: ModelView) -> str:
    return model.info.name if model.info is not None else model.id
