"""Checking a runner, or predictors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Modelwire = Callable[..., Any]


RUNNERS = """
import threading

from modelwire_runners import BaseModelRunner, FunctionalModelRunner, RunnerInfo

def train(config, data): return float(data["rainfall"].mean())
def predict(config, model, historic, future): return future.assign(sample_0=model)

good = FunctionalModelRunner(train, predict, info=RunnerInfo(id="good"))
short = FunctionalModelRunner(train, lambda config, model, historic, future: future.head(1), info=RunnerInfo(id="short"))
unstorable = FunctionalModelRunner(lambda config, data: threading.Lock(), predict, info=RunnerInfo(id="unstorable"))
"""


@pytest.fixture
def runners(tmp_path: Path) -> str:
    (tmp_path / "runners.py").write_text(RUNNERS)
    (tmp_path / "train.csv").write_text("rainfall\n1\n3\n")
    return "runners.py"


def test_nothing_is_wrong(modelwire: Modelwire, runners: str) -> None:
    assert modelwire("check", f"{runners}:good").stdout == "ok  good 1.0.0: nothing is wrong\n"
    assert modelwire("check", f"{runners}:good", "--sample").returncode == 0
    assert modelwire("check", f"{runners}:good", "--data", "train.csv", "--future", "train.csv").returncode == 0


def test_what_is_wrong(modelwire: Modelwire, runners: str) -> None:
    assert modelwire("check", f"{runners}:short").returncode == 0
    found = modelwire("check", f"{runners}:short", "--sample", exits=1).stdout
    assert "on_predict" in found
    document = json.loads(modelwire("check", f"{runners}:unstorable", "--data", "train.csv", "--json", exits=1).stdout)
    assert document["runner"] == "unstorable"
    assert [finding["code"] for finding in document["findings"]] == ["model_not_serializable"]


def test_data_that_does_not_fit(modelwire: Modelwire, runners: str, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("x\n1\n")
    assert "KeyError" in modelwire("check", f"{runners}:good", "--data", "other.csv", exits=1).stdout


def test_wrong_use(modelwire: Modelwire, runners: str) -> None:
    assert "runners found there: good, short, unstorable" in modelwire("check", f"{runners}:none", exits=2).stderr
    assert "--data" in modelwire("check", f"{runners}:good", "--future", "train.csv", exits=2).stderr
    assert "--sample" in modelwire("check", f"{runners}:good", "--sample", "--data", "train.csv", exits=2).stderr


PREDICTORS = """
from modelwire_runners import Predictor

class Echo(Predictor):
    def convert_prediction_input(self, payload): return payload
    def convert_score_input(self, payload): return payload
    def run_predict(self, x): return self.model(x)
    def run_scores(self, x): return 1

def echo(name, model, **changed):
    inputs = {"predict_schema": {}, "score_schema": {}, "test_predict_input": 1, "test_score_input": 1} | changed
    return Echo(model, name=name, **inputs)

good = echo("good", lambda x: x)
broken = echo("broken", lambda x: 1 / 0)
both = [good, broken]

def misfit():
    return echo("misfit", lambda x: x, predict_schema={"type": "string"})
"""


@pytest.fixture
def predictors(tmp_path: Path) -> str:
    (tmp_path / "some_predictors.py").write_text(PREDICTORS)
    return "some_predictors.py"


def test_predictors_are_checked_with_their_test_inputs(modelwire: Modelwire, predictors: str) -> None:
    assert modelwire("check", f"{predictors}:good").stdout == "ok  good v1: nothing is wrong\n"
    told = modelwire("check", f"{predictors}:both", exits=1).stdout
    assert "ok  good v1: nothing is wrong" in told
    assert "self_test" in told
    first, second = json.loads(modelwire("check", f"{predictors}:both", "--json", exits=1).stdout)
    assert (first["findings"], second["runner"]) == ([], "broken")
    assert "ZeroDivisionError" in second["findings"][0]["message"]


def test_a_predictor_that_does_not_fit_its_schema_cannot_be_checked(modelwire: Modelwire, predictors: str) -> None:
    assert "does not fit its schema: 1 is not of type 'string'" in modelwire("check", f"{predictors}:misfit", exits=2).stderr


def test_a_predictor_that_does_not_work_is_not_served(modelwire: Modelwire, predictors: str) -> None:
    free = ("--grpc-port=0", "--http-port=0")
    stderr = modelwire("serve", f"{predictors}:good", *free, exits=2).stderr
    assert "the predictor `broken` fails its self-test at predict: ZeroDivisionError: division by zero" in stderr
