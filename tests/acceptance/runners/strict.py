"""A runner whose configs take values of the right type only, and whose jobs are done at once."""

import pyarrow as pa
from pydantic import ConfigDict, Field

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo


class Config(BaseConfig):
    model_config = ConfigDict(strict=True)

    level: float = Field(default=1.0, ge=0, le=100, description="What is predicted.")
    rounds: int = Field(default=1, ge=1, le=10)
    note: str = Field(default="", max_length=100)


def train(config: Config, data: pa.Table) -> float:
    return config.level


def predict(config: Config, model: float, historic: pa.Table, future: pa.Table) -> pa.Table:
    return pa.table({"sample_0": [model] * future.num_rows})


runner = FunctionalModelRunner(
    on_train=train,
    on_predict=predict,
    config_schema=Config,
    info=RunnerInfo(id="strict", display_name="Strict", description="Takes values of the right type only."),
)
