"""A runner whose predictions tell which model they are from: each is the value in the config that the model was trained with."""

import numpy as np

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo


class Config(BaseConfig):
    value: float = 0.0


def train(config: Config, data: object) -> float:
    return config.value


def predict(config: Config, model: float, historic: np.ndarray, future: np.ndarray) -> np.ndarray:
    return np.full(len(future), model)


runner = FunctionalModelRunner(
    train, predict, config_schema=Config, info=RunnerInfo(id="constants", display_name="Constants"), independent_rows=True
)
