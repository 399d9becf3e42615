"""The wrapper around any model: its hooks, its schemas, its test inputs, and that nothing which does not work is ever made."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from modelwire_runners import (
    FunctionalModelRunner,
    InvalidPayload,
    InvalidResult,
    MissingHook,
    Predictor,
    PredictorError,
    TargetError,
    check_predictor,
    load_runner,
    load_served,
)
from modelwire_runners.predictor import self_tests_later

NUMBERS = {"type": "array", "items": {"type": "number"}}
POINTS = {
    "type": "array",
    "items": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}, "required": ["x", "y"]},
}


class Plain(Predictor):
    def convert_prediction_input(self, payload: Any) -> Any:
        return np.asarray(payload)

    def convert_score_input(self, payload: Any) -> Any:
        return np.array([one["x"] for one in payload]), np.array([one["y"] for one in payload])

    def run_predict(self, x: Any) -> Any:
        return self.model(x)

    def run_scores(self, x: Any, y: Any) -> Any:
        return {"bias": (self.model(x) - y).mean(), "largest": np.abs(self.model(x) - y).max()}


def arguments(**changed: Any) -> dict[str, Any]:
    return {
        "name": "plain",
        "predict_schema": NUMBERS,
        "score_schema": POINTS,
        "test_predict_input": [1, 2],
        "test_score_input": [{"x": 1, "y": 2}],
    } | changed


def double(x: Any) -> Any:
    return 2 * x


def made(kind: type[Predictor] = Plain, model: Any = double, **changed: Any) -> Predictor:
    return kind(model, **arguments(**changed))


def answering(result: Any) -> Predictor:
    """One whose model says the same to everything."""
    predictor = made()
    predictor.model = lambda x: result
    return predictor


def test_a_plain_function_is_wrapped_whatever_the_framework() -> None:
    assert made().predict([1, 2.5]) == [2.0, 5.0]


def test_convert_prediction_input_makes_an_array_of_a_list_for_run_predict() -> None:
    seen: list[Any] = []

    def watch(x: Any) -> Any:
        seen.append(x)
        return x

    made(model=watch).predict([3, 4])
    assert isinstance(seen[-1], np.ndarray)
    assert seen[-1].tolist() == [3, 4]


def test_convert_score_input_makes_x_and_y_of_items() -> None:
    class Watched(Plain):
        def run_scores(self, x: Any, y: Any) -> Any:
            return {"x": x.sum(), "y": y.sum()}

    assert made(Watched).score([{"x": 1, "y": 10}, {"x": 2, "y": 20}]).values == {"x": 3.0, "y": 30.0}


def test_run_scores_gives_several_kpis_in_one_call() -> None:
    scores = made().score([{"x": 1, "y": 1}, {"x": 2, "y": 1}])
    assert (dict(scores.values), scores.single) == ({"bias": 2.0, "largest": 3.0}, False)


def test_run_scores_may_give_one_kpi_without_a_name() -> None:
    class Single(Plain):
        def convert_score_input(self, payload: Any) -> Any:
            return payload

        def run_scores(self, *converted: Any) -> Any:
            return np.float32(len(converted[0]))

    scores = made(Single).score([{"x": 1, "y": 1}])
    assert (dict(scores.values), scores.single) == ({"score": 1.0}, True)


def test_convert_output_is_the_identity_by_default() -> None:
    answer = {"a": [1, None, "text", True, {"b": 1.5}]}
    assert answering(answer).predict([1]) == answer


def test_convert_output_can_be_anything_that_json_knows() -> None:
    class Told(Plain):
        def convert_output(self, result: Any) -> Any:
            return {"values": result.tolist()}

    assert made(Told).predict([1]) == {"values": [2]}


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.float64(1.5), 1.5),
        (np.bool_(True), True),
        ({np.str_("k"): np.int64(3)}, {"k": 3}),
        (pd.Series([1, 2]), [1, 2]),
        (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        (pl.DataFrame({"a": [1]}), [{"a": 1}]),
        (pl.Series([1, 2]), [1, 2]),
        (pa.table({"a": [1]}), [{"a": 1}]),
        ((1, "a"), [1, "a"]),
        (Decimal("0.5"), 0.5),
        (date(2026, 11, 21), "2026-11-21"),
        ({1: 2**80}, {"1": 2**80}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_results_of_numpy_pandas_and_others_become_json(result: Any, answer: Any) -> None:
    assert answering(result).predict([1]) == answer


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("result", "rule", "told"),
    [
        ([1.0, float("nan")], "finite", "the result[1] is nan"),
        (np.array([np.inf]), "finite", "the result[0] is inf"),
        ({"a": object()}, "json", "the result['a'] is a object"),
        ({(1, 2): 1}, "json", "key of type tuple"),
        (pd.Series([1.0, None]), "finite", "nan"),
        ({1, 2}, "json", "a set"),
        (nested(5000), "json", "nested too deeply"),
    ],
    ids=["nan", "infinity", "object", "key", "missing", "set", "deep"],
)
def test_results_that_are_not_json_are_refused(result: Any, rule: str, told: str) -> None:
    with pytest.raises(InvalidResult, match=re.escape(told)) as caught:
        answering(result).predict([1])
    assert caught.value.rule == rule


@pytest.mark.parametrize("scores", [{"a": "good"}, {"a": float("nan")}, [0.5, 0.6], {"a": True}, None])
def test_scores_that_are_no_finite_numbers_are_refused(scores: Any) -> None:
    class Wrong(Plain):
        def run_scores(self, x: Any, y: Any) -> Any:
            return scores

    with pytest.raises(PredictorError, match="fails its self-test at score"):
        made(Wrong)


def test_the_schema_for_prediction_input_refuses_wrong_input_by_path() -> None:
    with pytest.raises(InvalidPayload) as caught:
        made().predict([1, "two", 3, None])
    assert [(one.path, one.rule) for one in caught.value.violations] == [("[1]", "type"), ("[3]", "type")]
    assert str(caught.value) == "[1]: 'two' is not of type 'number' (and 1 more)"


def test_the_schema_for_scoring_input_refuses_wrong_input_by_path() -> None:
    with pytest.raises(InvalidPayload) as caught:
        made().score([{"x": "a", "y": 1}, {"x": 1}, 5])
    places = [(one.path, one.rule) for one in caught.value.violations]
    assert places == [("[0].x", "type"), ("[1].y", "required"), ("[2]", "type")]


def test_what_is_missing_is_named_once_each() -> None:
    with pytest.raises(InvalidPayload) as caught:
        made().score([{}])
    assert [one.path for one in caught.value.violations] == ["[0].x", "[0].y"]


def test_very_many_violations_are_told_up_to_a_hundred() -> None:
    with pytest.raises(InvalidPayload) as caught:
        made().predict(["wrong"] * 100_000)
    assert len(caught.value.violations) == 100


def test_references_in_a_schema_lead_into_it_and_are_never_fetched() -> None:
    schema = {"$defs": {"Number": {"type": "number"}}, "type": "array", "items": {"$ref": "#/$defs/Number"}}
    assert made(predict_schema=schema).predict([1]) == [2]
    with pytest.raises(PredictorError, match="Unresolvable"):
        made(predict_schema={"$ref": "http://127.0.0.1:9/schema.json"})


def test_test_inputs_are_part_of_a_predictor() -> None:
    predictor = made()
    assert (predictor.test_predict_input, predictor.test_score_input) == ([1, 2], [{"x": 1, "y": 2}])
    with pytest.raises(TypeError, match="test_score_input"):
        Plain(double, name="a", predict_schema={}, score_schema={}, test_predict_input=[1])  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"test_predict_input": ["one"]}, "test_predict_input of the predictor `plain` does not fit its schema: [0]: 'one'"),
        ({"test_score_input": [{"x": 1}]}, "test_score_input of the predictor `plain` does not fit its schema: [0].y: is required"),
        ({"test_predict_input": [float("nan")]}, "test_predict_input[0] is nan"),
        ({"predict_schema": {"type": "numbers"}}, "predict_schema of the predictor `plain` is no JSON Schema: type: 'numbers'"),
        ({"score_schema": ["x"]}, "score_schema of the predictor `plain` is no JSON Schema: it is list, not a dict"),
        ({"name": "a b"}, "'a b' is no name for a predictor"),
    ],
    ids=["predict input", "score input", "nan", "no schema", "no dict", "name"],
)
def test_test_inputs_and_schemas_are_checked_at_construction(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(PredictorError, match=re.escape(told)):
        made(**changed)


def fail(x: Any) -> Any:
    raise OSError("no weights")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (fail, "fails its self-test at predict: OSError: no weights"),
        (lambda x: object(), "fails its self-test at predict: the result is a object"),
        (lambda x: float("nan"), "fails its self-test at predict: the result is nan"),
    ],
    ids=["raises", "no json", "nan"],
)
def test_a_model_that_fails_its_self_test_is_never_made(model: Callable[..., Any], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        made(model=model)


def test_a_self_test_never_changes_the_test_inputs() -> None:
    class Greedy(Plain):
        def convert_prediction_input(self, payload: Any) -> Any:
            return [payload.pop()]

    predictor = made(Greedy)
    predictor.self_test()
    assert predictor.test_predict_input == [1, 2]


@pytest.mark.parametrize("hook", ["convert_prediction_input", "convert_score_input", "run_predict", "run_scores"])
def test_a_missing_method_gives_a_message_that_names_it(hook: str) -> None:
    lacking = type("Lacking", (Plain,), {hook: getattr(Predictor, hook)})
    with pytest.raises(MissingHook, match=f"Lacking lacks the method `{hook}`: write `def {hook}\\(self, "):
        made(lacking)


def test_version_is_v1_by_default_and_creation_time_is_now() -> None:
    before = datetime.now(UTC)
    predictor = made()
    assert predictor.version == "v1"
    assert before <= predictor.created_at <= datetime.now(UTC)
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    chosen = made(version="2.0", created_at=moment)
    assert (chosen.version, chosen.created_at) == ("2.0", moment)


def test_who_only_imports_does_not_call_the_model() -> None:
    with self_tests_later():
        predictor = made(model=fail)
    assert [finding.code for finding in check_predictor(predictor)] == ["self_test"]
    assert check_predictor(made()) == []


MODULE = """
from modelwire_runners import FunctionalModelRunner, Predictor, RunnerInfo

