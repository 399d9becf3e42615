"""Counters and histograms of what happens on the event loop thousands of times per second: those of prometheus_client, which any thread may
use, take a tenth of the time of a prediction."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


class Tally:
    """What was observed under some labels. For one thread."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, amount: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, amount)] += times
        self.total += amount * times


class Tallies(Collector):
    """A histogram by labels."""

    def __init__(
        self, name: str, help: str, labels: Sequence[str], *, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name, self._help, self._labels, self._buckets = name, help, tuple(labels), tuple(buckets)
        self._bounds = [*(str(float(bound)) for bound in buckets), "+Inf"]
        self._tallies: dict[tuple[str, ...], Tally] = {}
        registry.register(self)

    def labels(self, *values: str) -> Tally:
        return self._tallies.get(values) or self._tallies.setdefault(values, Tally(self._buckets))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        for values, tally in list(self._tallies.items()):
            seen, buckets = 0, []
            for bound, count in zip(self._bounds, tally.counts, strict=True):
                seen += count
                buckets.append((bound, seen))
            family.add_metric(values, buckets, tally.total)
        yield family


class Count:
    """How often something has happened under some labels, or is the case. For one thread."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Counts(Collector):
    """A counter by labels, or a gauge where `goes_down`."""

    def __init__(
        self, name: str, help: str, labels: Sequence[str], *, registry: CollectorRegistry, goes_down: bool = False
    ) -> None:
        self._name, self._help, self._labels = name, help, tuple(labels)
        self._family = GaugeMetricFamily if goes_down else CounterMetricFamily
        self._counts: dict[tuple[str, ...], Count] = {}
        registry.register(self)

    def labels(self, *values: str) -> Count:
        return self._counts.get(values) or self._counts.setdefault(values, Count())

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        family = self._family(self._name, self._help, labels=self._labels)
        for values, count in list(self._counts.items()):
            family.add_metric(values, count.value)
        yield family
