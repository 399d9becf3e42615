"""What Prometheus is told of jobs, and of what runners measure by themselves."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving import RUNNERS, ServerProcess

from modelwire import Client, JobFailed

ROWS = {"x": [1.0, 2.0, 3.0]}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(f"{RUNNERS / 'measured.py'}:runner", data_dir=tmp_path_factory.mktemp("data")) as server:
        yield server


def samples(server: ServerProcess) -> dict[str, float]:
    """All that /metrics says, by name and labels as they stand there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/metrics") as answer:
        text = answer.read().decode()
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_metrics_of_runners_and_jobs(measured: ServerProcess, tmp_path: Path) -> None:
    with Client(measured.target) as client:
        before = samples(measured)
        assert before["model_training_seconds_count"] == 0
        config = client.configs.create("test", {})
        model = client.train(config, ROWS).wait()
        client.train(config, {"x": [1.0]}).wait()
        client.predict(model, {"x": [1.0, 2.0]})
        client.predict(model, {"x": [1.0]})
        with pytest.raises(JobFailed):
            client.train(config, {"fail": [1.0, 2.0]}).wait()
    found = samples(measured)
    assert (found["model_training_seconds_count"], found["model_training_seconds_sum"]) == (3, 15)
    buckets = [found[f"model_training_seconds_bucket{{le={bound}}}"] for bound in ("1.0", "10.0", "+Inf")]
    assert buckets == [0, 3, 3]
    # In jobs, and in the server's own process.
    assert (found["model_rows_total{work=train}"], found["model_rows_total{work=predict}"]) == (6, 3)
    assert found["model_size"] == 2
    assert found["model_late_total"] == 3
    assert found["modelwire_job_metric{name=rmse,runner=measured}"] == 2.5
    assert found["modelwire_job_seconds_count{kind=train,outcome=completed,runner=measured}"] == 2
    assert found["modelwire_job_seconds_count{kind=train,outcome=failed,runner=measured}"] == 1
    assert found["ml_train_jobs_total"] == 3
    assert sum(value for name, value in found.items() if name.startswith("modelwire_calls_started_total")) < 1000
