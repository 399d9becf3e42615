"""A runner whose models are weights that were made elsewhere."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from modelwire_runners import BaseConfig, BaseModelRunner, RunnerInfo


@dataclass
class Model:
    factor: float


class Weighted(BaseModelRunner[BaseConfig]):
    info = RunnerInfo(id="weighted")

    def on_load(self, config: BaseConfig, content: dict[str, Any]) -> Model:
        return Model(float(content["factor"]))

    def on_train(self, config: BaseConfig, data: Any) -> Any:  # type: ignore[override]
        raise NotImplementedError

    def on_predict(self, config: BaseConfig, model: Model, historic: Any, future: np.ndarray) -> Any:  # type: ignore[override, type-arg]
        return {"y": model.factor * future[:, 0]}


runner = Weighted()
