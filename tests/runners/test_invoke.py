import asyncio
import decimal
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire_runners import BaseConfig, BaseModelRunner, FunctionalModelRunner, RunCanceled, RunContext, RunnerInfo
from modelwire_runners.frames import FrameLibrary, TableFrame, library_wanted, to_columns, to_library, to_matrix, to_table
from modelwire_runners.invoke import (
    ParsedConfig,
    PredictCall,
    PredictionError,
    answer_of,
    parse,
    run_predict,
    run_train,
    run_validate_predict,
    run_validate_train,
)

TABLE = pa.table({"x": [1, 2, None], "name": ["a", None, "ü"]})
NOTHING = TABLE.slice(0, 0)


class Config(BaseConfig):
    factor: float = 2.0


def functional(**functions: Any) -> FunctionalModelRunner:
    given: dict[str, Any] = {
        "on_train": lambda config, data: "model",
        "on_predict": lambda config, model, historic, future: future,
        "info": RunnerInfo(id="test"),
        **functions,
    }
    return FunctionalModelRunner(**given)


def predict(runner: BaseModelRunner[Any], future: pa.Table = TABLE, model: Any = None) -> pa.Table:
    return run_predict(runner, {}, model, NOTHING, future, None, RunContext())


def predict_on_a_loop(runner: BaseModelRunner[Any]) -> Any:
    """What on_predict returns where an event loop runs already."""
    call = PredictCall(runner)
    return asyncio.run(call.arun(parse(runner, {}), None, TableFrame(NOTHING), TableFrame(TABLE), None, RunContext()))


def test_the_model_of_train_reaches_predict_and_the_config_has_its_class() -> None:
    def train(config: Config, data: pd.DataFrame, geo: Any = None) -> dict[str, Any]:
        return {"factor": config.factor, "geo": geo}

    def predict_scaled(config: Config, model: Any, historic: pd.DataFrame, future: pd.DataFrame) -> pd.DataFrame:
        future["sample_0"] = future["x"] * model["factor"]
        return future

    runner = functional(on_train=train, on_predict=predict_scaled, config_schema=Config)
    model = run_train(runner, {"factor": 3.0}, TABLE, {"features": []}, RunContext())
    assert model == {"factor": 3.0, "geo": {"features": []}}
    assert predict(runner, model=model).column("sample_0").to_pylist() == [3.0, 6.0, None]
    assert "sample_0" not in TABLE.column_names


def test_async_functions_run_on_a_loop_of_their_own_or_on_the_callers() -> None:
    async def train(config: BaseConfig, data: pa.Table) -> int:
        await asyncio.sleep(0)
        return data.num_rows

    async def echo(config: BaseConfig, model: Any, historic: pa.Table, future: pa.Table) -> pa.Table:
        await asyncio.sleep(0)
        return future

    runner = functional(on_train=train, on_predict=echo)
    assert run_train(runner, {}, TABLE, None, RunContext()) == 3
    assert predict(runner) == TABLE
    assert predict_on_a_loop(runner) == TABLE


@pytest.mark.parametrize("fails", [False, True])
def test_hooks_run_once_around_each_run_also_when_it_fails(fails: bool) -> None:
    calls: list[str] = []

    class Hooked(BaseModelRunner[Config]):
        async def on_init(self) -> None:
            calls.append("init")

        def on_cleanup(self) -> None:
            calls.append("cleanup")

        def on_train(self, config: Config, data: Any, geo: Any = None) -> Any:
            calls.append("train")
            if fails:
                raise ValueError("bad data")

        def on_predict(self, config: Config, model: Any, historic: Any, future: Any, geo: Any = None) -> Any:
            calls.append("predict")
            return future

    runner = Hooked()
    assert (runner.config_schema, runner.info.id) == (Config, "hooked")
    if fails:
        with pytest.raises(ValueError, match="bad data"):
            run_train(runner, {}, TABLE, None, RunContext())
        assert calls == ["init", "train", "cleanup"]
    else:
        run_train(runner, {}, TABLE, None, RunContext())
        predict(runner)
        predict_on_a_loop(runner)
        assert calls == ["init", "train", "cleanup", *["init", "predict", "cleanup"] * 2]


