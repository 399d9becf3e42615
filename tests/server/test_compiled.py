"""Estimators and what stands in for them."""

import asyncio
import contextlib
import copy
import json
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVR
from sklearn.utils.validation import check_is_fitted

from modelwire_server.compiled.conversion import differs
from modelwire_server.compiled.originals import Original, OriginalNeeded
from modelwire_server.compiled.places import Place, estimators_of, replaced
from modelwire_server.compiled.stand_ins import BLOCK_BYTES, Graph, StandIn, compiled, fallbacks
from modelwire_server.compiled.trial import Compiled, compile_model, difference_of, edges_of, sample_of

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(500, 3))
TARGET = X @ [1.0, -2.0, 0.5]
CLASS = np.where(TARGET > 0, "yes", "no")
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])
COLORED = FRAME.assign(color=RANDOM.choice(["red", "green"], len(FRAME)), n=RANDOM.integers(0, 4, len(FRAME)))


def by_predict(model: Any, rows: Any) -> Any:
    return {"p": model.predict(rows)}


def by_probability(model: Any, rows: Any) -> Any:
    return {"p": model.predict_proba(rows)[:, 1], "label": model.predict(rows)}


def by_decision(model: Any, rows: Any) -> Any:
    return {"p": model.decision_function(rows)}


def by_transform(model: Any, rows: Any) -> Any:
    return {f"p{number}": column for number, column in enumerate(model.transform(rows).T)}


Predicts = Callable[[Any, Any], Any]


def tried(model: Any, predicts: Predicts, frame: pd.DataFrame = FRAME, *, arrays: bool = True) -> tuple[Compiled, Any]:
    """What compiling makes of the model, and the stand-in as it is after it was stored."""

    def predict(some_model: Any, table: pa.Table) -> pa.Table:
        rows = table.to_pandas()
        return pa.table(predicts(some_model, rows.to_numpy() if arrays else rows))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compile_model(model, predict, pa.Table.from_pandas(frame, preserve_index=False))
    json.dumps(found.report, allow_nan=False)
    stand_in = compiled(Original.known(model), [Graph.read(graph.content) for graph in found.graphs]) if found.graphs else None
    return found, stand_in


