"""The sample model as a runner of modelwire's, and slower ones: `waiting` sleeps for 200 ms, `computing` works for 200 ms,
`pausing` sleeps for 10 ms.

Only the training imports scikit-learn: the compiled model is served without it, the model as it was trained brings it along.
"""

import time
from typing import Any

import numpy as np
import pyarrow as pa

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo

TARGET = "target"
SLOW_SECONDS = 0.2
BRIEF_SECONDS = 0.01


def train(config: BaseConfig, data: pa.Table) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.column_stack([data[name].to_numpy() for name in data.column_names if name != TARGET])
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, data[TARGET].to_numpy())


def predict(config: BaseConfig, model: Any, historic: np.ndarray, future: np.ndarray) -> np.ndarray:
    found: np.ndarray = model.predict(future)
    return found


def wait(config: BaseConfig, model: Any, historic: np.ndarray, future: np.ndarray) -> np.ndarray:
    time.sleep(SLOW_SECONDS)
    return predict(config, model, historic, future)


def pause(config: BaseConfig, model: Any, historic: np.ndarray, future: np.ndarray) -> np.ndarray:
    time.sleep(BRIEF_SECONDS)
    return predict(config, model, historic, future)


def compute(config: BaseConfig, model: Any, historic: np.ndarray, future: np.ndarray) -> np.ndarray:
    """Keeps a core busy as a large model does: in compiled code, which lets other threads of Python run."""
    until = time.perf_counter() + SLOW_SECONDS
    numbers = np.random.default_rng(0).normal(size=200_000)
    while time.perf_counter() < until:
        np.sort(numbers)
    return predict(config, model, historic, future)


runner = FunctionalModelRunner(
    on_train=train, on_predict=predict, independent_rows=True, target_columns=[TARGET], info=RunnerInfo(id="sample")
)
waiting = FunctionalModelRunner(on_train=train, on_predict=wait, target_columns=[TARGET], info=RunnerInfo(id="waiting"))
pausing = FunctionalModelRunner(on_train=train, on_predict=pause, target_columns=[TARGET], info=RunnerInfo(id="pausing"))
computing = FunctionalModelRunner(on_train=train, on_predict=compute, target_columns=[TARGET], info=RunnerInfo(id="computing"))
