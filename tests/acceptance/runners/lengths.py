"""A predictor that holds its callers to a schema, and fails for nothing that fits."""

from typing import Any

from modelwire_runners import Predictor

TEXTS = {"type": "array", "items": {"type": "string"}}


class Lengths(Predictor):
    def convert_prediction_input(self, payload: Any) -> Any:
        return payload

    def convert_score_input(self, payload: Any) -> Any:
        return (payload,)

    def run_predict(self, x: Any) -> Any:
        return [self.model(text) for text in x]

    def run_scores(self, *converted: Any) -> Any:
        return {"count": len(converted[0])}


predictor = Lengths(
    len, name="lengths", predict_schema=TEXTS, score_schema=TEXTS, test_predict_input=["one"], test_score_input=["one", "two"]
)
