"""The values of tensors in JSON, to and from raw bytes."""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from ...protocols.open_inference.byte_strings import BrokenTensor, pack, unpack
from ...protocols.open_inference.datatypes import DATATYPES, Datatype
from .refusals import Refused

# What numpy calls the kinds of numbers that JSON has.
_KINDS = {"BOOL": "b", "FP16": "iuf", "FP32": "iuf", "FP64": "iuf"}
_WHOLE = "iu"


def raw_of(name: str, datatype: str, shape: list[int], data: Any) -> bytes:
    """The bytes of values, which may be nested as the shape is, or flat. Raises Refused."""
    known = DATATYPES.get(datatype)
    if known is None:
        raise Refused(f"tensor {name!r} has the datatype {datatype[:50]!r}, which is none of {', '.join(DATATYPES)}")
    if not isinstance(data, list):
        raise Refused(f"tensor {name!r} needs a list `data`, or `binary_data_size` among its parameters")
    count = prod(shape)
    if known.dtype is None:
        texts = list(_texts(name, data))
        _check_count(name, len(texts), shape, count)
        return pack(texts)
    values = _numbers(name, known, data)
    _check_count(name, values.size, shape, count)
    if values.ndim > 1 and list(values.shape) != shape:
        raise Refused(f"tensor {name!r} has values nested as {list(values.shape)}, but its shape is {shape}")
    with np.errstate(over="ignore"):  # beyond the largest number is infinity
        return values.astype(known.dtype).tobytes()


def _check_count(name: str, found: int, shape: list[int], count: int) -> None:
    if found != count:
        raise Refused(f"tensor {name!r} has {found:,} values, but its shape {shape} asks for {count:,}")


def _texts(name: str, data: list[Any]) -> Iterator[bytes]:
    for value in data:
        if isinstance(value, list):
            yield from _texts(name, value)
        elif isinstance(value, str):
            yield _encoded(name, value)
        else:
            raise Refused(f"tensor {name!r} has a value that is no text; bytes that are no UTF-8 travel as binary data")


def _encoded(name: str, value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise Refused(f"tensor {name!r} has a text that is no Unicode") from None


def _numbers(name: str, datatype: Datatype, data: list[Any]) -> "np.ndarray[Any, Any]":
    try:
        values = np.array(data)
        if values.dtype.kind == "O" and datatype.name.startswith("FP") and _are_numbers(values):
            values = values.astype(np.float64)  # null is NaN
    except (ValueError, OverflowError):
        raise Refused(f"tensor {name!r} has values that are not nested evenly") from None
    if values.size == 0:
        return values.reshape(-1)
    if values.dtype.kind not in _KINDS.get(datatype.name, _WHOLE):
        raise Refused(f"tensor {name!r} has values that are no {datatype.name}")
    if datatype.name not in _KINDS:
        _check_range(name, datatype, values)
    return values


def _are_numbers(values: "np.ndarray[Any, Any]") -> bool:
    return all(value is None or type(value) in (int, float) for value in values.flat)


def _check_range(name: str, datatype: Datatype, values: "np.ndarray[Any, Any]") -> None:
    assert datatype.dtype is not None
    bounds = np.iinfo(datatype.dtype)
    least, most = int(values.min()), int(values.max())
    if least < bounds.min or most > bounds.max:
        wrong = least if least < bounds.min else most
        raise Refused(f"tensor {name!r} has the value {wrong}, which is no {datatype.name}: {bounds.min} to {bounds.max}")


def listed(name: str, datatype: str, raw: bytes, count: int) -> Any:
    """What JSON can hold of a tensor, flat; orjson writes arrays of numpy, and null for what is not finite. Raises Refused for bytes
    that are no text."""
    dtype = DATATYPES[datatype].dtype
    if dtype is not None:
        return np.frombuffer(raw, dtype)
    try:
        return [value.decode() for value in unpack(raw, count)]
    except (UnicodeDecodeError, BrokenTensor):
        raise Refused(f"the output {name!r} holds bytes that are no text: ask for it as binary data") from None