@pytest.mark.parametrize("arrays", [True, False], ids=["arrays", "frames"])
@pytest.mark.parametrize(
    ("model", "target", "predicts", "exact"),
    [
        (make_pipeline(StandardScaler(), LogisticRegression()), CLASS, by_probability, True),
        (make_pipeline(StandardScaler(), LogisticRegression()), CLASS, by_decision, True),
        (LogisticRegression(), TARGET > 0, by_probability, True),
        (LinearRegression(), TARGET, by_predict, True),
        (RandomForestClassifier(10, random_state=0), CLASS, by_probability, False),
        (RandomForestRegressor(10, random_state=0), TARGET, by_predict, False),
        (GradientBoostingClassifier(n_estimators=10), CLASS, by_probability, False),
        (HistGradientBoostingClassifier(max_iter=10), CLASS, by_probability, False),
        (HistGradientBoostingRegressor(max_iter=10), TARGET, by_predict, False),
        (KMeans(3, n_init=1, random_state=0), None, by_transform, True),
        (make_pipeline(StandardScaler(), SVR()), TARGET, by_predict, False),
        (make_pipeline(SimpleImputer(), StandardScaler(), Ridge()), TARGET, by_predict, False),
        (make_pipeline(StandardScaler(), RandomForestRegressor(10, random_state=0)), TARGET, by_predict, False),
        (IsolationForest(n_estimators=5, random_state=0), None, by_predict, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseEstimator) else getattr(value, "__name__", ""),
)
def test_a_compiled_model_predicts_as_the_original(model: Any, target: Any, predicts: Predicts, exact: bool, arrays: bool) -> None:
    rows = X if arrays else FRAME
    model.fit(rows, target)
    found, stand_in = tried(model, predicts, arrays=arrays)
    assert found.report["passed"], found.report
    before = fallbacks.count
    expected, answer = predicts(model, rows), predicts(stand_in, rows)
    assert fallbacks.count == before
    for name, values in expected.items():
        assert np.asarray(answer[name]).dtype == values.dtype
        assert differs(values, answer[name]) <= (1e-12 if exact else 1e-5)


@pytest.mark.parametrize("last", [LogisticRegression(), RandomForestRegressor(5, random_state=0)], ids=["linear", "forest"])
def test_columns_of_text_and_numbers_are_compiled(last: Any) -> None:
    parts = [
        ("numbers", StandardScaler(), ["a", "b", "c", "n"]),
        ("texts", OneHotEncoder(handle_unknown="ignore"), ["color", "n"]),
    ]
    model = Pipeline([("columns", ColumnTransformer(parts)), ("last", last)])
    model.fit(COLORED, TARGET > 0 if isinstance(last, LogisticRegression) else TARGET)
    found, stand_in = tried(model, by_predict, COLORED, arrays=False)
    assert found.report["passed"], found.report
    # Every other value of a whole number is where trees branch that saw only the values around it.
    assert differs(model.predict(COLORED), stand_in.predict(COLORED)) <= 1e-5
    unknown = COLORED.assign(color="purple")
    assert differs(model.predict(unknown), stand_in.predict(unknown)) <= 1e-5
    before, whole = fallbacks.count, COLORED.assign(n=COLORED["n"].astype(float))
    assert differs(model.predict(whole), stand_in.predict(whole)) <= 1e-5
    assert fallbacks.count == before
    for n in (0.5, None):
        other = whole.head(2).assign(n=[n, 1.0])
        with contextlib.suppress(ValueError):
            stand_in.predict(other)
        assert fallbacks.count > before
        before = fallbacks.count


class Guess(RegressorMixin, BaseEstimator):
    """An estimator that nobody can convert."""

    def fit(self, rows: Any, target: Any) -> "Guess":
        self.n_features_in_ = 3
        return self

    def predict(self, rows: Any) -> Any:
        return np.zeros(len(rows))


RIDGE = Ridge().fit(X, TARGET)


@pytest.mark.parametrize(
    ("model", "predicts", "reason"),
    [
        (3, lambda model, rows: {"p": rows[:, 0]}, "the model neither is a scikit-learn estimator"),
        ({"deep": {"er": RIDGE}}, lambda model, rows: by_predict(model["deep"]["er"], rows), "the model neither is"),
        ([RIDGE] * 51, lambda model, rows: by_predict(model[0], rows), "the model holds 51 estimators, more than 50"),
        (RIDGE, lambda model, rows: {"p": rows @ model.coef_}, "predict calls none of predict, predict_proba"),
        (Guess().fit(X, TARGET), by_predict, "Guess.predict cannot be converted: MissingShapeCalculator: "),
        (RIDGE, lambda model, rows: by_predict(model, rows.tolist()), "rows come as list, not as a matrix"),
        (RIDGE, lambda model, rows: by_predict(model, rows) | {"random": RANDOM.normal(size=len(rows))}, "predictions differ by"),
        (
            RIDGE,
            lambda model, rows: by_predict(model, rows) | {"type": [str(id(model))] * len(rows)},
            "types or values that are no",
        ),
        (RIDGE, lambda model, rows: by_predict(model, rows) | {"n": [1] * (type(model) is StandIn) + [2]}, "ArrowInvalid: "),
        (
            KNeighborsClassifier(algorithm="kd_tree").fit(np.tile(X, (40, 1)), np.tile(CLASS, 40)),
            by_probability,
            "it would be slower",
        ),
    ],
)
def test_what_cannot_be_compiled_says_why(model: Any, predicts: Predicts, reason: str) -> None:
    found, _ = tried(model, predicts)
    assert not found.graphs
    assert found.report["engine"] == "onnx"
    assert found.report["passed"] is False
    assert found.report["reason"].startswith(reason)


def test_a_frame_without_rows_cannot_be_tried() -> None:
    found, _ = tried(RIDGE, by_predict, FRAME.head(0))
    assert found.report["reason"] == "the training frame has no rows"


@dataclass(frozen=True)
class Held:
    model: Any
    factor: float = 2.0


class Pair(NamedTuple):
    scaler: Any
    model: Any


@pytest.mark.parametrize(
    ("model", "predicts", "place"),
    [
        ({"model": RIDGE, "factor": 2.0}, lambda model, rows: {"p": model["factor"] * model["model"].predict(rows)}, "['model']"),
        ([2.0, RIDGE], lambda model, rows: {"p": model[0] * model[1].predict(rows)}, "[1]"),
        ((2.0, RIDGE), lambda model, rows: {"p": model[0] * model[1].predict(rows)}, "[1]"),
        (Pair(2.0, RIDGE), lambda model, rows: {"p": model.scaler * model.model.predict(rows)}, "[1]"),
        (Held(RIDGE), lambda model, rows: {"p": model.factor * model.model.predict(rows)}, ".model"),
    ],
)
def test_estimators_inside_of_a_model_are_found_and_the_model_stays(model: Any, predicts: Predicts, place: str) -> None:
    found, stand_in = tried(model, predicts)
    assert [one["place"] for one in found.report["methods"]] == [place]
    assert type(stand_in) is type(model)
    assert estimators_of(model) != {}
    assert all(one is RIDGE for one in estimators_of(model).values())
    before = fallbacks.count
    assert differs(predicts(model, X)["p"], predicts(stand_in, X)["p"]) < 1e-12
    assert fallbacks.count == before


def test_several_estimators_have_a_stand_in_each() -> None:
    scaler, ridge = StandardScaler().fit(X), Ridge().fit(StandardScaler().fit_transform(X), TARGET)
    found, stand_in = tried(Pair(scaler, ridge), lambda model, rows: {"p": model.model.predict(model.scaler.transform(rows))})
    assert [(one["place"], one["method"]) for one in found.report["methods"]] == [("[0]", "transform"), ("[1]", "predict")]
    assert differs(ridge.predict(scaler.transform(X)), stand_in.model.predict(stand_in.scaler.transform(X))) < 1e-12


def test_rows_that_a_graph_does_not_take_go_to_the_estimator() -> None:
    model = HistGradientBoostingRegressor(max_iter=5).fit(FRAME, TARGET)
    _, stand_in = tried(model, by_predict, arrays=False)
    missing = FRAME.head(3).assign(a=[1.0, None, 2.0])
    for rows in (missing, FRAME.head(2).astype("Int64", errors="ignore").assign(a=pd.array([1, 2], "Int64"))):
        before = fallbacks.count
        assert np.array_equal(stand_in.predict(rows), model.predict(rows))
        assert fallbacks.count == before + 1
    for rows in (FRAME[["c", "b", "a"]], FRAME[["a", "b"]], FRAME.head(0)):
        with pytest.raises(ValueError, match=r"feature names|0 sample") as expected:
            model.predict(rows)
        with pytest.raises(ValueError, match=r"feature names|0 sample") as found:
            stand_in.predict(rows)
        assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("predicts", [by_predict, by_probability], ids=["classes", "probabilities"])
def test_many_rows_are_given_to_a_graph_in_blocks(predicts: Predicts) -> None:
    rows = RANDOM.normal(size=(BLOCK_BYTES // 8, 3))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows[:500], rows[:500, 0] > 0)
    _, stand_in = tried(model, predicts, pd.DataFrame(rows[:500], columns=list("abc")))
    before = fallbacks.count
    for count in (BLOCK_BYTES // 24, BLOCK_BYTES // 24 + 1, len(rows)):
        found, expected = predicts(stand_in, rows[:count]), predicts(model, rows[:count])
        assert difference_of(pa.table(found), pa.table(expected)) < 1e-6
    assert fallbacks.count == before


def test_infinite_numbers_are_refused_as_before() -> None:
    _, stand_in = tried(RIDGE, by_predict)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        stand_in.predict(np.array([[np.inf, 0, 0]]))
    many = np.zeros((BLOCK_BYTES // 8, 3), order="F")
    many[-1, -1] = np.inf  # in the last block
    with pytest.raises(ValueError, match="Input X contains infinity"):
        stand_in.predict(many)


def test_a_stand_in_is_the_estimator_in_all_else() -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, CLASS)
    _, stand_in = tried(model, by_predict, arrays=False)
    assert type(stand_in) is StandIn
    assert isinstance(stand_in, Pipeline)
    assert list(stand_in.classes_) == ["no", "yes"]
    assert list(stand_in[0].feature_names_in_) == ["a", "b", "c"]
    assert stand_in.n_features_in_ == 3
    assert len(stand_in) == len(list(stand_in)) == 2
    assert bool(stand_in)
    assert repr(stand_in) == repr(model)
    check_is_fitted(stand_in)
    assert np.array_equal(stand_in.predict_log_proba(FRAME), model.predict_log_proba(FRAME))
    for same in (copy.deepcopy(stand_in), pickle.loads(pickle.dumps(stand_in))):
        assert type(same) is Pipeline
        assert np.array_equal(same.predict(FRAME), model.predict(FRAME))


def test_an_estimator_that_is_not_in_memory_is_asked_for_when_it_is_needed() -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, CLASS)
    found, _ = tried(model, by_predict)
    reads: list[asyncio.Event] = []

    async def read() -> Any:
        reads.append(asyncio.Event())
        await reads[-1].wait()
        if len(reads) == 1:
            raise OSError("not now")
        return model

    original = Original(read)
    stand_in = compiled(original, [Graph.read(graph.content) for graph in found.graphs])
    needs: list[Callable[[], Any]] = [
        lambda: isinstance(stand_in, Pipeline),
        lambda: stand_in.classes_,
        lambda: stand_in[0],
        lambda: len(stand_in),
        lambda: list(stand_in),
        lambda: repr(stand_in),
        lambda: copy.copy(stand_in),
        lambda: stand_in.predict(X[:0]),
        lambda: stand_in.predict_proba(X),
    ]

    async def use() -> None:
        assert differs(stand_in.predict(X), model.predict(X)) == 0
        for need in needs:
            with pytest.raises(OriginalNeeded):
                need()
        for fails in (True, False):
            waiting = [asyncio.create_task(original.read()) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            await asyncio.sleep(0)
            reads[-1].set()
            first, *others = await asyncio.gather(*waiting, return_exceptions=True)
            assert isinstance(first, asyncio.CancelledError)
            assert [isinstance(other, OSError) for other in others] == [fails, fails]
            assert original.is_read is not fails
        await original.read()

    asyncio.run(use())
    assert len(reads) == 2
    assert isinstance(stand_in, Pipeline)
    assert np.array_equal(stand_in.predict_proba(X), model.predict_proba(X))


def test_a_method_with_more_arguments_is_the_estimators() -> None:
    calls = []

    class Watched(Ridge):
        def predict(self, rows: Any, more: bool = False) -> Any:
            calls.append(more)
            return super().predict(rows)

    model = Watched().fit(X, TARGET)
    stand_in = StandIn(Original.known(model), {})
    stand_in.predict(X, more=True)
    assert calls == [True]


def test_graphs_of_another_model_are_not_taken() -> None:
    found, _ = tried({"model": RIDGE}, lambda model, rows: by_predict(model["model"], rows))
    with pytest.raises(KeyError):
        compiled(Original.known({"other": RIDGE}), [Graph.read(graph.content) for graph in found.graphs])


def test_places_are_replaced_in_a_copy() -> None:
    model = {"a": RIDGE, "b": 1}
    found = replaced(model, {Place("item", "a"): "other"})
    assert found == {"a": "other", "b": 1}
    assert model["a"] is RIDGE


def test_sampled_rows_are_complete_if_there_are_any() -> None:
    table = pa.table({"a": [1.0, None, float("nan"), 4.0], "b": ["x", "y", "z", None]})
    assert sample_of(table).to_pydict() == {"a": [1.0], "b": ["x"]}
    empty = pa.table({"a": [1.0, None], "b": [None, "x"]})
    assert sample_of(empty).num_rows == 2
    assert sample_of(pa.table({"a": range(5000)})).column("a").to_pylist()[::399] == [0, 4999]


def test_edges_are_the_ends_of_columns_and_beyond() -> None:
    table = pa.table({"a": [1.0, 3.0], "n": pa.array([2, 4], pa.uint8()), "s": ["x", "y"], "none": pa.nulls(2, pa.float64())})
    edges = edges_of(table)
    assert edges.schema == table.schema
    assert set(edges.column("a").to_pylist()) == {1.0, 3.0, 2.0, -1.0, 5.0, 0.0}
    assert set(edges.column("n").to_pylist()) == {2, 4, 3, 0}
    assert set(edges.column("s").to_pylist()) == {"x", "y"}


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ([1.0, 200.0], [1.5, 201.0], 0.5),
        ([1.0, None], [1.0, None], 0.0),
        ([1.0, None], [None, 1.0], np.inf),
        ([float("nan")], [float("nan")], 0.0),
        ([float("nan")], [1.0], np.inf),
        ([[1.0, 2.0], []], [[1.0, 2.25], []], 0.125),
        ([[1.0, 2.0], []], [[1.0], [2.0]], np.inf),
        (["a"], ["a"], 0.0),
        (["a"], ["b"], np.inf),
        ([1], [1.0], np.inf),
        ([1], [1, 2], np.inf),
        ([], [], 0.0),
    ],
)
def test_predictions_are_compared(one: Any, other: Any, difference: float) -> None:
    assert difference_of(pa.table({"p": one}), pa.table({"p": other})) == difference
    assert difference_of(pa.table({"p": one}), pa.table({"q": other})) == np.inf
