"""A runner whose frames say how each job is to go: how long it takes, and whether it fails."""

import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from modelwire_runners import BaseConfig, FunctionalModelRunner, RetryPolicy, RunContext, RunnerInfo, ShellModelRunner

STEPS = 5


def work(order: dict[str, Any], context: RunContext) -> None:
    """Leaves a process behind in a session of its own, tells how far it is, and fails if it is told to."""
    if order["stray"]:
        subprocess.Popen(["sleep", "600"], start_new_session=True)
    for step in range(STEPS):
        print(f"job {order['number']}, step {step}")
        context.progress(step / STEPS)
        time.sleep(order["seconds"] / STEPS)
    if order["fate"] == "fail":
        raise ValueError(f"job {order['number']} fails on purpose")


def train(config: BaseConfig, data: pa.Table, context: RunContext) -> Any:
    order = data.to_pylist()[0]
    work(order, context)
    return {"number": order["number"]}


def predict(config: BaseConfig, model: Any, historic: pa.Table, future: pa.Table, context: RunContext) -> pa.Table:
    work(future.to_pylist()[0], context)
    return future


# More attempts than servers are killed: no job may be lost for good.
patience = RetryPolicy(max_attempts=50, backoff_seconds=0)
runner = FunctionalModelRunner(on_train=train, on_predict=predict, info=RunnerInfo(id="turbulent"), retry=patience)
fragile = FunctionalModelRunner(on_train=train, on_predict=predict, info=RunnerInfo(id="fragile"))
scripts = ShellModelRunner(
    "sh work.sh {data_file} result.csv",
    "sh work.sh {future_file} {output_file}",
    info=RunnerInfo(id="scripts"),
    retry=patience,
    project=Path(__file__).parent / "turbulent_scripts",
)
