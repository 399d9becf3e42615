"""Predictors that count words."""

from typing import Any

from modelwire_runners import Predictor

TEXTS = {"type": "array", "items": {"type": "string"}}
KNOWN = {"type": "array", "items": {"type": "object", "required": ["text", "words"]}}


class Words(Predictor):
    """Takes texts; the text `fail` makes it fail."""

    def convert_prediction_input(self, payload: Any) -> Any:
        return payload

    def convert_score_input(self, payload: Any) -> Any:
        return [item["text"] for item in payload], [item["words"] for item in payload]

    def run_predict(self, x: Any) -> Any:
        if "fail" in x:
            raise RuntimeError("told to fail")
        return [len(text.split()) for text in x]

    def run_scores(self, x: Any, y: Any) -> Any:
        right = sum(found == known for found, known in zip(self.run_predict(x), y, strict=True)) / len(y)
        return {"accuracy": right, "texts": len(y)}


class Anything(Words):
    """Gives back what it gets."""

    def run_predict(self, x: Any) -> Any:
        return x

    def run_scores(self, *converted: Any) -> Any:
        return 0.5


words = Words(
    None,
    name="words",
    version="2",
    predict_schema=TEXTS,
    score_schema=KNOWN,
    test_predict_input=["two words"],
    test_score_input=[{"text": "two words", "words": 2}],
)
anything = Anything(None, name="anything", predict_schema={}, score_schema=KNOWN, test_predict_input=None, test_score_input=[])
predictors = [words, anything]
