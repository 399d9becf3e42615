"""A runner for tests of REST: multiplies a column, and waits or fails when its config or its frame says so."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo


class Config(BaseConfig):
    factor: int = 2
    # A named pipe: training goes on when something is written to it.
    wait_for: str = ""
    fail: bool = False


def train(config: Config, data: pa.Table) -> dict[str, Any]:
    if config.wait_for:
        Path(config.wait_for).read_bytes()
    if config.fail:
        raise ValueError("told to fail")
    return {"factor": config.factor, "rows": data.num_rows}


def predict(config: Config, model: dict[str, Any], historic: pa.Table, future: pa.Table) -> pa.Table:
    if "pipe" in future.column_names:
        Path(future.column("pipe")[0].as_py()).read_bytes()
    return future.append_column("sample_0", pc.multiply(future.column("x"), model["factor"]))


runner = FunctionalModelRunner(
    train, predict, config_schema=Config, info=RunnerInfo(id="patient", display_name="Patient", required_covariates=["x"])
)
