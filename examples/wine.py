"""A classification on real data with arrays of numpy: which of three growers a wine is from.

    modelwire serve examples/wine.py:runner

The data are scikit-learn's bundled wine data: 178 wines, thirteen measurements each. Since `independent_rows` says that each prediction
depends on its own row only, predictions of many callers share calls, and the model is compiled at the end of its training where the
extra `onnx` is installed. Since `target_columns` names what is predicted, the measurements that are missing in a prediction are told.
"""

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo

TARGET = "grower"
GROWERS = ["barolo", "grignolino", "barbera"]


class Config(BaseConfig):
    """What can be chosen for a training."""

    strength: float = Field(default=1.0, gt=0, description="Inverse strength of the regularization.")


def train(config: Config, data: pd.DataFrame) -> Pipeline:
    """Fits a logistic regression to all columns but the target."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=config.strength)).fit(
        data.drop(columns=TARGET).to_numpy(), data[TARGET]
    )


def predict(config: Config, model: Pipeline, historic: np.ndarray, future: np.ndarray) -> dict[str, np.ndarray]:
    """The probability of each grower; the columns of `future` are those of the training, in their order."""
    return dict(zip(model.classes_, model.predict_proba(future).T, strict=True))


def load_frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The wines to train on, and a quarter of them that training never sees."""
    wines = load_wine(as_frame=True).frame
    everything = wines.drop(columns="target").assign(**{TARGET: wines["target"].map(dict(enumerate(GROWERS)))})
    unseen = everything.sample(frac=0.25, random_state=1)
    return everything.drop(unseen.index).reset_index(drop=True), unseen.reset_index(drop=True)


runner = FunctionalModelRunner(
    on_train=train,
    on_predict=predict,
    config_schema=Config,
    info=RunnerInfo(id="wine", display_name="Growers of wine", description="Logistic regression on thirteen measurements."),
    independent_rows=True,
    target_columns=[TARGET],
    prediction_columns=GROWERS,
)
