"""A regression on real data, made of two functions: how far diabetes has progressed a year later.

    modelwire serve examples/diabetes.py:runner

The data are scikit-learn's bundled diabetes data: 442 patients, ten measurements each.
"""

import pandas as pd
from pydantic import Field
from sklearn.datasets import load_diabetes
from sklearn.linear_model import SGDRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunContext, RunnerInfo

TARGET = "target"


class Config(BaseConfig):
    """What can be chosen for a training."""

    features: list[str] = Field(default=["bmi", "bp", "s5", "s3", "sex"], min_length=1)
    alpha: float = Field(default=0.01, ge=0, description="Strength of the regularization.")
    epochs: int = Field(default=50, ge=1, le=1000, description="How often training goes through the data.")


def train(config: Config, data: pd.DataFrame, context: RunContext) -> Pipeline:
    """Fits a linear model by stochastic gradient descent and tells how it gets on."""
    scaler = StandardScaler().fit(data[config.features])
    regression = SGDRegressor(alpha=config.alpha, random_state=0)
    inputs, target = scaler.transform(data[config.features]), data[TARGET]
    for epoch in range(1, config.epochs + 1):
        regression.partial_fit(inputs, target)
        error = float(((regression.predict(inputs) - target) ** 2).mean() ** 0.5)
        context.progress(epoch / config.epochs, f"epoch {epoch}")
        context.metric("rmse", error, step=epoch)
        context.check()
    print(f"trained on {len(data)} rows, rmse {error:.1f}")
    return make_pipeline(scaler, regression)


def predict(config: Config, model: Pipeline, historic: pd.DataFrame, future: pd.DataFrame) -> pd.DataFrame:
    """Adds the column `sample_0`: the expected progression."""
    future["sample_0"] = model.predict(future[list(model[0].feature_names_in_)])
    return future


def load_frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The patients to train on, and a quarter of them that training never sees."""
    everyone = load_diabetes(as_frame=True, scaled=False).frame
    unseen = everyone.sample(frac=0.25, random_state=1)
    return everyone.drop(unseen.index).reset_index(drop=True), unseen.reset_index(drop=True)


runner = FunctionalModelRunner(
    on_train=train,
    on_predict=predict,
    config_schema=Config,
    info=RunnerInfo(id="diabetes", display_name="Diabetes progression", description="Linear regression on ten measurements."),
    prediction_columns=["sample_0"],
)
