"""Series as Prometheus reads them."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from wsserver.core.telemetry import ModelSnapshot, NullTelemetry, Snapshot, Telemetry
from wsserver.observe.labels import MAX_GUESTS
from wsserver.observe.metrics import Metrics
from wsserver.observe.series import MAX_LABEL_SETS, Counter, Histogram


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples of an exposition, parsed by prometheus_client itself."""
    text = metrics.render()[0].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1.2.3")


def test_events_are_counted_under_their_labels(metrics: Metrics) -> None:
    """Each call of the port moves its series, and only that."""
    telemetry: Telemetry = metrics
    telemetry.connection_opened()
    telemetry.connection_closed(4001)
    telemetry.request_ended("stream", "ok")
    telemetry.request_ended("stream", "timeout")
    telemetry.prompt_tokens("demo", 7)
    telemetry.completion_tokens("demo", 3)
    telemetry.completion_tokens("demo", 2)
    telemetry.frame_sent("text", 100)
    telemetry.frame_sent("binary", 20)
    read = samples(metrics)
    assert read["wsserver_connections_total", ()] == 1
    assert read["wsserver_closes_total", (("code", "4001"),)] == 1
    assert read["wsserver_requests_total", (("outcome", "timeout"), ("type", "stream"))] == 1
    assert read["wsserver_tokens_total", (("kind", "completion"), ("model", "demo"))] == 5
    assert read["wsserver_tokens_total", (("kind", "prompt"), ("model", "demo"))] == 7
    assert read["wsserver_sent_bytes_total", ()] == 120
    assert read["wsserver_slow_readers_total", ()] == 0


def test_every_event_of_the_port_is_seen(metrics: Metrics) -> None:
    """No method of the port is a hole: after each, the exposition differs."""
    arguments: dict[str, tuple[object, ...]] = {
        "connection_closed": (1000,),
        "connection_refused": ("full",),
        "request_ended": ("ping", "ok"),
        "stream_ended": ("demo", "stop"),
        "prompt_tokens": ("demo", 1),
        "completion_tokens": ("demo", 1),
        "first_token": ("demo", 0.1),
        "queue_waited": ("demo", 0.1),
        "token_lagged": (0.1,),
        "frame_sent": ("text", 1),
        "resume_answered": ("resumed",),
        "rate_limited": ("requests_per_minute",),
        "model_loaded": ("demo", 1.0),
        "model_load_failed": ("demo",),
        "engine_restarted": ("demo",),
    }
    names = [name for name in vars(NullTelemetry) if not name.startswith("_")]
    own = {key for key in samples(metrics) if key[0].startswith("wsserver_")}
    for name in names:
        if name == "totals":
            continue
        before = {key: value for key, value in samples(metrics).items() if key in own}
        getattr(metrics, name)(*arguments.get(name, ()))
        after = {k: v for k, v in samples(metrics).items() if k[0].startswith("wsserver_")}
        assert after != before, name
        own = set(after)


def test_gauges_are_read_when_asked(metrics: Metrics) -> None:
    """A gauge shows the present state, with nothing counted up and down."""
    model = ModelSnapshot(id="demo", state="ready", streams=3, queued=2, slots=4, slots_busy=3)
    metrics.watch(lambda: Snapshot(connections=9, rooms=1, models=(model,)))
    read = samples(metrics)
    assert read["wsserver_connections_open", ()] == 9
    assert read["wsserver_slots", (("model", "demo"), ("state", "free"))] == 1
    assert read["wsserver_queue_depth", (("model", "demo"),)] == 2
    metrics.watch(lambda: Snapshot(connections=0, rooms=0))
    assert samples(metrics)["wsserver_connections_open", ()] == 0


def test_two_servers_in_one_process_share_nothing() -> None:
    """The registry is the object's own."""
    first, second = Metrics("1"), Metrics("2")
    first.connection_opened()
    assert samples(first)["wsserver_connections_total", ()] == 1
    assert samples(second)["wsserver_connections_total", ()] == 0


def test_exposition_says_its_type(metrics: Metrics) -> None:
    """The content type is the text format's, so that a scraper reads it."""
    assert metrics.render()[1].startswith("text/plain; version=")


def test_totals_have_the_names_of_the_wire(metrics: Metrics) -> None:
    """Sums for the ``metrics`` message are whole numbers under camelCase names."""
    metrics.frame_sent("text", 5)
    metrics.frame_sent("binary", 5)
    assert metrics.totals()["framesSent"] == 2
    assert metrics.totals()["bytesSent"] == 10
    assert all("_" not in name for name in metrics.totals())


def test_histogram_counts_up_to_each_bound() -> None:
    """A value on a bound belongs to it; buckets are cumulated; the last holds all."""
    histogram = Histogram("x_seconds", "Help.", (0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(seconds)
    values = {s.labels.get("le"): s.value for s in histogram.family().samples}
    assert (values["0.1"], values["1.0"], values["+Inf"]) == (2, 3, 4)


def test_labels_are_bounded() -> None:
    """Past the bound new label values share one series, and none is lost."""
    counter = Counter("x", "Help.", ("model",))
    for number in range(MAX_LABEL_SETS + 50):
        counter.add(1, (f"model-{number}",))
    values = {s.labels["model"]: s.value for s in counter.family().samples}
    assert len(values) == MAX_LABEL_SETS + 1
    assert values["other"] == 50
    assert counter.total == MAX_LABEL_SETS + 50


def test_names_that_clients_choose_are_bounded(metrics: Metrics) -> None:
    """The first of them have series of their own, the others share one; an operator's model has
    its own however many came before. Nothing is lost, in counters and in gauges."""
    metrics.name_models(lambda model: model == "ours")
    names = [f"theirs-{number}" for number in range(MAX_GUESTS + 10)]
    for name in (*names, "ours"):
        metrics.completion_tokens(name, 2)
        metrics.first_token(name, 0.1)
    models = tuple(
        ModelSnapshot(id=name, state="ready", streams=3, queued=1, slots=4, slots_busy=2)
        for name in (*names, "ours")
    )
    metrics.watch(lambda: Snapshot(connections=0, rooms=0, models=models))
    read = samples(metrics)

    def of(series: str, model: str, **labels: str) -> float:
        return read[series, tuple(sorted({"model": model, **labels}.items()))]

    for series in ("wsserver_tokens_total", "wsserver_streams_active", "wsserver_model_ready"):
        labels = {"kind": "completion"} if series == "wsserver_tokens_total" else {}
        assert sum(key[0] == series for key in read) == MAX_GUESTS + 2
        assert of(series, "ours", **labels) == of(series, names[0], **labels)
    assert of("wsserver_tokens_total", "other", kind="completion") == 20
    assert of("wsserver_streams_active", "other") == 30
    assert of("wsserver_slots", "other", state="free") == 20
    assert of("wsserver_model_ready", "other") == 1


def test_wrong_number_of_labels_is_an_error() -> None:
    """A call with labels missing is a fault of ours and says so."""
    with pytest.raises(ValueError, match="expected values"):
        Counter("x", "Help.", ("model", "kind")).add(1, ("demo",))
