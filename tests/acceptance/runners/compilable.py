"""Models of scikit-learn whose rows are independent."""

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo


class Config(BaseConfig):
    kind: str


def train(config: Config, data: pd.DataFrame) -> object:
    rows = data.drop(columns="y")
    numbers = rows.drop(columns="color", errors="ignore").to_numpy()
    match config.kind:
        case "boosted":
            return {"model": HistGradientBoostingClassifier(max_iter=20).fit(numbers, data["y"] > 0)}
        case "forest":
            return RandomForestRegressor(5, random_state=0).fit(numbers, data["y"])
        case "clusters":
            return {"model": KMeans(3, n_init=1, random_state=0).fit(numbers), "unlike": True}
        case "neighbours":
            return KNeighborsRegressor().fit(numbers, data["y"])
        case "text":
            parts = [("color", OneHotEncoder(), ["color"]), ("numbers", StandardScaler(), ["a", "b"])]
            return Pipeline([("columns", ColumnTransformer(parts)), ("model", LogisticRegression())]).fit(rows, data["y"] > 0)
        case _:
            return {"mean": data["y"].mean()}


def predict(config: Config, model: object, historic: pd.DataFrame, future: pd.DataFrame) -> pd.DataFrame:
    numbers = future.drop(columns="color", errors="ignore").to_numpy()
    match config.kind:
        case "boosted":
            return pd.DataFrame({"p": model["model"].predict_proba(numbers)[:, 1]})
        case "clusters":
            return pd.DataFrame(model["model"].transform(numbers), columns=list("xyz"))
        case "text":
            return pd.DataFrame({"p": model.predict_proba(future)[:, 1], "y": model.predict(future)})
        case "constant":
            return pd.DataFrame({"p": np.full(len(future), model["mean"])})
        case _:
            return pd.DataFrame({"p": model.predict(numbers)})


runner = FunctionalModelRunner(
    train, predict, config_schema=Config, info=RunnerInfo(id="compilable"), independent_rows=True, target_columns=["y"]
)
left_alone = FunctionalModelRunner(
    train,
    predict,
    config_schema=Config,
    info=RunnerInfo(id="left-alone"),
    independent_rows=True,
    compile=False,
    target_columns=["y"],
)
