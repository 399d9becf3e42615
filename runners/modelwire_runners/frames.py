"""Frames on their way into a runner's functions and back out."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from .mixed import is_mixed, mixed_array, mixed_values
from .numbers import Columns, array_of, is_plain, numbers_of, type_of_numbers

# The column that an array or list of bare values becomes.
VALUES_COLUMN = "prediction"


class FrameLibrary(StrEnum):
    """Whose frames a function receives."""

    PANDAS = "pandas"
    PYARROW = "pyarrow"
    POLARS = "polars"
    NUMPY = "numpy"
    NONE = "none"


Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]


class Frame(Protocol):
    """A frame that is not yet of any library."""

    @property
    def num_rows(self) -> int: ...
    def table(self) -> pa.Table: ...
    def matrix(self) -> Matrix: ...


class TableFrame:
    """A table as a frame. Its matrix has the columns `inputs`, or all."""

    __slots__ = ("_inputs", "_table")

    def __init__(self, table: pa.Table, inputs: Sequence[str] | None = None) -> None:
        self._table = table
        self._inputs = inputs

    @property
    def num_rows(self) -> int:
        return int(self._table.num_rows)

    def table(self) -> pa.Table:
        return self._table

    def matrix(self) -> Matrix:
        return to_matrix(self._table if self._inputs is None else self._table.select(self._inputs))


def library_wanted(function: Callable[..., Any], parameter: str) -> FrameLibrary:
    """What the annotation of a parameter asks for: pandas unless it names pyarrow's Table, polars' DataFrame, numpy's array, or a frame
    that is of no library yet."""
    found = inspect.signature(function).parameters.get(parameter)
    annotation = found.annotation if found is not None else inspect.Parameter.empty
    if annotation is Frame:
        return FrameLibrary.NONE
    text = annotation if isinstance(annotation, str) else f"{getattr(annotation, '__module__', '')}.{annotation}"
    if "pyarrow" in text or text.startswith("pa."):
        return FrameLibrary.PYARROW
    if "polars" in text or text.startswith("pl."):
        return FrameLibrary.POLARS
    if "numpy" in text or text.startswith(("np.", "npt.")):
        return FrameLibrary.NUMPY
    return FrameLibrary.PANDAS


def to_library(frame: Frame, library: FrameLibrary) -> Any:
    """The frame as one of the library. What a function does to it never reaches the buffers that it came in."""
    if library is FrameLibrary.NUMPY:
        return frame.matrix()
    if library is FrameLibrary.NONE:
        return frame
    table = frame.table()
    if library is FrameLibrary.PYARROW:
        return table
    if library is FrameLibrary.POLARS:
        import polars

        polar = polars.from_arrow(table)
        # polars gives a name to a column that has an empty one.
        polar.columns = table.column_names  # type: ignore[union-attr]
        return polar
    return _to_pandas(table)


# What is copied in a tenth of a millisecond.
_BRIEF = 1 << 20
_NUMERIC = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)


def to_matrix(table: pa.Table) -> Matrix:
    """The columns of a table side by side as float64, nulls as NaN; not to be written to. Raises TypeError for columns that hold no
    numbers."""
    matrix = np.empty((table.num_rows, table.num_columns), order="F")
    for place, column in enumerate(table.columns):
        _fill(matrix[:, place], _numbers(table.column_names[place], column))
    matrix.flags.writeable = False
    return matrix


def _fill(values: np.ndarray[Any, np.dtype[np.float64]], column: pa.ChunkedArray) -> None:
    """Chunk by chunk: as a whole they would be put together first, which takes another copy."""
    begin = 0
    for chunk in column.chunks:
        end, plain = begin + len(chunk), numbers_of(chunk)
        numbers: Any = chunk.to_numpy(zero_copy_only=False) if plain is None else plain
        if numbers.dtype == values.dtype and numbers.nbytes <= _BRIEF:
            # numpy lets other threads run meanwhile, and to have its turn again takes longer than such a copy.
            values.data[begin:end] = numbers
        else:
            values[begin:end] = numbers
        begin = end


def _numbers(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    # A column without any value, such as those of a frame without rows, holds no other values than numbers.
    if not any(test(kind) for test in _NUMERIC):
        hint = "annotate the parameter with pyarrow.Table or another library's frame instead of numpy.ndarray"
        raise TypeError(f"the column {name!r} of type {kind} has no place in a matrix of numbers: {hint}")
    return column if column.null_count == 0 and not pa.types.is_decimal(kind) else column.cast(pa.float64())


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


def to_columns(result: Any) -> Columns | None:
    """What a predict function returned, as columns of numbers: an array, a dict of arrays, or a plain table of numbers without gaps. None
    for all else, which to_table() understands."""
    if isinstance(result, np.ndarray):
        return {VALUES_COLUMN: result} if is_plain(result) else None
    if isinstance(result, pa.Table):
        return _columns_of(result)
    if type(result) is dict and result and all(isinstance(name, str) and is_plain(values) for name, values in result.items()):
        return result if len({len(values) for values in result.values()}) == 1 else None
    return None


def _columns_of(table: pa.Table) -> Columns | None:
    schema = table.schema
    if schema.metadata or not schema.names or len(set(schema.names)) < len(schema.names):
        return None
    if not all(type_of_numbers(field.type) is not None and field.nullable and not field.metadata for field in schema):
        return None
    if any(column.num_chunks != 1 for column in table.columns):
        return None
    found = {name: numbers_of(column.chunk(0)) for name, column in zip(schema.names, table.columns, strict=True)}
    columns = {name: numbers for name, numbers in found.items() if numbers is not None}
    return columns if len(columns) == len(found) else None


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
    return array_of(values) if is_plain(values) else pa.array(values)
