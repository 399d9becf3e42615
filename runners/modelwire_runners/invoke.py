"""The one place that calls a runner's functions: with the frames, the config and the hooks as they are promised."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from .context import RunContext
from .diagnostics import ValidationDiagnostic
from .frames import Frame, FrameLibrary, TableFrame, library_wanted, to_columns, to_library, to_table
from .json_values import plain_scores
from .numbers import Columns
from .runner import BaseModelRunner, optional_arguments
from .transforms import TransformedFrame, transformed

Runner = BaseModelRunner[Any]
Geo = dict[str, Any] | None
_IMMUTABLE = (str, int, float, bool, type(None))


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
        given = _frame(function, "data", 1, transformed(data, runner.transforms))
        return _wait(function(parse(runner, config), given, **extra))


def run_predict(
    runner: Runner, config: dict[str, Any], model: Any, historic: pa.Table, future: pa.Table, geo: Geo, context: RunContext
) -> pa.Table:
    """Predicts and returns the checked predictions. Raises PredictionError, and what the runner raises."""
    result = PredictCall(runner).run(parse(runner, config), model, TableFrame(historic), TableFrame(future), geo, context)
    return checked(runner, result, future.num_rows)


class PredictCall:
    """A runner's on_predict, looked into once and called many times. `is_async` tells whether it wants an event loop."""

    def __init__(self, runner: Runner) -> None:
        self._function = function = runner.function("on_predict")
        self._libraries = _library(function, "historic", 2), _library(function, "future", 3)
        self._transforms = runner.transforms
        self._extra = frozenset(optional_arguments(function, geo=None, context=None))
        hooks = [name for name in ("on_init", "on_cleanup") if _is_own(runner, name)]
        self._hooks = runner if hooks else None
        self.is_async = inspect.iscoroutinefunction(function)
        # Whether it can be called where an event loop runs already.
        self.is_plain = not self.is_async and not any(inspect.iscoroutinefunction(runner.function(name)) for name in hooks)

    @property
    def wants_context(self) -> bool:
        return "context" in self._extra

    @property
    def wants_matrix(self) -> bool:
        return self._libraries[1] is FrameLibrary.NUMPY

    def run(self, config: Any, model: Any, historic: Frame, future: Frame, geo: Geo, context: RunContext | None) -> Any:
        """What the function returned. Raises what it raises. `context` may be left out unless the function wants it."""
        if self._hooks is None:
            return _wait(self._call(config, model, historic, future, geo, context))
        with _hooks(self._hooks):
            return _wait(self._call(config, model, historic, future, geo, context))

    async def arun(self, config: Any, model: Any, historic: Frame, future: Frame, geo: Geo, context: RunContext | None) -> Any:
        """run() on a running event loop, for async functions."""
        if self._hooks is not None:
            await _called(self._hooks.function("on_init"))
        try:
            result = self._call(config, model, historic, future, geo, context)
            return await result if inspect.isawaitable(result) else result
        finally:
            if self._hooks is not None:
                await _called(self._hooks.function("on_cleanup"))

    def _call(self, config: Any, model: Any, historic: Frame, future: Frame, geo: Geo, context: RunContext | None) -> Any:
        if self._transforms:
            historic, future = (TransformedFrame(frame, self._transforms) for frame in (historic, future))
        frames = to_library(historic, self._libraries[0]), to_library(future, self._libraries[1])
        if not self._extra:
            return self._function(config, model, *frames)
        given = {"geo": geo, "context": context}
        return self._function(config, model, *frames, **{name: given[name] for name in self._extra})


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


def run_score(runner: Runner, config: dict[str, Any], model: Any, data: pa.Table, context: RunContext) -> dict[str, float]:
    """The scores of the runner's own hook; a number without a name is called `score`. Raises InvalidResult, and what the hook raises."""
    with _hooks(runner):
        function = runner.function("on_score")
        extra = optional_arguments(function, context=context)
        given = _frame(function, "data", 2, transformed(data, runner.transforms))
        return plain_scores(_wait(function(parse(runner, config), model, given, **extra)), "on_score")


def parse(runner: Runner, config: dict[str, Any]) -> Any:
    """The runner's own copy of the config, as an object of its schema."""
    return runner.config_schema.model_validate(config)


class ParsedConfig:
    """A config that was parsed once. Each call gets one of its own, which it may change."""

    def __init__(self, runner: Runner, config: dict[str, Any]) -> None:
        self._config = parsed = parse(runner, config)
        own, others = parsed.__dict__, list((parsed.__pydantic_extra__ or {}).values())
        self._lists = [
            name for name, value in own.items() if type(value) is list and all(isinstance(one, _IMMUTABLE) for one in value)
        ]
        rest = [value for name, value in own.items() if name not in self._lists]
        self._shared = parsed.model_copy(deep=True)
        self._is_flat = parsed.__pydantic_private__ is None and all(isinstance(value, _IMMUTABLE) for value in [*rest, *others])

    def unchanged(self) -> Any:
        """For calls of which each is over before the next one begins: the same object until one of them changes it."""
        if self._shared != self._config:
            self._shared = self.copy()
        return self._shared

    def copy(self) -> Any:
        if not self._is_flat:
            return self._config.model_copy(deep=True)
        copy = self._config.model_copy()
        values = copy.__dict__
        for name in self._lists:
            values[name] = values[name].copy()
        return copy


def answer_of(runner: Runner, result: Any, rows: int) -> Columns | pa.Table:
    """The predictions, checked as checked() does: columns of numbers where they are nothing else, so that no table need be made."""
    columns = to_columns(result)
    if columns is None:
        return checked(runner, result, rows)
    _check_rules(runner, list(columns), len(next(iter(columns.values()))), rows)
    return columns


def checked(runner: Runner, result: Any, rows: int) -> pa.Table:
    """The predictions as a table. Raises PredictionError when they break a rule."""
    try:
        table = to_table(result)
    except (TypeError, pa.ArrowException) as error:
        raise PredictionError("type", f"the runner returned something that is no frame: {error}") from error
    _check_rules(runner, table.column_names, table.num_rows, rows)
    return table


def _check_rules(runner: Runner, names: Sequence[str], found: int, rows: int) -> None:
    if runner.same_rows and found != rows:
        raise PredictionError("row_count", f"the runner returned {found} rows for the {rows} rows of `future`")
    if len(set(names)) < len(names):
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise PredictionError("columns", f"the runner returned columns of the same name: {', '.join(repeated)}")
    missing = [name for name in runner.prediction_columns if name not in names]
    if missing:
        raise PredictionError("columns", f"the runner did not return the columns {', '.join(missing)}")


def _frame(function: Callable[..., Any], name: str, position: int, table: pa.Table) -> Any:
    """The table as the function wants it."""
    return to_library(TableFrame(table), _library(function, name, position))


def _is_own(runner: Runner, hook: str) -> bool:
    """Whether there is anything to be called."""
    function = runner.function(hook)
    return getattr(function, "__func__", function) is not getattr(BaseModelRunner, hook)


def _library(function: Callable[..., Any], name: str, position: int) -> FrameLibrary:
    """Whose frame the function wants there, whatever it calls the parameter."""
    names = list(inspect.signature(function).parameters)
    return library_wanted(function, name if name in names or position >= len(names) else names[position])


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
