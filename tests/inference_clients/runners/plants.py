"""A classification as they are found in the wild: numbers and a text in, chances, a label and a count out."""

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo

NUMBERS = ["height", "width", "leaves"]


def train(config: BaseConfig, data: pd.DataFrame) -> Pipeline:
    columns = make_column_transformer((StandardScaler(), NUMBERS), (OneHotEncoder(), ["soil"]))
    return make_pipeline(columns, LogisticRegression()).fit(data, data["kind"])


def predict(config: BaseConfig, model: Pipeline, historic: pd.DataFrame, future: pd.DataFrame) -> pd.DataFrame:
    chances = model.predict_proba(future)
    return pd.DataFrame(
        {
            "chance": chances.max(axis=1),
            "sure": chances.max(axis=1) > 0.9,
            "kind": model.predict(future),
            "leaves": future["leaves"],
        }
    )


def predict_numbers(config: BaseConfig, model: Pipeline, historic: pd.DataFrame, future: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {f"chance_{kind}": column for kind, column in zip(model.classes_, model.predict_proba(future).T, strict=True)}
    )


def train_numbers(config: BaseConfig, data: pd.DataFrame) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(data[NUMBERS], data["kind"])


plants = FunctionalModelRunner(train, predict, info=RunnerInfo(id="plants"), target_columns=["kind"], independent_rows=True)
numbers = FunctionalModelRunner(
    train_numbers, predict_numbers, info=RunnerInfo(id="numbers"), target_columns=["kind"], independent_rows=True
)
