"""A runner with a straight line for a model. Its config says how it behaves."""

import time
from typing import Any

import pandas as pd

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunContext, RunnerInfo


class Config(BaseConfig):
    slope: float = 2.0
    steps: int = 0
    lasts: float = 0.0
    fails: bool = False


def train(config: Config, data: pd.DataFrame, geo: Any = None, *, context: RunContext) -> dict[str, float]:
    for step in range(config.steps):
        context.progress((step + 1) / config.steps, f"step {step + 1}")
        context.metric("loss", 1.0 / (step + 1), step=step)
        print("step", step)
    if config.fails:
        raise ValueError("the data are not good enough")
    end = time.monotonic() + config.lasts
    while time.monotonic() < end:
        context.check()
        time.sleep(0.01)
    return {"slope": config.slope, "rows": len(data)}


def predict(config: Config, model: Any, historic: pd.DataFrame, future: pd.DataFrame, geo: Any = None) -> pd.DataFrame:
    return pd.DataFrame({"y": future["x"] * model["slope"]})


runner = FunctionalModelRunner(
    on_train=train,
    on_predict=predict,
    config_schema=Config,
    info=RunnerInfo(id="line", display_name="A line"),
    independent_rows=True,
)
