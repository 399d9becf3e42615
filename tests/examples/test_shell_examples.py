"""The examples of scripts: by hand, and served."""

import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from programs import require, require_r
from pyarrow import csv
from serving import EXAMPLES, ServerProcess

from modelwire import Client
from modelwire.events import LogEvent, MetricEvent, ProgressEvent
from modelwire_runners import check_runner, load_runner

CASES = EXAMPLES / "monthly_cases"
PYTHON = shlex.quote(sys.executable)


@dataclass(frozen=True)
class Example:
    """An example: what to type to run it by hand, and which file it keeps its model in."""

    name: str
    config: str
    train: str
    predict: str
    model: str
    require: Callable[[], None]

    @property
    def target(self) -> str:
        return f"{EXAMPLES / self.name / self.name}.py:runner"


EXAMPLES_OF_SCRIPTS = [
    Example(
        name="shell_r",
        config="features: [rainfall, mean_temperature]\n",
        train="Rscript train.R data.csv",
        predict="Rscript predict.R future.csv predictions.csv",
        model="model.rds",
        require=lambda: require_r("yaml"),
    ),
    Example(
        name="shell_python",
        config="trees: 100\nlearning_rate: 0.05\n",
        train=f"{PYTHON} train.py --data data.csv",
        predict=f"{PYTHON} predict.py --future future.csv --output predictions.csv",
        model="model.pickle",
        require=lambda: require(sys.executable),
    ),
    Example(
        name="shell_node",
        config="ridge: 0.1\n",
        train="node train.mjs data.csv",
        predict="node predict.mjs future.csv predictions.csv",
        model="model.json",
        require=lambda: require("node"),
    ),
]


@pytest.fixture(params=EXAMPLES_OF_SCRIPTS, ids=lambda example: example.name)
def example(request: pytest.FixtureRequest) -> Example:
    found: Example = request.param
    found.require()
    return found


@pytest.fixture(scope="module")
def seen() -> pa.Table:
    return csv.read_csv(CASES / "seen.csv")


@pytest.fixture(scope="module")
def truth() -> list[float]:
    return list(csv.read_csv(CASES / "unseen.csv")["disease_cases"].to_pylist())


@pytest.fixture(scope="module")
def unseen() -> pa.Table:
    """What predictions are made from."""
    return csv.read_csv(CASES / "unseen.csv").drop_columns("disease_cases")


@pytest.fixture
def workspace(tmp_path: Path, example: Example, unseen: pa.Table) -> Path:
    """What a script finds when it is called, made by hand."""
    folder = tmp_path / "workspace"
    shutil.copytree(EXAMPLES / example.name, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "config.yml").write_text(example.config)
    shutil.copy(CASES / "seen.csv", folder / "data.csv")
    csv.write_csv(unseen, folder / "future.csv")
    return folder


def by_hand(command: str, folder: Path, **environment: str) -> str:
    """What a script prints for somebody who calls it in a terminal."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MODELWIRE_")} | environment
    done = subprocess.run(["sh", "-c", command], cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rmse(predicted: list[float], true: list[float]) -> float:
    return math.sqrt(sum((p - t) ** 2 for p, t in zip(predicted, true, strict=True)) / len(true))


def error_of_the_mean(seen: pa.Table, truth: list[float]) -> float:
    cases = [n for n in seen["disease_cases"].to_pylist() if n is not None]
    return rmse([sum(cases) / len(cases)] * len(truth), truth)


def test_the_scripts_work_by_hand(example: Example, workspace: Path, seen: pa.Table, truth: list[float]) -> None:
    assert "180 rows" in by_hand(example.train, workspace)
    assert (workspace / example.model).is_file()
    by_hand(example.predict, workspace)
    predicted = csv.read_csv(workspace / "predictions.csv")["sample_0"].to_pylist()
    assert rmse(predicted, truth) < 0.5 * error_of_the_mean(seen, truth)


def test_what_they_tell_is_json(example: Example, workspace: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    by_hand(example.train, workspace, MODELWIRE_PROGRESS_FILE=str(told))
    reports = [json.loads(line) for line in told.read_text().splitlines()]
    assert [report["progress"] for report in reports if "progress" in report][-1] == 1
    assert all(report["value"] > 0 for report in reports if report.get("metric") == "rmse")


def test_the_runner_keeps_the_contract(example: Example, seen: pa.Table, unseen: pa.Table) -> None:
    assert check_runner(load_runner(example.target), seen, unseen) == []


@pytest.fixture
def client(example: Example, tmp_path: Path) -> Iterator[Client]:
    with ServerProcess(example.target, data_dir=tmp_path / "data") as server, Client(server.target) as client:
        yield client


@pytest.mark.slow
def test_it_trains_and_predicts_through_the_service(
    client: Client, example: Example, seen: pa.Table, unseen: pa.Table, truth: list[float]
) -> None:
    job = client.train(client.configs.create("defaults", {}), seen)
    events = list(job.watch())
    assert any(isinstance(event, LogEvent) and "fitted" in event.text for event in events)
    assert [event.fraction for event in events if isinstance(event, ProgressEvent)][-1] == 1
    assert all(event.value > 0 for event in events if isinstance(event, MetricEvent))
    assert {event.name for event in events if isinstance(event, MetricEvent)} == {"rmse"}

    model = job.wait()
    at_once = model.predict(unseen)
    kept = model.submit_prediction(unseen).wait(timeout=60).frame()
    assert at_once.column_names == [*unseen.column_names, "sample_0"]
    assert at_once.equals(kept)
    assert rmse(at_once["sample_0"].to_pylist(), truth) < 0.5 * error_of_the_mean(seen, truth)
