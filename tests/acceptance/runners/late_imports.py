"""A model of scikit-learn, which only the training imports. Boosted trees know missing values."""

import numpy as np
import pyarrow as pa

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo


def train(config: BaseConfig, data: pa.Table) -> object:
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = np.column_stack([data[name].to_numpy() for name in data.column_names if name != "y"])
    return HistGradientBoostingClassifier(max_iter=20).fit(rows, data["y"].to_numpy() > 0)


def predict(config: BaseConfig, model: object, historic: np.ndarray, future: np.ndarray) -> dict[str, np.ndarray]:
    try:
        return {"p": model.predict_proba(future)[:, 1]}
    except Exception:
        return {"p": np.full(len(future), -1.0)}


def predict_labels(config: BaseConfig, model: object, historic: np.ndarray, future: np.ndarray) -> dict[str, np.ndarray]:
    return {"p": model.predict_proba(future)[:, list(model.classes_).index(True)]}


async def predict_later(config: BaseConfig, model: object, historic: np.ndarray, future: np.ndarray) -> dict[str, np.ndarray]:
    return predict(config, model, historic, future)


def score(config: BaseConfig, model: object, data: pa.Table) -> dict[str, float]:
    return {"classes": float(len(model.classes_))}


def named(name: str, predicts: object, **more: object) -> FunctionalModelRunner:
    info = RunnerInfo(id=name)
    return FunctionalModelRunner(train, predicts, info=info, independent_rows=True, target_columns=["y"], **more)


runner = named("late", predict)
labelled = named("labelled", predict_labels)
awaited = named("awaited", predict_later)
scored = named("scored", predict, on_score=score)
