"""The example that is made for REST: any table of numbers, by month, by week or without periods."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from modelwire_runners import RunContext, Severity, check_runner, load_runner
from modelwire_runners.invoke import run_predict, run_train, run_validate_train
from modelwire_server.sample_data import SampleOrder, generate_sample

EXAMPLES = Path(__file__).parents[2] / "examples"
runner = load_runner(f"{EXAMPLES / 'disease.py'}:runner")


def predictions(config: dict[str, Any], seen: pd.DataFrame, future: pd.DataFrame) -> pd.DataFrame:
    table = pa.Table.from_pandas(future, preserve_index=False)
    model = run_train(runner, config, pa.Table.from_pandas(seen, preserve_index=False), None, RunContext())
    frame: pd.DataFrame = run_predict(runner, config, model, table.slice(0, 0), table, None, RunContext()).to_pandas()
    return frame


def rmse(predicted: Any, true: Any) -> float:
    return float(((predicted - true) ** 2).mean() ** 0.5)


def test_it_is_sound() -> None:
    seen, unseen = (pa.Table.from_pandas(pd.read_csv(EXAMPLES / "monthly_cases" / f"{name}.csv")) for name in ("seen", "unseen"))
    assert check_runner(runner, seen, unseen) == []


def test_months_that_it_never_saw() -> None:
    seen, unseen = (pd.read_csv(EXAMPLES / "monthly_cases" / f"{name}.csv") for name in ("seen", "unseen"))
    found = predictions({"samples": 100}, seen, unseen.drop(columns="disease_cases"))
    expected = found.filter(like="sample_").mean(axis=1)
    assert rmse(expected, unseen["disease_cases"]) < 0.6 * rmse(seen["disease_cases"].mean(), unseen["disease_cases"])
    assert list(found.columns) == [*unseen.columns.drop("disease_cases"), *(f"sample_{number}" for number in range(100))]


def test_weeks_have_a_season_too() -> None:
    weeks = [f"{year}-W{week:02d}" for year in (2020, 2021, 2022) for week in range(1, 53)]
    cases = np.round(50 + 40 * np.sin(2 * np.pi * np.arange(len(weeks)) / 52))
    seen = pd.DataFrame({"time_period": weeks, "location": "a", "rainfall": 1.0, "disease_cases": cases})
    future = pd.DataFrame({"time_period": ["2023-W14", "2023-W40"], "location": ["a", "new"], "rainfall": 1.0})
    found = predictions({"samples": 100}, seen, future).filter(like="sample_").mean(axis=1)
    assert found[0] > 70
    assert found[1] < 30


@pytest.mark.parametrize("columns", [["rainfall", "mean_temperature", "disease_cases"], ["a", "b", "y"]])
def test_a_few_numbers_without_periods_are_enough(columns: list[str]) -> None:
    seen = pd.DataFrame([[1, 2, 10], [2, 3, 15], [3, 4, None], [4, 5, 22]], columns=columns)
    found = predictions({"samples": 2, "seed": 7}, seen, seen[columns[:2]].head(2))
    assert list(found.columns) == [*columns[:2], "sample_0", "sample_1"]
    assert found.equals(predictions({"samples": 2, "seed": 7}, seen, seen[columns[:2]].head(2)))


@pytest.mark.parametrize("kind", ["monthly", "weekly"])
def test_sample_data_can_be_learned_from(kind: str) -> None:
    order = {"period_type": kind, "seed": 1, "horizon": 6}
    data = generate_sample(SampleOrder(**order), runner.info).frames["data"].to_pandas()
    future = generate_sample(SampleOrder(**order, predict=True), runner.info).frames["future"].to_pandas()
    found = predictions({}, data, future)
    assert len(found) == len(future) == 30
    assert (found["sample_0"] >= 0).all()


@pytest.mark.parametrize(("periods", "codes"), [(11, ["short_history"]), (12, [])])
def test_it_says_when_the_season_cannot_be_learned(periods: int, codes: list[str]) -> None:
    data = generate_sample(SampleOrder(periods=periods), runner.info).frames["data"]
    found = run_validate_train(runner, {}, data, None)
    assert [(one.code, one.severity) for one in found] == [(code, Severity.WARNING) for code in codes]
