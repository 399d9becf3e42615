"""Counters and histograms for the event loop say what those of prometheus_client say."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from modelwire_server.tallies import Counts, Tallies

BUCKETS = (0.00005, 0.001, 0.25, 1, 60)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([0.0, *BUCKETS, 0.0009, 0.3, 100.0]))))
def test_tallies_are_shown_as_histograms_are(observed: list[tuple[str, float]]) -> None:
    own, theirs = CollectorRegistry(), CollectorRegistry()
    tallies = Tallies("some_seconds", "How long.", ("name",), buckets=BUCKETS, registry=own)
    histogram = Histogram("some_seconds", "How long.", ("name",), buckets=BUCKETS, registry=theirs)
    for name, seconds in observed:
        tallies.labels(name).observe(seconds)
        histogram.labels(name).observe(seconds)
    expected = [line for line in generate_latest(theirs).decode().splitlines() if "_created" not in line]
    assert generate_latest(own).decode().splitlines() == expected


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([1, 2, -1]))), st.booleans())
def test_counts_are_shown_as_counters_and_gauges_are(counted: list[tuple[str, int]], goes_down: bool) -> None:
    own, theirs = CollectorRegistry(), CollectorRegistry()
    counts = Counts("some_things", "How many.", ("name",), registry=own, goes_down=goes_down)
    metric = (Gauge if goes_down else Counter)("some_things", "How many.", ("name",), registry=theirs)
    for name, amount in counted:
        more = amount if goes_down else abs(amount)
        counts.labels(name).value += more
        metric.labels(name).inc(more)
    expected = [line for line in generate_latest(theirs).decode().splitlines() if "_created" not in line]
    assert generate_latest(own).decode().splitlines() == expected
