"""Predictions of a single thing: its features by name as a frame of one row, and what a model says of it as a value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa

from ..frames import write_frame
from .frames import frame_from_json, records_json
from .parsing import InvalidRequest
from .short_paths import missing, wrong

# Columns of predictions that say how sure the model is: at all, and of each class.
CONFIDENCE, PROBABILITY = "confidence", "probability_"
PREDICTION = "prediction"
_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be predicted: the model, if one is named, which version, by what features; `metadata` comes back with the answer."""

    model_id: str
    version: str
    features: Mapping[str, Any]
    metadata: Any

    @classmethod
    def read(cls, body: Any, place: list[Any]) -> "Question":
        """Raises InvalidRequest."""
        if not isinstance(body, dict):
            raise InvalidRequest([wrong("model_attributes_type", place, "Input should be a valid dictionary", body)])
        found = [*_wrong_texts(body, place), *_wrong_features(body, place)]
        if found:
            raise InvalidRequest(found)
        version = "" if body.get("version") is None else str(body["version"])
        return cls(body.get("model_id") or "", version, body["features"], body.get("metadata"))

    def frame(self) -> bytes:
        """The features as a frame of one row. Raises InvalidFrame."""
        table = frame_from_json({"columns": list(self.features), "data": [list(self.features.values())]}, "features")
        return write_frame(table)


def _wrong_texts(body: Mapping[str, Any], place: list[Any]) -> list[dict[str, Any]]:
    kinds: dict[str, tuple[type, ...]] = {"model_id": (str,), "version": (str, int)}
    return [
        wrong("string_type", [*place, name], "Input should be a valid string", body[name])
        for name, allowed in kinds.items()
        if body.get(name) is not None and (not isinstance(body[name], allowed) or isinstance(body[name], bool))
    ]


def _wrong_features(body: Mapping[str, Any], place: list[Any]) -> list[dict[str, Any]]:
    at = [*place, "features"]
    if "features" not in body:
        return [missing(at, body)]
    if not isinstance(body["features"], dict):
        return [wrong("dict_type", at, "Input should be a valid dictionary", body["features"])]
    return [] if body["features"] else [wrong("value_error", at, "Value error, Features cannot be empty", {})]


def said_of(predictions: pa.Table, features: Mapping[str, Any]) -> tuple[Any, float | None]:
    """The prediction and its confidence: the highest probability of a class, if the model tells probabilities, else None.

    The prediction is what the model adds to the features: the value of one column, or an object of several. A model that answers with
    other than one row is told as it is: a list of objects.
    """
    rows: list[dict[str, Any]] = orjson.loads(records_json(predictions))
    if len(rows) != 1:
        return rows, None
    (row,) = rows
    added = {name: value for name, value in row.items() if name not in features} or row
    return _prediction(added), _confidence(added)


def _prediction(added: Mapping[str, Any]) -> Any:
    told = {name: value for name, value in added.items() if name != CONFIDENCE and not name.startswith(PROBABILITY)} or added
    if PREDICTION in told:
        return told[PREDICTION]
    return next(iter(told.values())) if len(told) == 1 else told


def _confidence(added: Mapping[str, Any]) -> float | None:
    if CONFIDENCE in added:
        return _number(added[CONFIDENCE])
    named = [value for name, value in added.items() if name.startswith(PROBABILITY)]
    if numbers := [number for value in named if (number := _number(value)) is not None]:
        return max(numbers)
    return max(added.values()) if _is_distribution(list(added.values())) else None


def _is_distribution(values: list[Any]) -> bool:
    """Whether these are the probabilities of classes: several numbers from 0 to 1 that make 1 together."""
    if len(values) < 2 or not all(isinstance(value, float) and 0 <= value <= 1 for value in values):
        return False
    return bool(abs(sum(values) - 1) <= _SLACK)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
