"""Tensors become frames: a tensor for each column, or one tensor for all of them.

Raw numbers are not copied: the columns of a frame lie in the bytes of the request, unless a tensor of several columns has more than
one row, which are then put column by column in one copy.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ...casts import type_named
from ...errors import FieldViolation, FrameTooLarge, InvalidFrame
from ...frames import FrameLimits
from ...rows import repeated_name
from ...signature import Signature
from .byte_strings import BrokenTensor, unpack
from .datatypes import BYTES, DATATYPES, Datatype
from .options import parameters_of, refuse_shared_memory
from .v2 import open_inference_pb2 as pb

Tensor = pb.ModelInferRequest.InferInputTensor

# What a BYTES tensor may be said to hold. The others are words of other servers' clients that change nothing here.
TEXT, BINARY, TIME = "str", "binary", "datetime"
CONTENT_TYPES = (TEXT, BINARY, TIME, "np", "pd")
# Schemas that are made once for all requests that look alike; only small ones are kept.
_SCHEMAS: dict[tuple[Any, ...], pa.Schema] = {}
MOST_SCHEMAS, LONGEST_KEPT = 1000, 10_000


def table_of(request: pb.ModelInferRequest, signature: Signature | None, limits: FrameLimits) -> pa.Table:
    """The frame that a request's tensors are. Raises InvalidFrame, FrameTooLarge; both name the tensor."""
    tensors, raw = request.inputs, request.raw_input_contents
    if not tensors:
        raise invalid("inputs", "a tensor is needed")
    if raw and len(raw) != len(tensors):
        raise invalid("raw_input_contents", f"has the values of {len(raw)} tensors, but there are {len(tensors)} inputs")
    if len(tensors) == 1 and len(tensors[0].shape) == 2:
        names, arrays = _all_columns(tensors[0], raw[0] if raw else None, signature, limits)
    else:
        names = [tensor.name for tensor in tensors]
        arrays = [_column(tensor, raw[number] if raw else None, limits) for number, tensor in enumerate(tensors)]
        _check_lengths(names, arrays)
    if any(tensor.datatype == BYTES for tensor in tensors):
        arrays = _typed(tensors, names, arrays, signature)
    return pa.Table.from_arrays(arrays, schema=_schema(names, arrays, limits))


def _column(tensor: Tensor, raw: bytes | None, limits: FrameLimits) -> pa.Array:
    datatype = _datatype(tensor)
    rows, columns = _shape(tensor, limits)
    if columns != 1:
        text = f"has the shape {_shown(tensor)}; where there are several inputs each is one column, of shape [rows] or [rows, 1]"
        raise broken(tensor, text)
    return _values(tensor, datatype, raw, rows)


def _all_columns(
    tensor: Tensor, raw: bytes | None, signature: Signature | None, limits: FrameLimits
) -> tuple[list[str], list[pa.Array]]:
    """The columns of the only tensor: those of the training in their order, or input_0, input_1 ... where they are not known."""
    datatype = _datatype(tensor)
    rows, columns = _shape(tensor, limits)
    names = _names(tensor, columns, signature)
    values = _values(tensor, datatype, raw, rows * columns)
    return names, [values] if columns == 1 else _split(values, datatype, rows, columns)


def _names(tensor: Tensor, columns: int, signature: Signature | None) -> list[str]:
    known = [column.name for column in signature.inputs] if signature is not None else []
    if len(known) == columns:
        return known
    if columns == 1:
        return [tensor.name]
    if known and signature is not None:
        raise broken(tensor, _other_columns(columns, known, knows_targets=bool(signature.targets)))
    return [f"input_{number}" for number in range(columns)]


def _other_columns(columns: int, known: Sequence[str], *, knows_targets: bool) -> str:
    text = f"has {columns:,} columns, but the model was trained on {len(known)}: {', '.join(known[:50])}"
    if knows_targets:
        return text
    return f"{text}. Its runner does not say which of them is to be predicted (`target_columns`): send a tensor for each column"