def test_an_error_of_the_clean_up_does_not_hide_the_first_one() -> None:
    def fail() -> None:
        raise RuntimeError("cannot clean up")

    runner = functional(on_train=lambda config, data: 1 / 0, on_cleanup=fail)
    with pytest.raises(ZeroDivisionError) as failure:
        run_train(runner, {}, TABLE, None, RunContext())
    assert "cannot clean up" in failure.value.__notes__[0]


def frames_of_pandas(config: Any, model: Any, historic: pd.DataFrame, future: pd.DataFrame) -> list[str]:
    return [f"{type(historic).__module__}", type(future).__module__]


def frames_of_pyarrow(config: Any, model: Any, historic: pa.Table, future: pa.Table) -> list[str]:
    return [type(historic).__module__, type(future).__module__]


def frames_of_polars(config: Any, model: Any, past: pl.DataFrame, future: "pl.DataFrame") -> list[str]:
    return [type(past).__module__, type(future).__module__]


@pytest.mark.parametrize(
    ("function", "library"), [(frames_of_pandas, "pandas"), (frames_of_pyarrow, "pyarrow"), (frames_of_polars, "polars")]
)
def test_frames_come_in_the_library_of_the_annotation(function: Any, library: str) -> None:
    runner = functional(on_predict=function)
    modules = predict(runner, TABLE.slice(0, 2)).column("prediction").to_pylist()
    assert [module.partition(".")[0] for module in modules] == [library, library]


RESULTS = [
    pd.DataFrame({"y": [1, 2, 3]}),
    pl.DataFrame({"y": [1, 2, 3]}),
    pa.table({"y": [1, 2, 3]}),
    pa.record_batch({"y": [1, 2, 3]}),
    {"y": np.array([1, 2, 3])},
    {"y": pa.array([1, 2, 3])},
    [{"y": 1}, {"y": 2}, {"y": 3}],
    pd.Series([1, 2, 3], name="y"),
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__module__ + "." + type(result).__name__)
def test_predictions_may_have_many_forms(result: Any) -> None:
    assert predict(functional(on_predict=lambda *_: result)).column("y").to_pylist() == [1, 2, 3]


@pytest.mark.parametrize("result", [np.array([1, 2, 3]), [1, 2, 3]])
def test_bare_values_become_a_column(result: Any) -> None:
    assert predict(functional(on_predict=lambda *_: result)).column("prediction").to_pylist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("result", "rule", "words"),
    [
        (pd.DataFrame({"y": [1]}), "row_count", "returned 1 rows for the 3 rows"),
        (None, "type", "NoneType"),
        ("text", "type", "str"),
        (np.zeros((3, 2)), "type", "ndarray"),
        (pd.DataFrame([[1, 2]] * 3, columns=["y", "y"]), "type", "repeat"),
        (pa.Table.from_arrays([pa.array([1, 2, 3])] * 2, names=["y", "y"]), "columns", "same name"),
        (pa.table({"z": [1, 2, 3]}), "columns", "did not return the columns y"),
    ],
)
def test_predictions_that_break_a_rule(result: Any, rule: str, words: str) -> None:
    runner = functional(on_predict=lambda *_: result, prediction_columns=["y"])
    with pytest.raises(PredictionError, match=words) as error:
        predict(runner)
    assert error.value.rule == rule


def test_other_rows_are_fine_when_the_runner_says_so() -> None:
    assert predict(functional(on_predict=lambda *_: {"y": [1]}, same_rows=False)).num_rows == 1


