"""Frames become tensors: one for each column, of shape [rows]."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from modelwire_runners.numbers import Columns

from ...errors import FieldViolation, InvalidField
from .byte_strings import pack
from .datatypes import BYTES, DATATYPES, Datatype, datatype_of
from .v2 import open_inference_pb2 as pb

_BY_NUMPY = {one.dtype: one for one in DATATYPES.values() if one.dtype is not None}


def fill(response: pb.ModelInferResponse, table: pa.Table, wanted: Sequence[str], *, raw: bool) -> None:
    """Puts columns of the table, all if none are named, into the response. Raises InvalidField for columns that are not there, and for
    those that no tensor can hold."""
    names = wanted or table.column_names
    columns = [_column(table, name) for name in names]
    raw = raw or any(not datatype_of(column.type).contents for column in columns)
    for name, column in zip(names, columns, strict=True):
        width = column.type.list_size if pa.types.is_fixed_size_list(column.type) else None
        values = column if width is None else column.flatten()
        datatype = datatype_of(values.type)
        shape = [table.num_rows] if width is None else [table.num_rows, width]
        tensor = response.outputs.add(name=name, datatype=datatype.name, shape=shape)
        if raw:
            response.raw_output_contents.append(_raw(name, values, datatype))
        else:
            getattr(tensor.contents, datatype.contents).extend(_listed(name, values, datatype))


def fill_numbers(response: pb.ModelInferResponse, columns: Columns, wanted: Sequence[str], *, raw: bool) -> None:
    """The same for columns of numbers without gaps."""
    for name in wanted or columns:
        if name not in columns:
            raise _not_there(name, columns)
        array = columns[name]
        datatype = _BY_NUMPY[array.dtype]
        tensor = response.outputs.add(name=name, datatype=datatype.name, shape=array.shape)
        if raw:
            response.raw_output_contents.append(array.tobytes())
        else:
            getattr(tensor.contents, datatype.contents).extend(array.tolist())


def _column(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        raise _not_there(name, table.column_names)
    column = table.column(name)
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _raw(name: str, array: pa.Array, datatype: Datatype) -> bytes:
    if datatype.dtype is None:
        return pack(_byte_strings(name, array))
    if array.null_count or datatype.name == "BOOL":
        return _numbers(name, array, datatype).tobytes()
    size = datatype.size
    buffer = array.buffers()[1]
    content: bytes = b"" if buffer is None else buffer.slice(array.offset * size, len(array) * size).to_pybytes()
    return content


def _listed(name: str, array: pa.Array, datatype: Datatype) -> Iterable[Any]:
    if datatype.dtype is None:
        return _byte_strings(name, array)
    values: list[Any] = _numbers(name, array, datatype).tolist()
    return values


def _numbers(name: str, array: pa.Array, datatype: Datatype) -> np.ndarray[Any, Any]:
    """Nulls become NaN; only floats have it."""
    if array.null_count and not pa.types.is_floating(array.type):
        raise _wrong(f"the output {name!r} has nulls, for which {datatype.name} has no value; ask for others, or for a frame")
    found: np.ndarray[Any, Any] = array.to_numpy(zero_copy_only=False)
    return found.astype(datatype.dtype, copy=False)


def _byte_strings(name: str, array: pa.Array) -> list[bytes]:
    """Texts as UTF-8, times in ISO 8601."""
    if array.null_count:
        raise _wrong(f"the output {name!r} has nulls, for which {BYTES} has no value; ask for others, or for a frame")
    try:
        return _written(array)
    except (pa.ArrowException, ValueError, OverflowError):
        text = f"the output {name!r} is of type {array.type}, which no tensor holds; ask for others, or for a frame"
        raise _wrong(text) from None


def _written(array: pa.Array) -> list[bytes]:
    kind = array.type
    if pa.types.is_decimal(kind):
        return [str(value).encode() for value in array.to_pylist()]
    if pa.types.is_date(kind) or pa.types.is_time(kind) or pa.types.is_timestamp(kind):
        return [value.isoformat().encode() for value in array.to_pylist()]
    values: list[bytes] = array.cast(pa.large_binary()).to_pylist()
    return values


def _not_there(name: str, names: Iterable[str]) -> InvalidField:
    return _wrong(f"there is no output {name[:100]!r}; the predictions have: {', '.join(list(names)[:50])}")


def _wrong(text: str) -> InvalidField:
    return InvalidField.of(FieldViolation("outputs", text))
