"""Runners whose rows are independent, and what their functions were asked."""

import threading
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo

# How many rows each call had.
asked: list[int] = []
# While it is not set, calls for frames with a column `wait` do not end.
gate = threading.Event()
entered = threading.Semaphore(0)


def train(config: BaseConfig, data: Any) -> Any:
    raise NotImplementedError("jobs are not run here")


def predict(config: BaseConfig, model: int, historic: pa.Table, future: pa.Table) -> pa.Table:
    asked.append(future.num_rows)
    entered.release()
    if "wait" in future.column_names:
        assert gate.wait(30)
    if pc.any(pc.less(future.column("x"), 0)).as_py():
        raise ValueError("no negative x")
    return pa.table({"y": pc.multiply(future.column("x"), model)})


def predict_changing(config: BaseConfig, model: int, historic: pa.Table, future: pa.Table) -> pa.Table:
    """Columns whose type depends on the first row."""
    first = future.column("x")[0].as_py() if future.num_rows else 0
    x = future.column("x")
    match first:
        case 1:
            return pa.table({"y": pc.cast(x, pa.float32())})
        case 2:
            return pa.table({"y": pc.cast(x, pa.string())})
        case 3:
            return pa.table({"z": x})
        case _:
            return pa.table({"y": pc.cast(x, pa.float64())})


rows = FunctionalModelRunner(train, predict, info=RunnerInfo(id="rows", max_prediction_periods=10**6), independent_rows=True)
changing = FunctionalModelRunner(train, predict_changing, info=RunnerInfo(id="changing"), independent_rows=True)
dependent = FunctionalModelRunner(train, predict, info=RunnerInfo(id="dependent"))


async def predict_waiting(config: BaseConfig, model: int, historic: pa.Table, future: pa.Table) -> pa.Table:
    asked.append(future.num_rows)
    return pa.table({"y": pc.multiply(future.column("x"), model)})


waiting = FunctionalModelRunner(train, predict_waiting, info=RunnerInfo(id="waiting"), independent_rows=True)