def test_a_context_reports_and_tells_when_to_stop() -> None:
    told: list[tuple[str, dict[str, Any]]] = []

    def train(config: Any, data: Any, context: RunContext) -> str:
        context.progress(7, "done")
        context.metric("loss", np.float32(0.5), step=3)
        context.log("hello")
        assert not context.canceled
        assert 0 < (context.remaining() or 0) <= 60
        context.check()
        return context.job_id

    context = RunContext.ending_in(60, job_id="j", report=lambda kind, data: told.append((kind, data)))
    assert run_train(functional(on_train=train), {}, TABLE, None, context) == "j"
    assert told == [
        ("progress", {"fraction": 1.0, "message": "done"}),
        ("metric", {"name": "loss", "value": 0.5, "step": 3}),
        ("log", {"source": "logging", "level": "INFO", "logger": "runner", "text": "hello"}),
    ]
    with pytest.raises(RunCanceled):
        RunContext(is_canceled=lambda: True).check()
    assert RunContext().remaining() is None


def test_checks_of_the_author_are_asked() -> None:
    runner = functional(on_validate_train=lambda config, data: None, on_validate_predict=lambda config, historic, future: [])
    assert run_validate_train(runner, {}, TABLE, None) == run_validate_predict(runner, {}, NOTHING, TABLE, None) == []
    assert runner.overrides("on_validate_train")
    assert not runner.overrides("on_init")


VALUES = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): st.text(max_size=5),
    pa.bool_(): st.booleans(),
    pa.timestamp("us", "UTC"): st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda t: t.replace(tzinfo=UTC)),  # noqa: DTZ001
    pa.decimal128(12, 2): st.decimals(-1000, 1000, places=2).map(lambda d: decimal.Decimal(d)),
    pa.list_(pa.int64()): st.lists(st.integers(-9, 9), max_size=3),
    pa.dictionary(pa.int32(), pa.string()): st.sampled_from(["a", "b"]),
}


@given(st.data())
def test_values_survive_the_way_through_a_runner(data: st.DataObject) -> None:
    rows = data.draw(st.integers(0, 5))
    kinds = data.draw(st.lists(st.sampled_from(list(VALUES)), max_size=4))
    columns = [pa.array(data.draw(st.lists(st.none() | VALUES[kind], min_size=rows, max_size=rows)), kind) for kind in kinds]
    letters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])  # polars panics at a NUL in a name
    names = data.draw(st.lists(st.text(letters, max_size=4), min_size=len(kinds), max_size=len(kinds), unique=True))
    table = pa.Table.from_arrays(columns, names=names)

    def in_pyarrow(config: Any, model: Any, historic: pa.Table, future: pa.Table) -> pa.Table:
        return future

    def in_polars(config: Any, model: Any, historic: pl.DataFrame, future: pl.DataFrame) -> pl.DataFrame:
        return future

    assert predict(functional(on_predict=in_pyarrow, same_rows=bool(kinds)), table) == table
    if kinds:
        through_polars = predict(functional(on_predict=in_polars), table)
        assert through_polars.column_names == names
        assert through_polars.to_pydict() == table.to_pydict()


NUMBERS = pa.table({"x": [1, 2], "y": pa.array([0.5, None]), "z": [True, False]})


def array(config: BaseConfig, model: Any, historic: np.ndarray, future: np.ndarray) -> np.ndarray:
    return future


def text_annotation(config: BaseConfig, model: Any, historic: "np.ndarray", future: "np.typing.NDArray[np.float64]") -> Any:
    return future


@pytest.mark.parametrize("function", [array, text_annotation])
def test_an_array_is_given_to_functions_that_ask_for_one(function: Any) -> None:
    assert library_wanted(function, "historic") == library_wanted(function, "future") == FrameLibrary.NUMPY
    matrix = to_library(TableFrame(NUMBERS), FrameLibrary.NUMPY)
    np.testing.assert_array_equal(matrix, [[1, 0.5, 1], [2, np.nan, 0]])
    assert matrix.dtype == np.float64
    assert not matrix.flags.writeable


