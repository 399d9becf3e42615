"""Runners that take arrays, and what their functions were given."""

import threading
import time
from typing import Any

import numpy as np
import pyarrow as pa

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo


class Seen:
    """The rows and the thread of each call. While the gate is closed, calls do not end; each that begins is let in."""

    def __init__(self) -> None:
        self.calls: list[list[float]] = []
        self.threads: list[str] = []
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.gate.set()


# One for each model, which is its name.
seen: dict[str, Seen] = {}


def train(config: BaseConfig, data: Any) -> Any:
    raise NotImplementedError("jobs are not run here")


def predict(config: BaseConfig, model: str, historic: np.ndarray, future: np.ndarray) -> np.ndarray:
    """Ten times the first column. NaN is an error, negative numbers take a while."""
    notes = seen[model]
    notes.calls.append(future[:, 0].tolist())
    notes.threads.append(threading.current_thread().name)
    notes.begun.release()
    assert notes.gate.wait(30)
    assert historic.shape == (0, future.shape[1])
    if np.isnan(future).any():
        raise ValueError("not a number")
    if (future < 0).any():
        time.sleep(0.02)  # so slow that it has no place on the event loop
    return 10 * future[:, 0]


def predict_table(config: BaseConfig, model: str, historic: pa.Table, future: pa.Table) -> pa.Table:
    """What the numbers of a column of text are."""
    seen[model].calls.append(future.column("x").to_pylist())
    seen[model].begun.release()
    assert seen[model].gate.wait(30)
    return pa.table({"y": [float(text) for text in future.column("x").to_pylist()], "text": future.column("x")})


class AtOnce:
    """How many calls compute at once, and how many did at most."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


at_once = AtOnce()


def compute(config: BaseConfig, model: str, historic: np.ndarray, future: np.ndarray) -> np.ndarray:
    """Keeps a core busy for 50 ms of its time."""
    with at_once:
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            np.sort(np.arange(50_000.0)[::-1])
    return future[:, 0]


def runner(name: str, function: Any, *, independent_rows: bool = True) -> FunctionalModelRunner:
    return FunctionalModelRunner(train, function, info=RunnerInfo(id=name), independent_rows=independent_rows)


arrays, tables = runner("arrays", predict), runner("tables", predict_table)
dependent = runner("dependent", predict, independent_rows=False)
computing = runner("computing", compute, independent_rows=False)
