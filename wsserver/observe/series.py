"""Counters and histograms as plain numbers, made into Prometheus families when somebody asks.

prometheus_client's own classes take a lock and look a label up at every call, about a microsecond
that a gateway with 100,000 frames a second does not have. All calls here come from one event loop,
so a dictionary is enough; the library is kept for the exposition, where it matters that the format
is right.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

MAX_LABEL_SETS = 1000
"""Series of one name; past it new label values are counted as "other". A server that loads models
under ever new ids would otherwise grow its metrics without end."""

Labels = tuple[str, ...]


class Counter:
    """Counts that only grow, one per set of label values. ``name`` is without "_total"."""

    def __init__(self, name: str, help: str, label_names: Sequence[str] = ()) -> None:
        self.name = name
        self.help = help
        self.label_names = tuple(label_names)
        self._counts: dict[Labels, int] = {} if label_names else {(): 0}

    def add(self, count: int = 1, labels: Labels = ()) -> None:
        """Count. ``labels`` are values in the order of ``label_names``."""
        try:
            self._counts[labels] += count
        except KeyError:
            labels = _bounded(labels, self.label_names, len(self._counts))
            self._counts[labels] = self._counts.get(labels, 0) + count

    @property
    def total(self) -> int:
        """The sum over all label values."""
        return sum(self._counts.values())

    def family(self) -> Metric:
        family = CounterMetricFamily(self.name, self.help, labels=self.label_names)
        for labels, count in self._counts.items():
            family.add_metric(labels, count)
        return family


class _Buckets:
    __slots__ = ("counts", "sum")

    def __init__(self, size: int) -> None:
        self.counts = [0] * size
        self.sum = 0.0


class Histogram:
    """Seconds, sorted into buckets, one set of buckets per set of label values.

    Histograms and not summaries: quantiles of several servers can't be added up, buckets can.
    """

    def __init__(
        self, name: str, help: str, bounds: Sequence[float], label_names: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.help = help
        self.label_names = tuple(label_names)
        self._bounds = tuple(bounds)
        self._series: dict[Labels, _Buckets] = {}
        if not label_names:
            self._series[()] = _Buckets(len(self._bounds) + 1)

    def observe(self, seconds: float, labels: Labels = ()) -> None:
        """Sort one value in."""
        buckets = self._series.get(labels)
        if buckets is None:
            labels = _bounded(labels, self.label_names, len(self._series))
            buckets = self._series.setdefault(labels, _Buckets(len(self._bounds) + 1))
        buckets.counts[bisect_left(self._bounds, seconds)] += 1
        buckets.sum += seconds

    def family(self) -> Metric:
        family = HistogramMetricFamily(self.name, self.help, labels=self.label_names)
        for labels, buckets in self._series.items():
            family.add_metric(labels, list(self._cumulated(buckets)), buckets.sum)
        return family

    def _cumulated(self, buckets: _Buckets) -> Iterator[tuple[str, float]]:
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), buckets.counts, strict=True):
            total += count
            yield "+Inf" if bound == float("inf") else repr(bound), total


def _bounded(labels: Labels, names: Labels, series: int) -> Labels:
    if len(labels) != len(names):
        raise ValueError(f"expected values for {names}, got {labels}")
    return labels if series < MAX_LABEL_SETS else ("other",) * len(names)
