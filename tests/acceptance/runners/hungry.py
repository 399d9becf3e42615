"""A runner whose models are as large as its config says, and that waits for a test to let it go on."""

import os
from pathlib import Path

import pyarrow as pa

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunContext, RunnerInfo


class Config(BaseConfig):
    size: int = 0
    gate: str = ""


def train(config: Config, data: pa.Table, context: RunContext) -> bytes:
    context.progress(0.5, "hungry")
    if config.gate:
        with Path(config.gate).open() as gate:
            gate.read()
    return os.urandom(config.size)


def predict(config: Config, model: bytes, historic: pa.Table, future: pa.Table) -> pa.Table:
    return future


runner = FunctionalModelRunner(on_train=train, on_predict=predict, config_schema=Config, info=RunnerInfo(id="hungry"))
