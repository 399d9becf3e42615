"""Predicts how many cores the thread may use that predicts."""

import os
from typing import Any

import pyarrow as pa

from modelwire_runners import BaseConfig, FunctionalModelRunner


def on_train(config: BaseConfig, data: pa.Table) -> dict[str, int]:
    return {}


def on_predict(config: BaseConfig, model: dict[str, int], historic: pa.Table, future: pa.Table) -> pa.Table:
    cores: list[Any] = [len(os.sched_getaffinity(0))] * future.num_rows
    return future.append_column("cores", pa.array(cores))


runner = FunctionalModelRunner(on_train=on_train, on_predict=on_predict)
