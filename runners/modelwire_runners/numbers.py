"""Between Arrow and numpy for numbers without gaps, in the memory that they are in. pyarrow's own ways import pandas, which takes 40 MB and
a second of whoever does not use it."""

from typing import Any

import numpy as np
import pyarrow as pa

# Columns of numbers by name, without gaps.
Columns = dict[str, np.ndarray[tuple[int], np.dtype[Any]]]

# Numbers of the machine's own byte order.
_PLAIN = {
    pa.from_numpy_dtype(np.dtype(code)): np.dtype(code) for code in ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
}
_KINDS = frozenset(_PLAIN.values())


def is_plain(values: Any) -> bool:
    """Whether these are numbers in a row that Arrow has a type for."""
    return isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype in _KINDS


def type_of_numbers(kind: pa.DataType) -> np.dtype[Any] | None:
    """What numpy has for the same numbers; None for what is no plain number."""
    return _PLAIN.get(kind)


def numbers_of(array: pa.Array) -> np.ndarray[tuple[int], np.dtype[Any]] | None:
    """The numbers of an array, not to be written to; None if they have gaps, or are no plain ones."""
    kind = _PLAIN.get(array.type)
    if kind is None or array.null_count:
        return None
    content = array.buffers()[1]
    numbers = np.empty(0, kind) if content is None else np.frombuffer(content, kind, len(array), array.offset * kind.itemsize)
    numbers.flags.writeable = False
    return numbers


def array_of(numbers: np.ndarray[tuple[int], np.dtype[Any]]) -> pa.Array:
    """An array of plain numbers, which are copied only if they do not lie side by side."""
    content = pa.py_buffer(np.ascontiguousarray(numbers))
    return pa.Array.from_buffers(pa.from_numpy_dtype(numbers.dtype), len(numbers), [None, content], 0)


def table_of(columns: Columns) -> pa.Table:
    """A table of columns of one length."""
    return pa.Table.from_arrays([array_of(numbers) for numbers in columns.values()], list(columns))
