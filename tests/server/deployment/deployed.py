"""Runners that are deployed in tests: what they predict depends on the order of the features, and some wait for each other."""

import threading
from typing import Any

import numpy as np
import pandas as pd

from modelwire_runners import BaseConfig, FunctionalModelRunner, Predictor, RunnerInfo

TARGET = "kind"
# Predictions of the runner `waiting` that come together go on together.
together = threading.Barrier(4)
let_go = threading.Event()
began = threading.Semaphore(0)


def train(config: BaseConfig, data: pd.DataFrame) -> dict[str, float]:
    return {"mean": float(data["a"].mean())}


def predict_order(config: BaseConfig, model: Any, historic: np.ndarray, future: np.ndarray) -> np.ndarray:
    """Ten times the first feature, and the second: 32 for a=3 and b=2, whatever came first."""
    return 10 * future[:, 0] + future[:, 1]


def predict_kind(config: BaseConfig, model: Any, historic: pd.DataFrame, future: pd.DataFrame) -> pd.DataFrame:
    if (future["a"] < 0).any():
        raise ValueError("a must not be negative")
    good = 1 / (1 + np.exp(-(future["a"] - future["b"])))
    kind = np.where(good > 0.5, "good", "bad")
    return future.assign(kind=kind, probability_good=good, probability_bad=1 - good)


def predict_odds(config: BaseConfig, model: Any, historic: pd.DataFrame, future: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"good": 0.75, "bad": 0.25}, index=future.index)


def predict_waiting(config: BaseConfig, model: Any, historic: pd.DataFrame, future: pd.DataFrame) -> Any:
    if future["a"].iloc[0] == 1:
        together.wait(30)
    if future["a"].iloc[0] == 2:
        began.release()
        let_go.wait(30)
    return future["a"].rename("waited")


def runner(name: str, predict: Any, **options: Any) -> FunctionalModelRunner:
    return FunctionalModelRunner(train, predict, info=RunnerInfo(id=name), **options)


class Customers(Predictor):
    """Knows its features by the customer: they come from a store of features."""

    def __init__(self, **about: Any) -> None:
        self.store = {7: [1.0, 2.0], 8: [3.0, 4.0]}
        super().__init__(None, **about)

    def convert_prediction_input(self, payload: Any) -> Any:
        return np.array([self.store[customer] for customer in payload["customers"]])

    def convert_score_input(self, payload: Any) -> Any:
        return self.convert_prediction_input(payload), np.array(payload["spent"])

    def run_predict(self, x: Any) -> Any:
        return x.sum(axis=1)

    def run_scores(self, x: Any, y: Any) -> Any:
        return float(np.abs(self.run_predict(x) - y).max())


CUSTOMERS = {"type": "object", "properties": {"customers": {"type": "array", "items": {"enum": [7, 8]}}}}

runners = [
    runner("order", predict_order, target_columns=[TARGET], independent_rows=True),
    runner("undeclared", predict_order),
    runner("kinds", predict_kind, target_columns=[TARGET], independent_rows=True),
    runner("odds", predict_odds),
    runner("waiting", predict_waiting),
    runner("scaled", predict_order, target_columns=[TARGET], independent_rows=True, transforms={"a": lambda a: (a - 10) / 5}),
    Customers(
        name="customers",
        predict_schema=CUSTOMERS,
        score_schema=CUSTOMERS,
        test_predict_input={"customers": [7]},
        test_score_input={"customers": [7], "spent": [3]},
    ),
]
