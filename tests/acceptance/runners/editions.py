"""Runners whose predictions show who made them, or take their time."""

import os
import signal
import time

import pyarrow as pa

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo

EDITION = 1


class Config(BaseConfig):
    behaviour: str = "quick"
    seconds: float = 0.0


def train(config: Config, data: pa.Table) -> str:
    return config.behaviour


async def predict(config: Config, model: str, historic: pa.Table, future: pa.Table) -> pa.Table:
    match model:
        case "stuck":
            # On the event loop, which has to wait for it.
            time.sleep(config.seconds)  # noqa: ASYNC251
        case "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
    made_by = {"edition": EDITION, "pid": os.getpid(), "model": model}
    for name, value in made_by.items():
        future = future.append_column(name, pa.array([value] * len(future)))
    return future


def predict_slowly(config: Config, model: str, historic: pa.Table, future: pa.Table) -> pa.Table:
    time.sleep(config.seconds)
    return future


runner = FunctionalModelRunner(on_train=train, on_predict=predict, config_schema=Config, info=RunnerInfo(id="serving"))
slow = FunctionalModelRunner(on_train=train, on_predict=predict_slowly, config_schema=Config, info=RunnerInfo(id="slow"))
