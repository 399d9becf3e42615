"""Two predictors of what a wine is, tested and served together: which cultivar it was made of, and how much alcohol it has.

modelwire serve examples/predictors.py:predictors
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelwire_runners import Predictor

Matrix = NDArray[np.float64]

FEATURES = ["color_intensity", "flavanoids", "hue", "proline"]
WINES = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "object", "properties": {name: {"type": "number"} for name in FEATURES}, "required": FEATURES},
}


def matrix(wines: list[dict[str, float]]) -> Matrix:
    return np.array([[wine[name] for name in FEATURES] for wine in wines])


class Cultivar(Predictor):
    """Takes a list of wines and answers with the cultivar of each: 0, 1 or 2."""

    def convert_prediction_input(self, payload: Any) -> Matrix:
        return matrix(payload)

    def convert_score_input(self, payload: Any) -> tuple[Matrix, Any]:
        return matrix([item["wine"] for item in payload]), np.array([item["cultivar"] for item in payload])

    def run_predict(self, x: Matrix) -> Any:
        return self.model.predict(x)

    def run_scores(self, x: Matrix, y: Any) -> dict[str, float]:
        return {"accuracy": self.model.score(x, y)}


class Alcohol(Predictor):
    """Takes an object with wines and answers with one that has the alcohol of each, in percent."""

    def convert_prediction_input(self, payload: Any) -> Matrix:
        return matrix(payload["wines"])

    def convert_score_input(self, payload: Any) -> tuple[Matrix, Any]:
        return matrix(payload["wines"]), np.array(payload["alcohol"])

    def run_predict(self, x: Matrix) -> Any:
        return self.model.predict(x)

    def run_scores(self, x: Matrix, y: Any) -> dict[str, float]:
        predicted = self.model.predict(x)
        return {"mean_absolute_error": mean_absolute_error(y, predicted), "r2": r2_score(y, predicted)}

    def convert_output(self, result: Any) -> dict[str, Any]:
        return {"alcohol": result.round(2)}


def make() -> list[Predictor]:
    data = load_wine(as_frame=True)
    seen, unseen = train_test_split(data.frame, test_size=0.3, random_state=0)
    forest = RandomForestClassifier(n_estimators=50, random_state=0).fit(seen[FEATURES].to_numpy(), seen["target"])
    ridge = make_pipeline(StandardScaler(), Ridge()).fit(seen[FEATURES].to_numpy(), seen["alcohol"])
    wines = unseen[FEATURES].to_dict(orient="records")
    known = [{"wine": wine, "cultivar": int(cultivar)} for wine, cultivar in zip(wines, unseen["target"], strict=True)]
    return [
        Cultivar(
            forest,
            name="cultivar",
            version="2.0",
            predict_schema=WINES,
            score_schema={
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {"wine": WINES["items"], "cultivar": {"enum": [0, 1, 2]}},
                    "required": ["wine", "cultivar"],
                },
            },
            test_predict_input=wines[:3],
            test_score_input=known,
        ),
        Alcohol(
            ridge,
            name="alcohol",
            predict_schema={"type": "object", "properties": {"wines": WINES}, "required": ["wines"]},
            score_schema={
                "type": "object",
                "properties": {"wines": WINES, "alcohol": {"type": "array", "items": {"type": "number"}}},
                "required": ["wines", "alcohol"],
            },
            test_predict_input={"wines": wines[:3]},
            test_score_input={"wines": wines, "alcohol": unseen["alcohol"].tolist()},
        ),
    ]


predictors = make()
