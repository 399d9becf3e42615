"""The datatypes of the protocol, and what they are for numpy and Arrow."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

BYTES = "BYTES"


@dataclass(frozen=True, slots=True)
class Datatype:
    """A datatype. `contents` is the field of InferTensorContents that holds its values, empty where only raw ones can; `dtype` is how
    raw ones lie in memory, one byte for each boolean; BYTES have none."""

    name: str
    arrow: pa.DataType
    contents: str
    dtype: np.dtype[Any] | None = None

    @property
    def size(self) -> int:
        """The bytes of one value; 0 where that varies."""
        return 0 if self.dtype is None else self.dtype.itemsize


def _fixed(name: str, arrow: pa.DataType, contents: str, code: str) -> Datatype:
    return Datatype(name, arrow, contents, np.dtype(code))


DATATYPES = {
    one.name: one
    for one in (
        _fixed("BOOL", pa.bool_(), "bool_contents", "?"),
        _fixed("UINT8", pa.uint8(), "uint_contents", "<u1"),
        _fixed("UINT16", pa.uint16(), "uint_contents", "<u2"),
        _fixed("UINT32", pa.uint32(), "uint_contents", "<u4"),
        _fixed("UINT64", pa.uint64(), "uint64_contents", "<u8"),
        _fixed("INT8", pa.int8(), "int_contents", "<i1"),
        _fixed("INT16", pa.int16(), "int_contents", "<i2"),
        _fixed("INT32", pa.int32(), "int_contents", "<i4"),
        _fixed("INT64", pa.int64(), "int64_contents", "<i8"),
        _fixed("FP16", pa.float16(), "", "<f2"),
        _fixed("FP32", pa.float32(), "fp32_contents", "<f4"),
        _fixed("FP64", pa.float64(), "fp64_contents", "<f8"),
        Datatype(BYTES, pa.string(), "bytes_contents"),
    )
}
# By the id of the type: types themselves are slow to look up.
_BY_ARROW = {one.arrow.id: one for one in DATATYPES.values() if one.dtype is not None}
_NAMED = {str(one.arrow): one for one in DATATYPES.values()}
# Values that travel as texts, by how the names of their types begin.
_TEXTUAL = ("string", "large_string", "binary", "large_binary", "fixed_size_binary", "date", "time", "decimal")
_DICTIONARY = re.compile(r"dictionary<values=([^,]+),.*")


def datatype_of(kind: pa.DataType) -> Datatype:
    """The datatype that holds values of an Arrow type; BYTES for all that are no numbers."""
    return _BY_ARROW.get(kind.id) or DATATYPES[BYTES]


def datatype_named(kind: str) -> Datatype | None:
    """The same for Arrow's name of a type; None for what no tensor can hold."""
    if found := _DICTIONARY.fullmatch(kind):
        kind = found[1]
    return _NAMED.get(kind) or (DATATYPES[BYTES] if kind.startswith(_TEXTUAL) else None)
