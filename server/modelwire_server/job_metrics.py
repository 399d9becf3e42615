"""What jobs and runners measure, for Prometheus: how long jobs take, what runners report, and metrics of runners' own."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import prometheus_client
import structlog
from prometheus_client import Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from .execution.interface import Completed, Executor, Failed, JobSpec, Outcome, Report, StopSignal
from .execution.observations import CUMULATIVE, FILE
from .jobs.model import EventKind, NewEvent

log = structlog.get_logger(__name__)

# Names that the server's own metrics have.
RESERVED = ("modelwire_", "ml_train_jobs", "ml_predict_jobs", "process_", "python_")
# So many reported metrics are kept of a runner, and so many samples of the metrics of all runners.
MOST_REPORTED = 200
MOST_SAMPLES = 10_000
LARGEST_FILE = 4 << 20
_JOB_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)

Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class Family:
    """A metric of a runner's: its samples by name and labels."""

    type: str
    help: str
    samples: dict[Key, float] = field(default_factory=dict)


class JobMetrics(Collector):
    """Collects what this server's jobs measure. Metrics that a runner's module keeps in prometheus_client's own registry are among
    them: those of this process, where predictions are answered, and what jobs, which are other processes, have added to them."""

    def __init__(self) -> None:
        self._seconds = Histogram(
            "modelwire_job_seconds",
            "How long attempts at jobs took.",
            ("kind", "runner", "outcome"),
            buckets=_JOB_BUCKETS,
            registry=None,
        )
        self._reported = Gauge(
            "modelwire_job_metric", "The last value of each metric that jobs reported.", ("runner", "name"), registry=None
        )
        self._names: set[tuple[str, str]] = set()
        self._families: dict[str, Family] = {}

    def collect(self) -> Iterator[Metric]:
        yield from self._seconds.collect()
        yield from self._reported.collect()
        merged = {family.name: _copy(family) for family in _own_families()}
        for name, family in self._families.items():
            if name in merged and merged[name].type == family.type:
                add(merged[name], family.samples)
            else:
                merged[name] = family
        for name, family in merged.items():
            metric = Metric(name, family.help, family.type)
            metric.samples = [Sample(sample, dict(labels), value) for (sample, labels), value in family.samples.items()]
            yield metric

    def reported(self, runner_id: str, events: Sequence[NewEvent]) -> None:
        """Remembers the metrics among the events of a job."""
        for event in events:
            if event.kind is EventKind.METRIC:
                key = (runner_id, str(event.data["name"])[:200])
                if key in self._names or sum(runner == runner_id for runner, _ in self._names) < MOST_REPORTED:
                    self._names.add(key)
                    self._reported.labels(*key).set(float(event.data["value"]))

    def ended(self, spec: JobSpec, outcome: Outcome, seconds: float) -> None:
        """Counts an attempt that took so long."""
        self._seconds.labels(spec.kind, spec.runner_id, outcome_of(outcome)).observe(seconds)

    def observed(self, families: Any) -> None:
        """Adds what the metrics of a runner have seen in a job. What makes no sense is left out: a runner may have written it."""
        for document in families:
            try:
                self._observe(document)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                log.warning("a metric of a job cannot be read", error=str(error))

    def _observe(self, document: dict[str, Any]) -> None:
        name = str(document["name"])
        Metric(name, str(document["help"]), document["type"])  # raises ValueError for names and types that are none
        new: dict[Key, float] = {
            (str(sample), tuple((str(label), str(text)) for label, text in labels.items())): float(value)
            for sample, labels, value in document["samples"]
        }
        if name.startswith(RESERVED) or not all(sample.startswith(name) for sample, _ in new):
            raise ValueError(f"the name {name} is the server's own")
        family = self._families.setdefault(name, Family(document["type"], str(document["help"])))
        if family.type != document["type"] or self._size() + len(new.keys() - family.samples.keys()) > MOST_SAMPLES:
            raise ValueError(f"{name} has another type than before, or too many labels")
        add(family, new)

    def _size(self) -> int:
        return sum(len(family.samples) for family in self._families.values())


class MeasuredExecutor:
    """An Executor that measures what another one does."""

    def __init__(self, executor: Executor, metrics: JobMetrics) -> None:
        self._executor = executor
        self._metrics = metrics

    async def run(self, spec: JobSpec, report: Report, stop: StopSignal) -> Outcome:
        """See Executor.run()."""

        async def measured(events: Sequence[NewEvent]) -> None:
            self._metrics.reported(spec.runner_id, events)
            await report(events)

        start = time.monotonic()
        outcome = await self._executor.run(spec, measured, stop)
        self._metrics.ended(spec, outcome, time.monotonic() - start)
        self._metrics.observed(await asyncio.to_thread(_read, spec.folder / FILE))
        return outcome


def add(family: Family, samples: dict[Key, float]) -> None:
    """Adds to what only grows; all else is as it was seen last."""
    for key, value in samples.items():
        known = family.samples.get(key, 0.0) if family.type in CUMULATIVE else 0.0
        family.samples[key] = known + value


def outcome_of(outcome: Outcome) -> str:
    match outcome:
        case Completed():
            return "completed"
        case Failed():
            return "failed"
        case _:
            return "stopped"


def _own_families() -> list[Metric]:
    """Metrics of runners in this process."""
    try:
        found = list(prometheus_client.REGISTRY.collect())
    except Exception:
        log.warning("a metric of a runner cannot be collected", exc_info=True)
        return []
    return [family for family in found if not family.name.startswith(RESERVED)]


def _copy(metric: Metric) -> Family:
    samples = {(one.name, tuple(one.labels.items())): float(one.value) for one in metric.samples}
    return Family(metric.type, metric.documentation, samples)


def _read(path: Path) -> Any:
    """What a job has left, if anything."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            return []
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []
