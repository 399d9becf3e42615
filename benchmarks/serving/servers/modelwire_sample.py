"""The sample model as runners of modelwire's: `runner`, and `slow`, whose predictions take 200 ms."""

import time
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo

TARGET = "target"
SLOW_SECONDS = 0.2


def matrix(frame: pa.Table) -> np.ndarray:
    return np.column_stack([column.to_numpy() for column in frame.columns])


def train(config: BaseConfig, data: pa.Table) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(matrix(data.drop_columns(TARGET)), data[TARGET].to_numpy())


def predict(config: BaseConfig, model: Pipeline, historic: pa.Table, future: pa.Table) -> dict[str, Any]:
    return {"prediction": model.predict(matrix(future))}


def predict_slowly(config: BaseConfig, model: Pipeline, historic: pa.Table, future: pa.Table) -> dict[str, Any]:
    time.sleep(SLOW_SECONDS)
    return predict(config, model, historic, future)


runner = FunctionalModelRunner(
    on_train=train, on_predict=predict, independent_rows=True, target_columns=[TARGET], info=RunnerInfo(id="sample")
)
slow = FunctionalModelRunner(on_train=train, on_predict=predict_slowly, target_columns=[TARGET], info=RunnerInfo(id="slow"))
