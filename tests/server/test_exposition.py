"""The metrics of several processes as those of one server."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from modelwire_server.exposition import lasting, merged, packed, text_of, unpacked


def families(calls: float, *seconds: float, label: str = "a") -> list[Metric]:
    """What a process has measured."""
    registry = CollectorRegistry()
    Counter("calls", "Calls.", ("by",), registry=registry).labels(label).inc(calls)
    Gauge("under_way", "Calls under way.", registry=registry).set(calls)
    Gauge("process_start_time_seconds", "When it began.", registry=registry).set(1000 + calls)
    histogram = Histogram("took", "How long.", buckets=(1, 2), registry=registry)
    for one in seconds:
        histogram.observe(one)
    return list(registry.collect())


def samples(text: bytes) -> dict[str, float]:
    found = text_string_to_metric_families(text.decode())
    return {"/".join([sample.name, *sample.labels.values()]): sample.value for family in found for sample in family.samples}


def test_the_sum_of_all() -> None:
    found = samples(text_of(merged([families(1, 0.5), families(2, 0.5, 1.5), families(4, label="b")])))
    assert (found["calls_total/a"], found["calls_total/b"]) == (3, 4)
    assert found["under_way"] == 7
    assert (found["took_bucket/1.0"], found["took_bucket/2.0"], found["took_bucket/+Inf"]) == (2, 3, 3)
    assert (found["took_count"], found["took_sum"]) == (3, 2.5)
    assert found["process_start_time_seconds"] == 1001


def test_one_process_is_shown_as_it_is() -> None:
    registry = CollectorRegistry()
    Counter("calls", "Calls.", ("by",), registry=registry).labels("a").inc()
    own = list(registry.collect())
    assert samples(text_of(merged([own]))) == samples(text_of(own))
    shown = text_of(merged([own])).decode().splitlines()
    assert shown[:3] == ["# HELP calls_total Calls.", "# TYPE calls_total counter", 'calls_total{by="a"} 1.0']


def test_what_only_grows_outlives_its_process() -> None:
    kept = unpacked(packed(lasting(families(1, 0.5))))
    found = samples(text_of(merged([families(2), kept])))
    assert (found["calls_total/a"], found["took_count"], found["under_way"]) == (3, 1, 2)


def test_families_of_one_name_and_two_types_are_not_mixed() -> None:
    other = CollectorRegistry()
    Gauge("took", "Something else.", registry=other).set(100)
    (found,) = [family for family in merged([families(1, 0.5), list(other.collect())]) if family.name == "took"]
    assert found.type == "histogram"
    assert {sample.value for sample in found.samples if sample.name == "took_count"} == {1}


@pytest.mark.parametrize("pages", [[], [[]]])
def test_nothing(pages: list[list[Metric]]) -> None:
    assert merged(pages) == []
