"""Predictors that do what tests ask of them."""

import os
import threading
from typing import Any

import numpy as np

from modelwire_runners import FunctionalModelRunner, Predictor, RunnerInfo

NUMBERS = {"type": "array", "items": {"type": "number"}}
POINTS = {
    "type": "array",
    "items": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}, "required": ["x", "y"]},
}
ITEMS = {"type": "object", "properties": {"items": {"type": "array", "items": {"properties": {"x": {"type": "integer"}}}}}}
ANYTHING: dict[str, Any] = {}

# What holds predictions up, and what checks wait for.
let_go, let_checks_go = threading.Event(), threading.Event()
began = threading.Semaphore(0)
let_checks_go.set()


class Doubling(Predictor):
    def convert_prediction_input(self, payload: Any) -> Any:
        return np.asarray(payload)

    def convert_score_input(self, payload: Any) -> Any:
        return np.array([one["x"] for one in payload]), np.array([one["y"] for one in payload])

    def run_predict(self, x: Any) -> Any:
        return self.model(x)

    def run_scores(self, x: Any, y: Any) -> Any:
        return {"bias": (self.model(x) - y).mean(), "largest": np.abs(self.model(x) - y).max()}


class Anything(Predictor):
    """Takes any JSON and gives it back; some words make it misbehave."""

    broken = False

    def convert_prediction_input(self, payload: Any) -> Any:
        return payload

    def convert_score_input(self, payload: Any) -> Any:
        return (payload,)

    def run_predict(self, x: Any) -> Any:
        if self.broken or x == "fail":
            raise RuntimeError("it is broken")
        if x == "leave":
            raise SystemExit(3)
        if x == "wait":
            began.release()
            let_go.wait()
        if x == "check":
            let_checks_go.wait()
        return {"nan": float("nan"), "large": 2**70, "deep": deep(100)}.get(x, x) if isinstance(x, str) else x

    def run_scores(self, *converted: Any) -> Any:
        return 0.5


def deep(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


def anything(name: str, schema: dict[str, Any] = ANYTHING, *, trial: Any = None) -> Anything:
    return Anything(None, name=name, predict_schema=schema, score_schema=ANYTHING, test_predict_input=trial, test_score_input=None)


doubling = Doubling(
    lambda x: 2 * x,
    name="doubling",
    version="2.1",
    predict_schema=NUMBERS,
    score_schema=POINTS,
    test_predict_input=[1, 2],
    test_score_input=[{"x": 1, "y": 2}],
)
free = anything("free")
strict = anything("strict", ITEMS, trial={"items": []})
fragile = anything("fragile")
slow = anything("slow", trial="check")
composed = [doubling, free, strict, fragile, slow]
runner = FunctionalModelRunner(
    lambda config, data: len(data),
    lambda config, model, historic, future: future.assign(rows=model),
    info=RunnerInfo(id="counting"),
)
mixed = [free, runner]
twins = [anything("twin"), anything("twin")]


def failing() -> Anything:
    """Cannot be made."""
    return anything("failing", trial="fail")


def failing_elsewhere() -> Anything:
    """Works where it is imported, but not in what is forked there."""
    home = os.getpid()
    predictor = anything("far")
    predictor.run_predict = lambda x: 1 // (os.getpid() == home)  # type: ignore[method-assign]
    return predictor
