from typing import Any

from modelwire_runners import Predictor


class Echo(Predictor):
    """Gives back whatever it gets."""

    def convert_prediction_input(self, payload: Any) -> Any:
        return payload

    def convert_score_input(self, payload: Any) -> Any:
        return (payload,)

    def run_predict(self, x: Any) -> Any:
        return x

    def run_scores(self, *converted: Any) -> Any:
        return 1.0


ANYTHING = {"title": "Anything"}
predictor = Echo(
    None, name="echo", predict_schema=ANYTHING, score_schema=ANYTHING, test_predict_input={"a": [1]}, test_score_input=None
)
