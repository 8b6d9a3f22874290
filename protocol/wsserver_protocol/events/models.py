"""Events about models, and the server's figures."""

from __future__ import annotations

from typing import Any

from wsserver_protocol.events.base import Failure, Part, ServerMessage
from wsserver_protocol.fields import ModelStatus


class ModelSummary(Part, frozen=True, kw_only=True):
    """A model in short.

    Attributes:
        id: Its id.
        name: Its name.
        type: Kind of its weights, such as ``gguf`` or ``synthetic``.
        status: Where it stands.
    """

    id: str
    name: str
    type: str
    status: ModelStatus


class ModelDescription(ModelSummary, frozen=True, kw_only=True):
    """A model.

    Attributes:
        size: Bytes of its weights.
        capabilities: What it can do, such as ``chat`` or ``json_schema``.
        context_length: Most tokens of input and answer together.
        engine: The engine that runs it.
        replicas: How many copies of it run.
        slots: How many answers it works on at once, over all copies.
        active_streams: How many it works on now.
        default: Whether it answers requests that name none.
        description: What it is, for people.
        reason: Why it failed, for people.
    """

    size: int
    capabilities: tuple[str, ...]
    context_length: int
    engine: str
    replicas: int
    slots: int
    active_streams: int
    default: bool
    description: str | None = None
    reason: str | None = None


class ModelsList(ServerMessage, frozen=True, kw_only=True, tag="models_list"):
    """Answer to ``models``.

    Attributes:
        models: All models that the server knows.
    """

    models: tuple[ModelDescription, ...]


class ModelLoadProgress(ServerMessage, frozen=True, kw_only=True, tag="model_load_progress"):
    """How far the loading of a model is.

    Attributes:
        id: Id of the model.
        stage: What goes on, for people.
        progress: 0 to 1.
        elapsed_time: Milliseconds since the load was asked for.
        estimated: True: the figures are inferred, since the engine can't tell them.
        bytes_done: Bytes of the weights that are loaded, where that is known.
        bytes_total: Bytes of the weights.
        layers_done: Layers that are loaded, where the engine tells them.
        layers_total: Layers of the model.
    """

    id: str
    stage: str
    progress: float
    elapsed_time: int | None = None
    estimated: bool | None = None
    bytes_done: int | None = None
    bytes_total: int | None = None
    layers_done: int | None = None
    layers_total: int | None = None


class ModelLoaded(ServerMessage, frozen=True, kw_only=True, tag="model_loaded"):
    """Ends a ``load_model``.

    Attributes:
        model: The model.
    """

    model: ModelSummary


class ModelLoadFailed(Failure, frozen=True, kw_only=True, tag="model_load_error"):
    """Ends a ``load_model`` that was refused or failed.

    Attributes:
        id: Id of the model, if it came to have one.
    """

    id: str | None = None


class ModelUnloaded(ServerMessage, frozen=True, kw_only=True, tag="model_unloaded"):
    """Answer to ``unload_model``.

    Attributes:
        id: Id of the model.
    """

    id: str


class SystemFigures(Part, frozen=True, kw_only=True):
    """The server as a process.

    Attributes:
        uptime: Milliseconds since its start.
        memory_usage: Bytes, by kind; ``rss`` at least.
        connected_clients: Connections now.
        active_streams: Answers being made now.
        rooms: Rooms that have members.
    """

    uptime: int
    memory_usage: dict[str, int]
    connected_clients: int
    active_streams: int
    rooms: int


class MetricsData(Part, frozen=True, kw_only=True):
    """The server's figures.

    Attributes:
        uptime: Milliseconds since its start.
        system: The server as a process.
        engine: Figures of the engines.
        totals: Sums since its start.
    """

    uptime: int
    system: SystemFigures
    engine: dict[str, Any]
    totals: dict[str, Any]


class MetricsReport(ServerMessage, frozen=True, kw_only=True, tag="metrics"):
    """Answer to ``metrics``.

    Attributes:
        data: The figures.
    """

    data: MetricsData