class Echo(Predictor):
    def __init__(self, name="echo"):
        schema = {"predict_schema": {}, "score_schema": {}, "test_predict_input": 1, "test_score_input": 1}
        super().__init__(None, name=name, **schema)
    def convert_prediction_input(self, payload): return payload
    def convert_score_input(self, payload): return payload
    def run_predict(self, x): return x
    def run_scores(self, *x): return 1

runner = FunctionalModelRunner(lambda config, data: 1, lambda config, model, historic, future: future, info=RunnerInfo(id="r"))
composed = [Echo("one"), runner, Echo]
empty = []
wrong = [Echo("one"), 5]
"""


@pytest.fixture
def module(tmp_path: Path) -> str:
    path = tmp_path / f"composed_{tmp_path.name.replace('-', '_')}.py"
    path.write_text(MODULE)
    return str(path)


def test_a_list_of_predictors_and_runners_is_a_target(module: str) -> None:
    one, runner, echo = load_served(f"{module}:composed")
    assert isinstance(one, Predictor)
    assert isinstance(echo, Predictor)
    assert isinstance(runner, FunctionalModelRunner)
    assert (one.name, echo.name) == ("one", "echo")
    assert load_served(f"{module}:runner") == [runner]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("empty", "is an empty list"),
        ("wrong", "wrong[1] is a int, neither a runner nor a predictor"),
        ("nothing", "predictors and runners found there: Echo, runner"),
    ],
)
def test_a_target_that_cannot_be_served_is_refused(module: str, name: str, told: str) -> None:
    with pytest.raises(TargetError, match=re.escape(told)):
        load_served(f"{module}:{name}")


def test_a_predictor_is_no_runner(module: str) -> None:
    with pytest.raises(TargetError, match="is a Echo, not a runner"):
        load_runner(f"{module}:Echo")
