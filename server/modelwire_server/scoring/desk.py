"""Scores models on rows that callers send."""

import asyncio
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from modelwire_runners import InvalidResult, RunContext
from modelwire_runners import arrow_functions as pc
from modelwire_runners.invoke import run_score

from ..errors import FieldViolation, InvalidField, InvalidPrediction, MemoryLimit, Overloaded, RunnerFailed
from ..inference.models import LoadedModel
from ..prediction import Prediction, PredictOrder
from ..registry.catalog import ModelCatalog
from ..registry.model import Resolved
from .kpis import NotComparable, kpis, likeliest

# Scores compute in Python, and predictions go before.
THREADS = 2
MOST_UNDER_WAY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOrder:
    """Rows with what is right among the columns. `target` is the column of that, by default what is known of the model; `prediction` the
    column of the predictions that is compared with it, by default the first that is new."""

    model: str
    data: pa.Table
    target: str = ""
    prediction: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Scores by their names, of the model that was meant; `rows` is how many rows have a target."""

    scores: dict[str, float]
    model_id: str
    version: str
    rows: int


class ScoreDesk:
    """Where it is found out how good models are."""

    def __init__(self, *, prediction: Prediction, registry: ModelCatalog) -> None:
        self._prediction = prediction
        self._registry = registry
        self._threads = asyncio.Semaphore(THREADS)
        self._under_way = 0

    async def score(self, order: ScoreOrder) -> Scored:
        """Raises InvalidField, Overloaded, and what Prediction.predict() raises."""
        if self._under_way >= MOST_UNDER_WAY:
            raise Overloaded(f"{self._under_way} models are being scored already", limit=MOST_UNDER_WAY)
        self._under_way += 1
        try:
            return await self._score(order)
        finally:
            self._under_way -= 1

    async def _score(self, order: ScoreOrder) -> Scored:
        named = await self._prediction.resolve(order.model)
        model = await self._prediction.load(named.artifact_id)
        target = order.target or await self._target_of(named, model)
        rows = _with_truth(order.data, target)
        if model.runner.overrides("on_score") and not model.is_workspace:
            # It may ask anything of the model.
            await model.original.read()
            compute = partial(_by_runner, model, rows)
        else:
            compute = partial(_compared, order, rows, target, await self._predicted(model, rows, target))
        async with self._threads:
            scores = await asyncio.to_thread(compute)
        return Scored(scores=scores, model_id=named.artifact_id, version=named.version, rows=rows.num_rows)

    async def _target_of(self, named: Resolved, model: LoadedModel) -> str:
        """What is known of the version, else of its runner."""
        name, _, number = named.version.partition("/")
        known = (await self._registry.version(name, number)).facts.target if number else ""
        if known or model.runner.target_columns:
            return known or model.runner.target_columns[0]
        raise _wrong("target", "is needed: it is not known what this model predicts")

    async def _predicted(self, model: LoadedModel, rows: pa.Table, target: str) -> pa.Table:
        """What the model says of the rows, without being told what is right."""
        hidden = {target, *model.runner.target_columns}
        inputs = rows.select([name for name in rows.column_names if name not in hidden])
        try:
            predicted = await self._prediction.predict(PredictOrder(model=model.artifact_id, future=inputs))
        except InvalidField as error:
            error.violations = tuple(map(_of_data, error.violations))
            raise
        if predicted.table.num_rows != rows.num_rows:
            message = f"{predicted.table.num_rows} predictions for {rows.num_rows} rows cannot be compared"
            raise InvalidPrediction(message, rule="row_count")
        return predicted.table.select([name for name in predicted.table.column_names if name not in inputs.column_names])


def _with_truth(data: pa.Table, target: str) -> pa.Table:
    """The rows whose target is known. Raises InvalidField if there are none."""
    if target not in data.column_names:
        raise _wrong("data", f"has no column {target!r}, which is what the model predicts")
    known = data.column(target)
    rows = data.filter(pc.invert(pc.is_null(known, nan_is_null=pa.types.is_floating(known.type))))
    if not rows.num_rows:
        raise _wrong("data", f"has no row whose {target!r} is known")
    return rows


def _by_runner(model: LoadedModel, rows: pa.Table) -> dict[str, float]:
    try:
        return run_score(model.runner, model.config, model.of(), rows, RunContext())
    except InvalidResult as error:
        raise InvalidPrediction(f"the runner's scores: {error}", rule=error.rule) from error
    except MemoryError as error:
        raise MemoryLimit("scoring ran out of memory", limit="process") from error
    except (Exception, SystemExit) as error:
        kind = type(error).__name__
        raise RunnerFailed(f"the runner raised {kind}: {error}", type=kind, message=error) from error


def _compared(order: ScoreOrder, rows: pa.Table, target: str, predictions: pa.Table) -> dict[str, float]:
    """Raises InvalidField, InvalidPrediction."""
    truth = rows.column(target)
    predicted = _column(order, truth, target, predictions)
    if gaps := _gaps(predicted):
        raise InvalidPrediction(f"{gaps:,} of {rows.num_rows:,} predictions are missing, NaN or infinite", rule="finite")
    try:
        return kpis(truth, predicted)
    except NotComparable as error:
        raise _wrong("prediction" if order.prediction else "data", f"cannot be scored: a column {error}") from error


def _column(order: ScoreOrder, truth: pa.ChunkedArray, target: str, predictions: pa.Table) -> pa.ChunkedArray:
    """The column that is to be compared with the truth."""
    names: list[str] = predictions.column_names
    if order.prediction:
        if order.prediction not in names:
            raise _wrong("prediction", f"{order.prediction!r} is no column of the predictions: {', '.join(names) or 'none'}")
        return predictions.column(order.prediction)
    if not names:
        raise _wrong("prediction", "is needed: the predictions have no column that is not among the rows")
    if target in names:
        return predictions.column(target)
    if _are_of_classes(truth, predictions):
        return likeliest(dict(zip(names, predictions.columns, strict=True)))
    return predictions.column(0)


def _are_of_classes(truth: pa.ChunkedArray, predictions: pa.Table) -> bool:
    """Whether there is a column of numbers for each class, under its name."""
    names = predictions.column_names
    if len(names) < 2 or not all(pa.types.is_floating(column.type) and not _gaps(column) for column in predictions.columns):
        return False
    return {str(value) for value in pc.unique(truth).to_pylist()} <= set(names)


def _gaps(column: pa.ChunkedArray) -> int:
    if pa.types.is_floating(column.type):
        return len(column) - int(pc.sum(pc.fill_null(pc.is_finite(column), False)).as_py() or 0)
    return int(column.null_count)


def _of_data(violation: FieldViolation) -> FieldViolation:
    """What is said of the rows to predict for, as said of those that the caller sent."""
    frame, dot, column = violation.field.partition(".")
    return replace(violation, field=f"data{dot}{column}") if frame == "future" else violation


def _wrong(field: str, text: str) -> InvalidField:
    return InvalidField.of(FieldViolation(field, text))
