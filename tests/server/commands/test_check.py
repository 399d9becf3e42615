"""Checking a runner."""

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
