"""What is counted and measured, for Prometheus. Labels come from the contract and from the server, never from callers."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from .inference.predictor import Predicted
from .tallies import Counts, Tallies, Tally
from .upkeep.rounds import Stored

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
# What the label `model` is of those that are not told apart.
OTHER = "other"
_PREDICT_BUCKETS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
_CALL_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class MetricsText(Protocol):
    """What is shown on the page of metrics."""

    async def text(self) -> bytes:
        """All metrics, as Prometheus reads them."""


class ServerMetrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self, told_models: int = 20) -> None:
        """Metrics tell apart so many models, the first ones that predict; further ones are `other` together."""
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        call = ("service", "method")
        self.calls_started = Counts("modelwire_calls_started", "Calls that began.", call, registry=registry)
        self.calls_handled = Counts(
            "modelwire_calls_handled", "Calls that ended, by status code.", (*call, "code"), registry=registry
        )
        self.calls_in_flight = Counts("modelwire_calls_in_flight", "Calls under way.", call, registry=registry, goes_down=True)
        self.call_seconds = Tallies(
            "modelwire_call_seconds", "How long calls took.", call, buckets=_CALL_BUCKETS, registry=registry
        )
        self._predict_seconds = Tallies(
            "modelwire_predict_seconds",
            "How long synchronous predictions took, without reading and writing frames.",
            (),
            buckets=_CALL_BUCKETS,
            registry=registry,
        ).labels()
        self._predict_queue = _of_models("queue_seconds", "How long predictions waited for their turn with the model.", registry)
        self._predict_compute = _of_models("compute_seconds", "How long models computed predictions.", registry)
        self._predict_total = _of_models("total_seconds", "How long predictions took, from request to answer.", registry)
        self._told_models = told_models
        self._of_models: dict[tuple[str, str], tuple[Tally, Tally, Tally]] = {}
        self.model_load_seconds = Histogram(
            "modelwire_model_load_seconds",
            "How long it took to load models into memory.",
            buckets=_CALL_BUCKETS,
            registry=registry,
        )
        self.train_jobs = Counter("ml_train_jobs", "Training jobs that were accepted.", registry=registry)
        self.predict_jobs = Counter("ml_predict_jobs", "Prediction jobs that were accepted.", registry=registry)
        self._jobs = Gauge("modelwire_jobs", "Jobs by state.", ("status",), registry=registry)
        self._job_counts: Callable[[], Awaitable[Mapping[str, int]]] | None = None
        self._artifacts = Gauge("modelwire_artifacts", "Artifacts by type.", ("type",), registry=registry)
        self._artifact_bytes = Gauge(
            "modelwire_artifact_bytes", "Size of the artifacts' content by type.", ("type",), registry=registry
        )
        self._blobs = Gauge("modelwire_blobs", "Stored pieces of content; equal ones count once.", registry=registry)
        self._blob_bytes = Gauge("modelwire_blob_bytes", "Size of the stored content.", registry=registry)
        self._stored: Callable[[], Awaitable[Stored]] | None = None

    def predicted(self, predicted: Predicted, total_seconds: float, times: int = 1) -> None:
        """Takes note of a prediction that was answered, or of so many that are one to the model."""
        key = (predicted.model_id, predicted.engine)
        queue, compute, total = self._of_models.get(key) or self._histograms(*key)
        queue.observe(predicted.queue_seconds, times)
        compute.observe(predicted.compute_seconds, times)
        total.observe(total_seconds, times)
        self._predict_seconds.observe(predicted.queue_seconds + predicted.compute_seconds, times)

    def _histograms(self, model: str, engine: str) -> tuple[Tally, Tally, Tally]:
        known = {model for model, _ in self._of_models}
        if model not in known and len(known - {OTHER}) >= self._told_models:
            model = OTHER
        labels = (model, engine)
        found = self._predict_queue.labels(*labels), self._predict_compute.labels(*labels), self._predict_total.labels(*labels)
        return self._of_models.setdefault(labels, found)

    def jobs_from(self, counts: Callable[[], Awaitable[Mapping[str, int]]]) -> None:
        """Reads the number of jobs in each state from `counts`, once per scrape."""
        self._job_counts = counts

    def stored_from(self, stored: Callable[[], Awaitable[Stored]]) -> None:
        """Reads how much is stored from `stored`, once per scrape."""
        self._stored = stored

    def gauge_from(self, name: str, help: str, value: Callable[[], float]) -> None:
        """Adds a gauge `modelwire_<name>` that is read at each scrape: bytes of loaded models, predictions that wait."""
        Gauge(f"modelwire_{name}", help, registry=self.registry).set_function(value)

    async def text(self) -> bytes:
        """All metrics, as Prometheus reads them."""
        await self._look()
        return generate_latest(self.registry)

    async def families(self) -> list[Metric]:
        """All metrics, to be shown with those of others."""
        await self._look()
        return list(self.registry.collect())

    async def _look(self) -> None:
        if self._job_counts is not None:
            for status, count in (await self._job_counts()).items():
                self._jobs.labels(str(status)).set(count)
        if self._stored is not None:
            self._show_stored(await self._stored())

    def _show_stored(self, stored: Stored) -> None:
        for name, usage in stored.artifacts.items():
            self._artifacts.labels(name).set(usage.count)
            self._artifact_bytes.labels(name).set(usage.bytes)
        self._blobs.set(stored.blobs.count)
        self._blob_bytes.set(stored.blobs.bytes)


def _of_models(name: str, help: str, registry: CollectorRegistry) -> Tallies:
    return Tallies(f"modelwire_predict_{name}", help, ("model", "engine"), buckets=_PREDICT_BUCKETS, registry=registry)
