"""The diabetes regression as a class, with preprocessing, hooks and a check of its own.

modelwire serve examples/diabetes_class.py:DiabetesRunner
"""

import logging
import time
from typing import Any

import pandas as pd
from pydantic import Field
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.preprocessing import StandardScaler

from modelwire_runners import BaseConfig, BaseModelRunner, RunnerInfo, Severity, ValidationDiagnostic

log = logging.getLogger(__name__)
TARGET = "target"


class Config(BaseConfig):
    """What can be chosen for a training."""

    trees: int = Field(default=100, ge=1, le=2000)
    learning_rate: float = Field(default=0.05, gt=0, le=1)


class DiabetesRunner(BaseModelRunner[Config]):
    """Scales the measurements, then boosts regression trees. The model is a dict: whatever can be pickled may be a model."""

    info = RunnerInfo(id="diabetes-trees", display_name="Diabetes progression, trees")

    def __init__(self) -> None:
        self.started = 0.0

    def on_init(self) -> None:
        """Called before every training and prediction."""
        self.started = time.perf_counter()

    def on_cleanup(self) -> None:
        """Called afterwards, also when it failed."""
        log.info("took %.0f ms", 1000 * (time.perf_counter() - self.started))

    def on_train(self, config: Config, data: pd.DataFrame, geo: Any = None) -> dict[str, Any]:
        """Returns scaler, trees and the names of the measurements, in their order."""
        features = [name for name in data.columns if name != TARGET]
        scaler = StandardScaler().fit(data[features])
        trees = GradientBoostingRegressor(n_estimators=config.trees, learning_rate=config.learning_rate, random_state=0)
        trees.fit(scaler.transform(data[features]), data[TARGET])
        return {"features": features, "scaler": scaler, "trees": trees}

    def on_predict(
        self, config: Config, model: dict[str, Any], historic: pd.DataFrame, future: pd.DataFrame, geo: Any = None
    ) -> pd.DataFrame:
        """Adds the column `sample_0`: the expected progression."""
        future["sample_0"] = model["trees"].predict(model["scaler"].transform(future[model["features"]]))
        return future

    def on_validate_train(self, config: Config, data: pd.DataFrame, geo: Any = None) -> list[ValidationDiagnostic]:
        """Finds what would make the training fail, or its result poor."""
        if TARGET not in data.columns:
            return [ValidationDiagnostic(code="target_missing", message=f"the data lack the column {TARGET!r}", field="data")]
        if len(data) < 50:
            message = f"{len(data)} rows are few for {config.trees} trees"
            return [ValidationDiagnostic(severity=Severity.WARNING, code="few_rows", message=message, field="data")]
        return []
