"""The server's Prometheus series, and the `Telemetry` port that fills them.

Names begin with ``wsserver_`` and end in their unit. The registry is this object's own: two servers
in one process (tests) share nothing. Only the event loop calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from wsserver.core.telemetry import (
    FrameKind,
    ModelSnapshot,
    ResumeResult,
    Snapshot,
    SnapshotSource,
)
from wsserver.observe.labels import ModelLabels
from wsserver.observe.series import Counter, Histogram

PREFIX = "wsserver_"

FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds: what should stay below a few milliseconds (loop lag, pauses, the server's own share)."""

SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Seconds: what a model does (first token, queue, load)."""


class Metrics(Collector):
    """Counts the server's events and renders them; implements `Telemetry`."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._labels = ModelLabels()
        self._label = self._labels.of
        self._source: SnapshotSource = lambda: Snapshot(connections=0, rooms=0)
        self._series: list[Counter | Histogram] = []
        self._declare_counters()
        self._declare_histograms()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        self._series.append(counter := Counter(PREFIX + name, help, labels))
        return counter

    def _histogram(
        self, name: str, help: str, bounds: tuple[float, ...], *labels: str
    ) -> Histogram:
        self._series.append(histogram := Histogram(PREFIX + name, help, bounds, labels))
        return histogram

    def _declare_counters(self) -> None:
        counter = self._counter
        self._connections = counter("connections", "WebSocket handshakes that succeeded.")
        self._closes = counter("closes", "Connections gone, by close code.", "code")
        self._refusals = counter("upgrades_refused", "Upgrades answered by HTTP.", "reason")
        self._requests = counter(
            "requests", "Requests that had their terminal event.", "type", "outcome"
        )
        self._ends = counter("stream_ends", "Answers ended, by reason.", "model", "reason")
        self._tokens = counter("tokens", "Tokens read and made by engines.", "model", "kind")
        self._frames = counter("frames_sent", "Messages handed to sockets.", "kind")
        self._bytes = counter("sent_bytes", "Payload bytes handed to sockets.")
        self._slow = counter("slow_readers", "Connections closed with 4001.")
        self._resumes = counter("resumes", "Answers to resume.", "result")
        self._rewinds = counter("rewinds", "stream_rewind events sent.")
        self._limited = counter("rate_limited", "Refusals by a limit.", "limit")
        self._load_failures = counter("model_load_failures", "Loads without a model.", "model")
        self._restarts = counter("engine_restarts", "Child processes started again.", "model")

    def _declare_histograms(self) -> None:
        histogram = self._histogram
        self._first_token = histogram(
            "first_token_seconds", "From acceptance to first text.", SLOW, "model"
        )
        self._queue_wait = histogram(
            "queue_wait_seconds", "From acceptance to a slot.", SLOW, "model"
        )
        self._token_lag = histogram(
            "token_lag_seconds", "From the engine's frame to the socket, pacing included.", FAST
        )
        self._load = histogram("model_load_seconds", "Loads that made a model.", SLOW, "model")
        self._loop_lag = histogram(
            "event_loop_lag_seconds", "Lateness of a timer: how long the loop was busy.", FAST
        )
        self._gc_pause = histogram("gc_pause_seconds", "Pauses of the garbage collector.", FAST)

    def watch(self, source: SnapshotSource) -> None:
        """Read gauges from ``source`` from now on; before it they are zero."""
        self._source = source

    def name_models(self, is_configured: Callable[[str], bool]) -> None:
        """Give a label of its own to each model for which that is true; see `ModelLabels`."""
        self._labels.is_configured = is_configured

    def render(self) -> tuple[bytes, str]:
        """Return the text exposition and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def totals(self) -> Mapping[str, int]:
        return {
            "connections": self._connections.total,
            "requests": self._requests.total,
            "streams": self._ends.total,
            "tokens": self._tokens.total,
            "framesSent": self._frames.total,
            "bytesSent": self._bytes.total,
            "resumes": self._resumes.total,
            "rateLimited": self._limited.total,
            "engineRestarts": self._restarts.total,
        }

    def collect(self) -> Iterator[Metric]:
        """Called by the registry when it renders."""
        info = GaugeMetricFamily(PREFIX + "build_info", "Always 1.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info
        yield from _gauges(self._source(), self._label)
        for series in self._series:
            yield series.family()

    # The port.

    def connection_opened(self) -> None:
        self._connections.add()

    def connection_closed(self, code: int) -> None:
        self._closes.add(1, (str(code),))

    def connection_refused(self, reason: str) -> None:
        self._refusals.add(1, (reason,))

    def request_ended(self, type: str, outcome: str) -> None:
        self._requests.add(1, (type, outcome))

    def stream_ended(self, model: str, reason: str) -> None:
        self._ends.add(1, (self._label(model), reason))

    def prompt_tokens(self, model: str, count: int) -> None:
        self._tokens.add(count, (self._label(model), "prompt"))

    def completion_tokens(self, model: str, count: int) -> None:
        self._tokens.add(count, (self._label(model), "completion"))

    def first_token(self, model: str, seconds: float) -> None:
        self._first_token.observe(seconds, (self._label(model),))

    def queue_waited(self, model: str, seconds: float) -> None:
        self._queue_wait.observe(seconds, (self._label(model),))

    def token_lagged(self, seconds: float) -> None:
        self._token_lag.observe(seconds)

    def frame_sent(self, kind: FrameKind, size: int, count: int = 1) -> None:
        self._frames.add(count, (kind,))
        self._bytes.add(size)

    def slow_reader_closed(self) -> None:
        self._slow.add()

    def resume_answered(self, result: ResumeResult) -> None:
        self._resumes.add(1, (result,))

    def stream_rewound(self) -> None:
        self._rewinds.add()

    def rate_limited(self, limit: str) -> None:
        self._limited.add(1, (limit,))

    def model_loaded(self, model: str, seconds: float) -> None:
        self._load.observe(seconds, (self._label(model),))

    def model_load_failed(self, model: str) -> None:
        self._load_failures.add(1, (self._label(model),))

    def engine_restarted(self, model: str) -> None:
        self._restarts.add(1, (self._label(model),))

    # What the monitors of `wsserver.observe.runtime` report.

    def loop_lagged(self, seconds: float) -> None:
        """The event loop ran a timer ``seconds`` late."""
        self._loop_lag.observe(seconds)

    def gc_paused(self, seconds: float) -> None:
        """A garbage collection took ``seconds``."""
        self._gc_pause.observe(seconds)


def _gauges(snapshot: Snapshot, label: Callable[[str], str]) -> Iterator[Metric]:
    def gauge(name: str, help: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(PREFIX + name, help, labels=labels)

    connections = gauge("connections_open", "WebSocket connections open now.")
    connections.add_metric([], snapshot.connections)
    rooms = gauge("rooms_open", "Rooms that have a log now.")
    rooms.add_metric([], snapshot.rooms)
    streams = gauge("streams_active", "Answers running now.", "model")
    queue = gauge("queue_depth", "Requests waiting for a slot or a load now.", "model")
    slots = gauge("slots", "Places of the engine now.", "model", "state")
    ready = gauge("model_ready", "1 if the model answers now.", "model")
    by_label: dict[str, list[ModelSnapshot]] = {}
    for model in snapshot.models:
        by_label.setdefault(label(model.id), []).append(model)
    for name, models in by_label.items():
        busy = sum(model.slots_busy for model in models)
        streams.add_metric([name], sum(model.streams for model in models))
        queue.add_metric([name], sum(model.queued for model in models))
        slots.add_metric([name, "busy"], busy)
        slots.add_metric([name, "free"], sum(model.slots for model in models) - busy)
        ready.add_metric([name], float(any(model.state == "ready" for model in models)))
    yield from (connections, rooms, streams, queue, slots, ready)
    if snapshot.fleet is not None:
        store = gauge("store_up", "1 if the store that all processes share answers.")
        store.add_metric([], float(snapshot.fleet.store_up))
        workers = gauge("workers", "Workers of the fleet, as far as is known here.")
        workers.add_metric([], snapshot.fleet.workers)
        yield from (store, workers)
