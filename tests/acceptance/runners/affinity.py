"""Predicts how many cores the thread may use that predicts, and how it is scheduled."""

import os

import pyarrow as pa

from modelwire_runners import BaseConfig, FunctionalModelRunner


def on_train(config: BaseConfig, data: pa.Table) -> dict[str, int]:
    return {}


def on_predict(config: BaseConfig, model: dict[str, int], historic: pa.Table, future: pa.Table) -> pa.Table:
    found = {"cores": len(os.sched_getaffinity(0)), "policy": os.sched_getscheduler(0)}
    return pa.table({name: [value] * future.num_rows for name, value in found.items()})


runner = FunctionalModelRunner(on_train=on_train, on_predict=on_predict)
