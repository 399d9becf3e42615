"""The metrics of several processes as those of one server."""

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Sample

Families = Sequence[Metric]

# What only grows, and stays counted when the process that counted it has ended.
LASTING = ("counter", "histogram", "summary")
# What makes no sense as a sum. All else does: calls under way, bytes of memory, open files.
_TOGETHER: dict[str, Callable[[float, float], float]] = {
    "process_start_time_seconds": min,
    "process_max_fds": min,
    "python_info": max,
}


class _Fixed(Collector):
    def __init__(self, families: Families) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def text_of(families: Families) -> bytes:
    """The families as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fixed(families))
    return generate_latest(registry)


def packed(families: Families) -> bytes:
    """For another process of this server."""
    return pickle.dumps(list(families))


def unpacked(content: bytes) -> Families:
    """What packed() made."""
    families: Families = pickle.loads(content)
    return families


def lasting(families: Families) -> Families:
    """Those that count on."""
    return [family for family in families if family.type in LASTING]


def merged(pages: Iterable[Families]) -> Families:
    """The same families once, each sample the sum of those of the same name and labels. A family that has another type elsewhere stays
    as it was met first."""
    families: dict[str, Metric] = {}
    samples: dict[str, dict[tuple[str, frozenset[tuple[str, str]]], Sample]] = {}
    for family in (family for page in pages for family in page):
        known = families.setdefault(family.name, family)
        if known.type == family.type:
            _add(samples.setdefault(family.name, {}), family)
    return [_with_samples(family, samples[name].values()) for name, family in families.items()]


def _add(samples: dict[tuple[str, frozenset[tuple[str, str]]], Sample], family: Metric) -> None:
    for sample in family.samples:
        key = (sample.name, frozenset(sample.labels.items()))
        known = samples.get(key)
        samples[key] = sample if known is None else known._replace(value=_together(sample.name, known.value, sample.value))


def _together(name: str, one: float, other: float) -> float:
    if name.endswith("_created"):
        return min(one, other)
    combine = _TOGETHER.get(name)
    return one + other if combine is None else combine(one, other)


def _with_samples(family: Metric, samples: Iterable[Sample]) -> Metric:
    metric = Metric(family.name, family.documentation, family.type, family.unit)
    metric.samples = list(samples)
    return metric
