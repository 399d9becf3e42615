"""The wrapper around any Python object that takes JSON and answers with JSON."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .json_values import InvalidResult, plain_json, plain_scores
from .payloads import InvalidPayload, PayloadSchema

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_later: ContextVar[bool] = ContextVar("self_tests_later", default=False)


class PredictorError(ValueError):
    """A predictor that must not be served; the message says which, and why."""


class MissingHook(NotImplementedError):
    """A method that the author has to write is not there; the message names it."""


@contextmanager
def self_tests_later() -> Iterator[None]:
    """Predictors that are made meanwhile do not call their models: for processes that only import, and whoever forks."""
    token = _later.set(True)
    try:
        yield
    finally:
        _later.reset(token)


@dataclass(frozen=True, slots=True)
class Scores:
    """What a predictor says of how good it is. `single`: it gave one number without a name, which is called `score` here."""

    values: Mapping[str, float]
    single: bool = False


class Predictor:
    """A model with a name, whatever it is made of: subclass this, say what its input looks like, and write the hooks.

    A prediction is `convert_output(run_predict(convert_prediction_input(payload)))`, scores are
    `run_scores(*convert_score_input(payload))`; each payload is held against its schema before. Hooks are called from several threads at
    once, and must not change what they share.

    A predictor is complete when this constructor is called, which tests it: set what the hooks need before.
    """

    def __init__(
        self,
        model: Any,
        *,
        name: str,
        predict_schema: Mapping[str, Any],
        score_schema: Mapping[str, Any],
        test_predict_input: Any,
        test_score_input: Any,
        version: str = "v1",
        created_at: datetime | None = None,
    ) -> None:
        """Wraps `model`. The schemas are JSON Schema (2020-12); the test inputs are payloads that fit them, and that the model must be able
        to answer. Raises PredictorError if anything of this is not so, MissingHook for a hook that is not written."""
        if not NAME.fullmatch(name):
            raise PredictorError(
                f"{name!r} is no name for a predictor: use 1 to 100 letters, digits, `-`, `_`, `.`, no sign at first"
            )
        self.model = model
        self.name = name
        self.version = version
        self.created_at = (created_at or datetime.now(UTC)).astimezone(UTC)
        self._predict_schema = self._schema("predict_schema", predict_schema)
        self._score_schema = self._schema("score_schema", score_schema)
        self.test_predict_input = self._tried("test_predict_input", test_predict_input, self._predict_schema)
        self.test_score_input = self._tried("test_score_input", test_score_input, self._score_schema)
        if not _later.get():
            self.self_test()

    @property
    def predict_schema(self) -> dict[str, Any]:
        """The JSON Schema of what predict() takes."""
        return self._predict_schema.document

    @property
    def score_schema(self) -> dict[str, Any]:
        """The JSON Schema of what score() takes."""
        return self._score_schema.document

    def convert_prediction_input(self, payload: Any) -> Any:
        """The JSON of a caller as what run_predict takes: an array, what an address leads to, ..."""
        raise self._missing("convert_prediction_input", "payload")

    def convert_score_input(self, payload: Any) -> Any:
        """The JSON of a caller as what run_scores takes; a tuple becomes its arguments: `return X, y`."""
        raise self._missing("convert_score_input", "payload")

    def run_predict(self, x: Any) -> Any:
        """Predicts from what convert_prediction_input returned."""
        raise self._missing("run_predict", "x")

    def run_scores(self, *converted: Any) -> Any:
        """Scores the model with what convert_score_input returned: a number, or a dict of several."""
        raise self._missing("run_scores", "x, y")

    def convert_output(self, result: Any) -> Any:
        """What run_predict returned as JSON; unchanged unless overridden. Arrays, frames and dates need no conversion."""
        return result

    def predict(self, payload: Any) -> Any:
        """The prediction, as JSON. Raises InvalidPayload, InvalidResult, and what the hooks raise."""
        self._predict_schema.check(payload)
        return plain_json(self.convert_output(self.run_predict(self.convert_prediction_input(payload))))

    def score(self, payload: Any) -> Scores:
        """The scores. Raises InvalidPayload, InvalidResult, and what the hooks raise."""
        self._score_schema.check(payload)
        converted = self.convert_score_input(payload)
        result = self.run_scores(*converted) if isinstance(converted, tuple) else self.run_scores(converted)
        return Scores(plain_scores(result), single=not isinstance(result, Mapping))

    def self_test(self) -> None:
        """Predicts and scores with the test inputs. Raises PredictorError if the model cannot do that, or returns what JSON does not know,
        MissingHook for a hook that is not written."""
        for act, payload in ((self.predict, self.test_predict_input), (self.score, self.test_score_input)):
            try:
                # A hook may change what it gets.
                act(deepcopy(payload))
            except MissingHook:
                raise
            except Exception as error:
                told = str(error) if isinstance(error, InvalidResult) else f"{type(error).__name__}: {error}"
                raise PredictorError(f"the predictor `{self.name}` fails its self-test at {act.__name__}: {told}") from error

    def _schema(self, argument: str, schema: Mapping[str, Any]) -> PayloadSchema:
        try:
            return PayloadSchema(schema)
        except (TypeError, ValueError) as error:
            raise PredictorError(f"{argument} of the predictor `{self.name}` is no JSON Schema: {error}") from None

    def _tried(self, argument: str, payload: Any, schema: PayloadSchema) -> Any:
        """A copy of a test input, as callers would send it."""
        try:
            copied = plain_json(payload, argument)
            schema.check(copied)
        except (InvalidPayload, InvalidResult) as error:
            raise PredictorError(f"{argument} of the predictor `{self.name}` does not fit its schema: {error}") from None
        except Exception as error:
            # A reference that leads nowhere is found when it is followed.
            raise PredictorError(f"the schema for {argument} of the predictor `{self.name}` cannot be used: {error}") from error
        return copied

    def _missing(self, hook: str, arguments: str) -> MissingHook:
        return MissingHook(f"{type(self).__name__} lacks the method `{hook}`: write `def {hook}(self, {arguments})`")
