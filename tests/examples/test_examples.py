from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from modelwire_runners import RunContext, check_runner, load_runner
from modelwire_runners.invoke import run_predict, run_train, run_validate_train

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def frames() -> tuple[pa.Table, pa.Table]:
    load_runner(f"{EXAMPLES / 'diabetes.py'}:runner")
    from diabetes import load_frames

    seen, unseen = load_frames()
    return pa.Table.from_pandas(seen), pa.Table.from_pandas(unseen)


@pytest.mark.parametrize("target", ["diabetes.py:runner", "diabetes_class.py:DiabetesRunner"])
def test_predictions_of_unseen_patients_beat_the_mean(target: str, frames: tuple[pa.Table, pa.Table]) -> None:
    runner = load_runner(f"{EXAMPLES / target}")
    seen, unseen = frames
    assert check_runner(runner, seen, unseen) == []
    model = run_train(runner, {}, seen, None, RunContext())
    predicted = run_predict(runner, {}, model, unseen.slice(0, 0), unseen, None, RunContext()).to_pandas()
    assert rmse(predicted["sample_0"], predicted["target"]) < 0.9 * rmse(seen.to_pandas()["target"].mean(), predicted["target"])


def rmse(predicted: Any, true: Any) -> float:
    return float(((predicted - true) ** 2).mean() ** 0.5)


def test_the_class_example_checks_its_input(frames: tuple[pa.Table, pa.Table]) -> None:
    runner = load_runner(f"{EXAMPLES / 'diabetes_class.py'}:DiabetesRunner")
    seen, _ = frames
    assert run_validate_train(runner, {}, seen, None) == []
    assert [f.code for f in run_validate_train(runner, {}, seen.slice(0, 10), None)] == ["few_rows"]
    assert [f.code for f in run_validate_train(runner, {}, seen.drop_columns(["target"]), None)] == ["target_missing"]