def _split(values: pa.Array, datatype: Datatype, rows: int, columns: int) -> list[pa.Array]:
    """The columns of a tensor whose values stand row by row."""
    if datatype.dtype is None or datatype.arrow.id == pa.bool_().id:
        order = np.arange(rows * columns).reshape(rows, columns).T
        return [values.take(pa.array(one)) for one in order]
    if rows > 1:
        matrix = np.frombuffer(values.buffers()[1], datatype.dtype, rows * columns).reshape(rows, columns)
        values = _array(datatype, pa.py_buffer(np.ascontiguousarray(matrix.T)), rows * columns)
    return [values.slice(number * rows, rows) for number in range(columns)]


def _datatype(tensor: Tensor) -> Datatype:
    datatype = DATATYPES.get(tensor.datatype)
    if datatype is None:
        raise broken(tensor, f"has the datatype {tensor.datatype[:50]!r}, which is none of {', '.join(DATATYPES)}")
    return datatype


def _shape(tensor: Tensor, limits: FrameLimits) -> tuple[int, int]:
    """Rows and columns."""
    shape = tensor.shape
    if len(shape) not in (1, 2) or min(shape) < 0:
        raise broken(tensor, f"has the shape {_shown(tensor)}; a shape here is [rows], [rows, 1] or [rows, columns]")
    rows, columns = shape[0], shape[1] if len(shape) == 2 else 1
    if not columns:
        raise broken(tensor, "has no columns")
    _limit(tensor, "rows", rows, limits.max_rows)
    _limit(tensor, "columns", columns, limits.max_columns)
    return rows, columns


def _values(tensor: Tensor, datatype: Datatype, raw: bytes | None, count: int) -> pa.Array:
    """All values of a tensor, row by row."""
    if tensor.parameters:
        refuse_shared_memory(tensor)
    if raw is None:
        return _listed(tensor, datatype, count)
    if tensor.HasField("contents") and tensor.contents.ByteSize():
        raise broken(tensor, "has its values in `contents`, and others in `raw_input_contents`; one of the two must be empty")
    if datatype.dtype is None:
        try:
            return pa.array(unpack(raw, count), pa.large_binary() if len(raw) >= 1 << 31 else pa.binary())
        except BrokenTensor as error:
            raise broken(tensor, str(error)) from None
    if len(raw) != count * datatype.size:
        text = f"has {len(raw):,} bytes, but its shape {_shown(tensor)} of {datatype.name} asks for {count * datatype.size:,}"
        raise broken(tensor, text)
    return _array(datatype, pa.py_buffer(raw), count)


def _array(datatype: Datatype, buffer: pa.Buffer, count: int) -> pa.Array:
    if datatype.name == "BOOL":
        return pa.array(np.frombuffer(buffer, np.uint8, count) != 0)
    return pa.Array.from_buffers(datatype.arrow, count, [None, buffer])


def _listed(tensor: Tensor, datatype: Datatype, count: int) -> pa.Array:
    """The values in `contents`."""
    if not datatype.contents:
        raise broken(tensor, f"has the datatype {datatype.name}, whose values can only be sent in `raw_input_contents`")
    for field, values in tensor.contents.ListFields():
        if field.name != datatype.contents and values:
            raise broken(
                tensor, f"has the datatype {datatype.name}, whose values belong in `{datatype.contents}`, not `{field.name}`"
            )
    values = getattr(tensor.contents, datatype.contents)
    if len(values) != count:
        raise broken(tensor, f"has {len(values):,} values, but its shape {_shown(tensor)} asks for {count:,}")
    try:
        return pa.array(list(values), pa.binary() if datatype.dtype is None else datatype.arrow)
    except (pa.ArrowException, OverflowError):
        raise broken(tensor, f"has values that are no {datatype.name}") from None


def _typed(
    tensors: Sequence[Tensor], names: Sequence[str], arrays: Sequence[pa.Array], signature: Signature | None
) -> list[pa.Array]:
    """The columns with BYTES as what they hold."""
    trained = {column.name: column.type for column in signature.inputs} if signature is not None else {}
    by_column = tensors if len(tensors) == len(arrays) else [tensors[0]] * len(arrays)
    return [
        _meaning(array, tensor, trained.get(name, "")) if tensor.datatype == BYTES else array
        for tensor, name, array in zip(by_column, names, arrays, strict=True)
    ]