def test_the_columns_of_an_array_are_those_asked_for() -> None:
    np.testing.assert_array_equal(TableFrame(NUMBERS, ["z", "x"]).matrix(), [[1, 1], [0, 2]])
    assert to_matrix(NUMBERS.slice(0, 0)).shape == (0, 3)
    parts = [pa.chunked_array([[1, 2], [], [3]]), pa.chunked_array([[0.5], [None, 2.5]]), pa.chunked_array([[True], [False, True]])]
    assert to_matrix(pa.table(parts, names=["a", "b", "c"]))[:, [0, 2]].tolist() == [[1, 1], [2, 0], [3, 1]]
    assert np.array_equal(to_matrix(pa.table(parts, names=["a", "b", "c"]))[:, 1], [0.5, np.nan, 2.5], equal_nan=True)
    assert to_matrix(pa.table({"d": [decimal.Decimal("1.25")], "h": np.array([2], "f2")})).tolist() == [[1.25, 2]]


def test_text_has_no_place_in_an_array() -> None:
    with pytest.raises(TypeError, match="column 'name' of type string"):
        to_matrix(TABLE)


def test_the_runner_is_looked_into_once() -> None:
    class Hooked(BaseModelRunner[Config]):
        async def on_init(self) -> None: ...
        def on_train(self, config: Config, data: Any, geo: Any = None) -> Any: ...
        def on_predict(self, config: Config, model: Any, historic: Any, future: np.ndarray, geo: Any = None) -> Any: ...

    async def later(config: BaseConfig, model: Any, historic: Any, future: Any) -> Any:
        return future

    call = PredictCall(Hooked())
    assert (call.wants_matrix, call.is_async, call.is_plain) == (True, False, False)
    call = PredictCall(functional(on_predict=later))
    assert (call.wants_matrix, call.is_async, call.is_plain) == (False, True, False)
    assert PredictCall(functional()).is_plain


def test_each_call_has_a_config_of_its_own() -> None:
    runner = functional(config_schema=Config)
    for data in ({"names": ["a"]}, {"deep": {"names": ["a"]}}, {"additional_continuous_covariates": ["a"]}, {"factor": 3.0}):
        parsed = ParsedConfig(runner, data)
        first = parsed.copy()
        assert first == parse(runner, data)
        first.additional_continuous_covariates.append("b")
        first.factor = 5.0
        for value in (first.__pydantic_extra__ or {}).values():
            value.clear()
        assert parsed.copy() == parse(runner, data)


@pytest.mark.parametrize(
    "result",
    [
        np.array([1.0, 2.0]),
        np.array([[1, 2], [3, 4]])[:, 1],
        {"a": np.array([1, 2], "i4"), "b": np.array([0.5, 1.5], "f4")},
        pa.table({"a": [1, 2], "b": [0.5, 1.5]}),
    ],
)
def test_columns_of_numbers_need_no_table(result: Any) -> None:
    answer = answer_of(functional(), result, 2)
    assert isinstance(answer, dict)
    assert pa.table(answer) == to_table(result)


@pytest.mark.parametrize(
    "result",
    [
        [1.0, 2.0],
        np.array(["a", "b"]),
        np.array(["2026-01-01", "2026-01-02"], "M8[s]"),
        {"a": np.array([1.0, 2.0]), "b": [1, 2]},
        pd.DataFrame({"a": [1.0, 2.0]}),
        pa.table({"a": [1.0, None]}),
        pa.table({"a": [1.0, 2.0]}).replace_schema_metadata({"k": "v"}),
        pa.table([[1.0, 2.0]], schema=pa.schema([pa.field("a", pa.float64(), nullable=False)])),
        pa.table({"a": pa.array([1, 2], pa.timestamp("s"))}),
        pa.table({"a": pa.chunked_array([[1.0], [2.0]])}),
    ],
)
def test_all_else_becomes_a_table(result: Any) -> None:
    assert to_columns(result) is None
    assert answer_of(functional(), result, 2) == to_table(result)


@pytest.mark.parametrize("result", [np.array([1.0]), {"a": np.array([1.0])}, pa.table({"a": [1.0]})])
def test_columns_keep_the_rules_that_tables_keep(result: Any) -> None:
    with pytest.raises(PredictionError) as caught:
        answer_of(functional(), result, 2)
    assert caught.value.rule == "row_count"
    with pytest.raises(PredictionError) as caught:
        answer_of(functional(prediction_columns=["sample_0"]), result, 1)
    assert caught.value.rule == "columns"
