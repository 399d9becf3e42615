"""What jobs measure, as the server adds it up."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from modelwire_server.clock import now
from modelwire_server.execution.observations import FILE, observed
from modelwire_server.job_metrics import MOST_REPORTED, JobMetrics
from modelwire_server.jobs.model import EventKind, NewEvent

HIT = ["hits_total", {}, 1.0]


@pytest.fixture
def counter() -> Iterator[prometheus_client.Counter]:
    """A counter as a runner's module makes one, in the registry that all modules share."""
    made = prometheus_client.Counter("runner_hits", "Hits.", ("where",))
    yield made
    prometheus_client.REGISTRY.unregister(made)


def text_of(metrics: JobMetrics) -> list[str]:
    registry = CollectorRegistry()
    registry.register(metrics)
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#") and "_created" not in line]


def test_what_was_added_during_the_work_is_kept(tmp_path: Path, counter: prometheus_client.Counter) -> None:
    counter.labels("here").inc(5)
    with observed(tmp_path):
        counter.labels("here").inc(2)
        counter.labels("there").inc()
    (family,) = json.loads((tmp_path / FILE).read_text())
    samples = [["runner_hits_total", {"where": "here"}, 2.0], ["runner_hits_total", {"where": "there"}, 1.0]]
    assert family == {"name": "runner_hits", "type": "counter", "help": "Hits.", "samples": samples}


def test_it_is_kept_of_work_that_fails(tmp_path: Path, counter: prometheus_client.Counter) -> None:
    def work() -> None:
        with observed(tmp_path):
            counter.labels("here").inc()
            raise ValueError("told to")

    with pytest.raises(ValueError, match="told to"):
        work()
    assert (tmp_path / FILE).exists()


def test_nothing_is_written_of_work_that_adds_nothing(tmp_path: Path, counter: prometheus_client.Counter) -> None:
    counter.labels("here").inc()
    with observed(tmp_path):
        pass
    assert not (tmp_path / FILE).exists()


def test_jobs_add_to_what_the_server_counts_itself(counter: prometheus_client.Counter) -> None:
    metrics = JobMetrics()
    counter.labels("here").inc()
    job = {"name": "runner_hits", "type": "counter", "help": "Hits.", "samples": [["runner_hits_total", {"where": "here"}, 2.0]]}
    metrics.observed([job, job])
    assert text_of(metrics) == ['runner_hits_total{where="here"} 5.0']
    assert text_of(metrics) == ['runner_hits_total{where="here"} 5.0']


def test_of_a_gauge_the_last_value_counts() -> None:
    metrics = JobMetrics()
    for value in (4.0, 3.0):
        metrics.observed([{"name": "size", "type": "gauge", "help": "", "samples": [["size", {}, value]]}])
    assert text_of(metrics) == ["size 3.0"]


@pytest.mark.parametrize(
    "nonsense",
    [
        17,
        {},
        {"name": "hits", "type": "counter", "help": "", "samples": 1},
        {"name": "hits", "type": "marvel", "help": "", "samples": [HIT]},
        {"name": "no name\n", "type": "counter", "help": "", "samples": [HIT]},
        {"name": "hits", "type": "counter", "help": "", "samples": [["other", {}, 1.0]]},
        {"name": "hits", "type": "counter", "help": "", "samples": [["hits_total", {}, "many"]]},
        {"name": "modelwire_jobs", "type": "gauge", "help": "", "samples": [["modelwire_jobs", {}, 1.0]]},
        {"name": "hits", "type": "gauge", "help": "", "samples": [["hits", {"n": str(n)}, 1.0] for n in range(10_001)]},
    ],
)
def test_what_makes_no_sense_is_left_out(nonsense: Any) -> None:
    metrics = JobMetrics()
    metrics.observed([nonsense, {"name": "good", "type": "counter", "help": "", "samples": [["good_total", {}, 1.0]]}])
    assert text_of(metrics) == ["good_total 1.0"]


def test_the_number_of_reported_metrics_is_bounded() -> None:
    metrics = JobMetrics()
    events = [NewEvent(EventKind.METRIC, {"name": f"m{n}", "value": n}, now()) for n in range(MOST_REPORTED + 50)]
    metrics.reported("runner", events)
    metrics.reported("runner", [NewEvent(EventKind.METRIC, {"name": "m0", "value": 7.0}, now())])
    lines = text_of(metrics)
    assert len(lines) == MOST_REPORTED
    assert 'modelwire_job_metric{name="m0",runner="runner"} 7.0' in lines
