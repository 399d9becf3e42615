"""Frames on their way into a runner's functions and back out."""

import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import pyarrow as pa

from .mixed import is_mixed, mixed_array, mixed_values

# The column that an array or list of bare values becomes.
VALUES_COLUMN = "prediction"


class FrameLibrary(StrEnum):
    """Whose frames a function receives."""

    PANDAS = "pandas"
    PYARROW = "pyarrow"
    POLARS = "polars"


def library_wanted(function: Callable[..., Any], parameter: str) -> FrameLibrary:
    """What the annotation of a parameter asks for: pandas unless it names pyarrow's Table or polars' DataFrame."""
    found = inspect.signature(function).parameters.get(parameter)
    annotation = found.annotation if found is not None else inspect.Parameter.empty
    text = annotation if isinstance(annotation, str) else f"{getattr(annotation, '__module__', '')}.{annotation}"
    if "pyarrow" in text or text.startswith("pa."):
        return FrameLibrary.PYARROW
    if "polars" in text or text.startswith("pl."):
        return FrameLibrary.POLARS
    return FrameLibrary.PANDAS


def to_library(table: pa.Table, library: FrameLibrary) -> Any:
    """The table as a frame of the library. What a function does to it never reaches the table's own buffers."""
    if library is FrameLibrary.PYARROW:
        return table
    if library is FrameLibrary.POLARS:
        import polars

        frame = polars.from_arrow(table)
        # polars gives a name to a column that has an empty one.
        frame.columns = table.column_names  # type: ignore[union-attr]
        return frame
    return _to_pandas(table)


def _to_pandas(table: pa.Table) -> Any:
    """Mixed columns hold Python's own values."""
    import pandas

    frame = table.to_pandas()
    for name, column in zip(table.column_names, table.columns, strict=True):
        if is_mixed(column.type) and name in frame.columns:
            frame[name] = pandas.Series(mixed_values(column), index=frame.index, dtype=object)
    return frame


def to_table(result: Any) -> pa.Table:
    """What a predict function returned, as a table.

    Takes anything with `__arrow_c_stream__` (pandas, polars, pyarrow ...), a dict of columns, a list of records, a pandas Series
    under its name, and a one-dimensional array or list of values as the column `prediction`. Raises TypeError for the rest.
    """
    if isinstance(result, pa.Table):
        return result
    if hasattr(result, "__arrow_c_stream__") and hasattr(result, "columns"):
        return _from_frame(result)
    if isinstance(result, pa.RecordBatchReader | pa.RecordBatch):
        return pa.table(result)
    if isinstance(result, Mapping):
        return pa.table({str(name): _array(values) for name, values in result.items()})
    if isinstance(result, list) and result and all(isinstance(row, Mapping) for row in result):
        return pa.Table.from_pylist(result)
    return _from_values(result)


def _from_frame(frame: Any) -> pa.Table:
    names = [str(name) for name in frame.columns]
    if type(frame).__module__.partition(".")[0] == "pandas":
        if len(set(names)) < len(names):
            raise TypeError(f"column names repeat: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
        return _from_pandas(frame)
    # polars aborts the process when a name in its C stream holds a NUL; its own conversion only raises.
    return frame.to_arrow() if hasattr(frame, "to_arrow") else pa.table(frame)


def _from_pandas(frame: Any) -> pa.Table:
    """Columns of objects whose values have no type in common become mixed columns."""
    try:
        return pa.Table.from_pandas(frame)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        mixed = {place: array for place in range(frame.shape[1]) if (array := _mixed_column(frame.iloc[:, place])) is not None}
        table = pa.Table.from_pandas(frame.iloc[:, [place for place in range(frame.shape[1]) if place not in mixed]])
    for place, array in mixed.items():
        table = table.add_column(place, str(frame.columns[place]), array)
    return table


def _mixed_column(values: Any) -> pa.Array | None:
    """The array for a column that no type of Arrow's fits; None if there is one, or if it holds more than JSON knows."""
    try:
        pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        try:
            return mixed_array(values.tolist())
        except TypeError:
            return None
    return None


def _from_values(result: Any) -> pa.Table:
    if getattr(result, "ndim", 1) != 1 or isinstance(result, str | bytes) or not hasattr(result, "__len__"):
        raise TypeError(f"a prediction must be a frame, a dict of columns or a list of values, not {type(result).__name__}")
    name = getattr(result, "name", None)
    return pa.table({str(name) if isinstance(name, str) and name else VALUES_COLUMN: _array(result)})


def _array(values: Any) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    return pa.array(values)
