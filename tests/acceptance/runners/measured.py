"""A runner that has Prometheus metrics of its own."""

from typing import Any

import prometheus_client
import pyarrow as pa

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunContext, RunnerInfo

TRAINED = prometheus_client.Histogram("model_training_seconds", "How long training took.", buckets=(1, 10))
ROWS = prometheus_client.Counter("model_rows", "Rows that were worked on.", ("work",))
SIZE = prometheus_client.Gauge("model_size", "Size of the model that was trained last.")
# Taken by the server itself.
TAKEN = prometheus_client.Counter("modelwire_calls_started", "Not what it says.")


def train(config: BaseConfig, data: pa.Table, context: RunContext) -> float:
    TRAINED.observe(5)
    ROWS.labels("train").inc(data.num_rows)
    SIZE.set(data.num_rows)
    TAKEN.inc(1000)
    prometheus_client.Counter("model_late", "Made in the job.").inc()
    context.metric("rmse", 3.5)
    context.metric("rmse", 2.5, step=2)
    if "fail" in data.column_names:
        raise ValueError("told to")
    return 1.0


def predict(config: BaseConfig, model: float, historic: pa.Table, future: pa.Table) -> Any:
    ROWS.labels("predict").inc(future.num_rows)
    return future


runner = FunctionalModelRunner(train, predict, info=RunnerInfo(id="measured"))
