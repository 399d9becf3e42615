"""The first predictions of a model, with made-up rows: they are slow, and nobody should wait for them."""

import inspect
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from modelwire_runners import BaseModelRunner, RunContext
from modelwire_runners.invoke import run_predict
from modelwire_runners.numbers import array_of, type_of_numbers

from ..casts import is_text, type_named
from ..columns import Column
from ..compiled.originals import OriginalNeeded
from ..signature import Signature


def warm_up(runner: BaseModelRunner[Any], config: dict[str, Any], model: Any, signature: Signature) -> bool:
    """Predicts once with an object that the runner's function may be given, and tells whether that went well. What goes wrong is not looked
    at: the row is made up. Async functions are left alone, they belong to the event loop, and so are those that want more than a row."""
    table = example_of(signature)
    if table is None or not runner.independent_rows or inspect.iscoroutinefunction(runner.function("on_predict")):
        return False
    try:
        run_predict(runner, config, model, table.slice(0, 0), table, None, RunContext())
    except (Exception, OriginalNeeded):
        return False
    return True


def example_of(signature: Signature) -> pa.Table | None:
    """One row as the training might have had it; None where a type is not known by its name."""
    columns = {column.name: _example(column) for column in signature.inputs}
    return None if None in columns.values() else pa.table(columns)


def _example(column: Column) -> pa.Array | None:
    kind = type_named(column.type)
    if kind is None:
        return None
    if pa.types.is_dictionary(kind):
        values = pa.array(list(column.categories or ())[:1] or [_value(kind.value_type)], kind.value_type)
        return pa.DictionaryArray.from_arrays(pa.array([0], kind.index_type), values, ordered=kind.ordered)
    numbers = type_of_numbers(kind)
    return pa.array([_value(kind)], kind) if numbers is None else array_of(np.ones(1, numbers))


def _value(kind: pa.DataType) -> Any:
    """A value that most types have; null for the rest."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return 1
    if pa.types.is_boolean(kind):
        return True
    if is_text(kind):
        return ""
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return datetime(2000, 1, 1, tzinfo=UTC if getattr(kind, "tz", None) else None)
    return None
