"""The one place that calls a runner's functions: with the frames, the config and the hooks as they are promised."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from .context import RunContext
from .diagnostics import ValidationDiagnostic
from .frames import library_wanted, to_library, to_table
from .runner import BaseModelRunner, optional_arguments

Runner = BaseModelRunner[Any]
Geo = dict[str, Any] | None


class PredictionError(Exception):
    """A runner returned predictions that break a rule: `row_count`, `columns` or `type`."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def run_train(runner: Runner, config: dict[str, Any], data: pa.Table, geo: Geo, context: RunContext) -> Any:
    """Trains and returns the model. What the runner raises is raised."""
    with _hooks(runner):
        function = runner.function("on_train")
        extra = optional_arguments(function, geo=geo, context=context)
        return _wait(function(parse(runner, config), _frame(function, "data", 1, data), **extra))


def run_predict(
    runner: Runner, config: dict[str, Any], model: Any, historic: pa.Table, future: pa.Table, geo: Geo, context: RunContext
) -> pa.Table:
    """Predicts and returns the checked predictions. Raises PredictionError, and what the runner raises."""
    with _hooks(runner):
        function = runner.function("on_predict")
        arguments, extra = _predict_arguments(runner, function, config, model, historic, future, geo, context)
        return checked(runner, _wait(function(*arguments, **extra)), future.num_rows)


async def arun_predict(
    runner: Runner, config: dict[str, Any], model: Any, historic: pa.Table, future: pa.Table, geo: Geo, context: RunContext
) -> pa.Table:
    """run_predict() on a running event loop, for async functions."""
    await _called(runner.function("on_init"))
    try:
        function = runner.function("on_predict")
        arguments, extra = _predict_arguments(runner, function, config, model, historic, future, geo, context)
        result = function(*arguments, **extra)
        return checked(runner, await result if inspect.isawaitable(result) else result, future.num_rows)
    finally:
        await _called(runner.function("on_cleanup"))


def run_validate_train(runner: Runner, config: dict[str, Any], data: pa.Table, geo: Geo) -> list[ValidationDiagnostic]:
    """The runner's own findings about the input of a training."""
    function = runner.function("on_validate_train")
    extra = optional_arguments(function, geo=geo)
    return list(_wait(function(parse(runner, config), _frame(function, "data", 1, data), **extra)) or [])


def run_validate_predict(
    runner: Runner, config: dict[str, Any], historic: pa.Table, future: pa.Table, geo: Geo
) -> list[ValidationDiagnostic]:
    """The runner's own findings about the input of a prediction."""
    function = runner.function("on_validate_predict")
    extra = optional_arguments(function, geo=geo)
    frames = (_frame(function, "historic", 1, historic), _frame(function, "future", 2, future))
    return list(_wait(function(parse(runner, config), *frames, **extra)) or [])


def parse(runner: Runner, config: dict[str, Any]) -> Any:
    """The runner's own copy of the config, as an object of its schema."""
    return runner.config_schema.model_validate(config)


def checked(runner: Runner, result: Any, rows: int) -> pa.Table:
    """The predictions as a table. Raises PredictionError when they break a rule."""
    try:
        table = to_table(result)
    except (TypeError, pa.ArrowException) as error:
        raise PredictionError("type", f"the runner returned something that is no frame: {error}") from error
    if runner.same_rows and table.num_rows != rows:
        raise PredictionError("row_count", f"the runner returned {table.num_rows} rows for the {rows} rows of `future`")
    repeated = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if repeated:
        raise PredictionError("columns", f"the runner returned columns of the same name: {', '.join(repeated)}")
    missing = [name for name in runner.prediction_columns if name not in table.column_names]
    if missing:
        raise PredictionError("columns", f"the runner did not return the columns {', '.join(missing)}")
    return table


def _predict_arguments(
    runner: Runner,
    function: Callable[..., Any],
    config: dict[str, Any],
    model: Any,
    historic: pa.Table,
    future: pa.Table,
    geo: Geo,
    context: RunContext,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    frames = (_frame(function, "historic", 2, historic), _frame(function, "future", 3, future))
    return (parse(runner, config), model, *frames), optional_arguments(function, geo=geo, context=context)


def _frame(function: Callable[..., Any], name: str, position: int, table: pa.Table) -> Any:
    """The table as the function wants it, whatever the function calls the parameter."""
    names = list(inspect.signature(function).parameters)
    called = name if name in names or position >= len(names) else names[position]
    return to_library(table, library_wanted(function, called))


@contextmanager
def _hooks(runner: Runner) -> Iterator[None]:
    """on_init before, on_cleanup after; an error of the clean-up does not hide the error of the work."""
    _wait(runner.function("on_init")())
    try:
        yield
    except BaseException as error:
        try:
            _wait(runner.function("on_cleanup")())
        except Exception as second:
            error.add_note(f"on_cleanup failed as well: {type(second).__name__}: {second}")
        raise
    _wait(runner.function("on_cleanup")())


def _wait(result: Any) -> Any:
    """What a function returned, waited for if the function is async."""
    return asyncio.run(_as_coroutine(result)) if inspect.isawaitable(result) else result


async def _called(hook: Callable[[], Any]) -> None:
    result = hook()
    if inspect.isawaitable(result):
        await result


async def _as_coroutine(awaitable: Any) -> Any:
    coroutine: Coroutine[Any, Any, Any] = awaitable
    return await coroutine
