"""What Prometheus reads."""

import asyncio

from prometheus_client.parser import text_string_to_metric_families

from modelwire_server.artifacts.blobs.interface import Usage
from modelwire_server.metrics import ServerMetrics
from modelwire_server.upkeep.rounds import Stored


def samples(metrics: ServerMetrics) -> dict[tuple[str, tuple[str, ...]], float]:
    text = asyncio.run(metrics.text()).decode()
    families = text_string_to_metric_families(text)
    return {(one.name, tuple(one.labels.values())): one.value for family in families for one in family.samples}


def test_jobs_are_counted_by_state_at_each_scrape() -> None:
    metrics, counts = ServerMetrics(), {"pending": 2, "running": 0}

    async def read() -> dict[str, int]:
        return counts

    metrics.jobs_from(read)
    assert samples(metrics)["modelwire_jobs", ("pending",)] == 2
    counts["pending"] = 5
    assert samples(metrics)["modelwire_jobs", ("pending",)] == 5
    assert samples(metrics)["modelwire_jobs", ("running",)] == 0


def test_gauges_of_others() -> None:
    metrics, size = ServerMetrics(), [7.0]
    metrics.gauge_from("models_bytes", "Size of the models in memory.", lambda: size[0])
    assert samples(metrics)["modelwire_models_bytes", ()] == 7
    size[0] = 8
    assert samples(metrics)["modelwire_models_bytes", ()] == 8


def test_what_is_stored_is_told_by_type() -> None:
    metrics = ServerMetrics()

    async def read() -> Stored:
        return Stored({"ml_training": Usage(2, 30), "other": Usage(1, 7)}, blobs=Usage(3, 37))

    metrics.stored_from(read)
    found = samples(metrics)
    assert found["modelwire_artifacts", ("ml_training",)] == 2
    assert found["modelwire_artifact_bytes", ("other",)] == 7
    assert (found["modelwire_blobs", ()], found["modelwire_blob_bytes", ()]) == (3, 37)


def test_two_servers_count_apart() -> None:
    first, second = ServerMetrics(), ServerMetrics()
    first.train_jobs.inc()
    assert samples(first)["ml_train_jobs_total", ()] == 1
    assert samples(second)["ml_train_jobs_total", ()] == 0


def test_the_names_that_dashboards_know() -> None:
    names = {name for name, _ in samples(ServerMetrics())}
    assert {"ml_train_jobs_total", "ml_predict_jobs_total", "modelwire_predict_seconds_count", "process_cpu_seconds_total"} <= names