def _meaning(array: pa.Array, tensor: Tensor, trained: str) -> pa.Array:
    """Bytes as what the tensor says that they are, else as what they were in the training."""
    said = parameters_of(tensor.parameters).get("content_type", "") if tensor.parameters else ""
    if said and said not in CONTENT_TYPES:
        raise broken(tensor, f"has the content type {str(said)[:50]!r}, which is none of {', '.join(CONTENT_TYPES)}")
    if said == BINARY or (said != TEXT and trained.startswith(("binary", "large_binary", "fixed_size_binary"))):
        return array
    texts = _texts(array, tensor)
    return _times(texts, tensor, type_named(trained)) if said == TIME else texts


def _texts(array: pa.Array, tensor: Tensor) -> pa.Array:
    try:
        return array.cast(pa.large_string() if pa.types.is_large_binary(array.type) else pa.string())
    except pa.ArrowInvalid:
        raise broken(tensor, "holds texts that are no UTF-8; bytes of other kinds need the content type `binary`") from None


def _times(texts: pa.Array, tensor: Tensor, trained: pa.DataType | None) -> pa.Array:
    known = trained is not None and pa.types.is_temporal(trained)
    # Without a zone, or in UTC.
    kinds, why = [trained] if known else [pa.timestamp("us"), pa.timestamp("us", "UTC")], ""
    for kind in kinds:
        try:
            return texts.cast(kind)
        except (pa.ArrowException, ValueError) as error:
            why = str(error).splitlines()[0][:200]
    raise broken(tensor, f"holds texts that are no times in ISO 8601: {why}")


def _schema(names: Sequence[str], arrays: Sequence[pa.Array], limits: FrameLimits) -> pa.Schema:
    types = [array.type for array in arrays]
    key = (*names, *(kind.id for kind in types))
    if known := _SCHEMAS.get(key):
        return known
    _check_names(names, limits)
    schema = pa.schema(list(zip(names, types, strict=True)))
    # Times have parts that their ids do not tell.
    if sum(map(len, names)) <= LONGEST_KEPT and not any(pa.types.is_timestamp(kind) for kind in types):
        if len(_SCHEMAS) >= MOST_SCHEMAS:
            _SCHEMAS.clear()
        _SCHEMAS[key] = schema
    return schema


def _check_names(names: Sequence[str], limits: FrameLimits) -> None:
    if repeated := repeated_name(names):
        raise invalid("inputs", f"there is more than one tensor {repeated!r}")
    if any("\0" in name for name in names):
        raise invalid("inputs", "there is a tensor whose name holds a NUL")
    if len(names) > limits.max_columns:
        raise too_large("inputs", f"there are {len(names):,} tensors, the limit is {limits.max_columns:,}", limits.max_columns)


def _check_lengths(names: Sequence[str], arrays: Sequence[pa.Array]) -> None:
    rows = len(arrays[0])
    for name, array in zip(names, arrays, strict=True):
        if len(array) != rows:
            raise invalid("inputs", f"tensor {name!r} has {len(array):,} rows, but {names[0]!r} has {rows:,}")


def _shown(tensor: Tensor) -> str:
    return f"[{', '.join(str(length) for length in tensor.shape[:10])}{', ...' if len(tensor.shape) > 10 else ''}]"


def _limit(tensor: Tensor, what: str, number: int, limit: int) -> None:
    if number > limit:
        raise too_large("inputs", f"tensor {tensor.name[:100]!r} has {number:,} {what}, the limit is {limit:,}", limit)


def broken(tensor: Tensor, text: str) -> InvalidFrame:
    return invalid("inputs", f"tensor {tensor.name[:100]!r} {text}")


def invalid(field: str, text: str) -> InvalidFrame:
    return InvalidFrame(f"{field}: {text}", violations=[FieldViolation(field, text)], field=field)


def too_large(field: str, text: str, limit: int) -> FrameTooLarge:
    return FrameTooLarge(f"{field}: {text}", violations=[FieldViolation(field, text)], field=field, limit=limit)
