"""A runner that does nothing, and one whose jobs wait until they are ended."""

import signal
from typing import Any

import pyarrow as pa

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo


def train(config: BaseConfig, data: pa.Table) -> str:
    return "model"


def wait(config: BaseConfig, data: pa.Table) -> None:
    signal.pause()


def predict(config: BaseConfig, model: Any, historic: pa.Table, future: pa.Table) -> pa.Table:
    return future


runner = FunctionalModelRunner(on_train=train, on_predict=predict, info=RunnerInfo(id="trivial"))
waiting = FunctionalModelRunner(on_train=wait, on_predict=predict, info=RunnerInfo(id="waiting"))
