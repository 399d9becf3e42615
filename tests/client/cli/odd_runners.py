"""Runners that wait, fail or refuse as their config says."""

from pathlib import Path
from typing import Literal

import pandas as pd

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunContext, RunnerInfo


class Config(BaseConfig):
    behaviour: Literal["mean", "raise", "wait"] = "mean"
    gate: str = ""


def train(config: Config, data: pd.DataFrame, geo: dict[str, object] | None, context: RunContext) -> float:
    context.log("looking at [brackets]")
    context.metric("rows", len(data))
    context.progress(0.5, "half way")
    if config.behaviour == "raise":
        raise ValueError("no luck today")
    if config.behaviour == "wait":
        Path(config.gate).open().close()
    return float(data["y"].mean())


def predict(config: Config, model: float, historic: pd.DataFrame, future: pd.DataFrame) -> pd.DataFrame:
    future["sample_0"] = model
    return future


def runner(id: str, required: list[str]) -> FunctionalModelRunner:
    info = RunnerInfo(id=id, display_name=f"The {id} one", required_covariates=required)
    return FunctionalModelRunner(train, predict, config_schema=Config, info=info)


odd = runner("odd", [])
strict = runner("strict", ["rainfall"])
