"""Requests that look like one before: of such only the sizes of the values are checked, and these are used where they lie.

This is for raw numbers of one size. What differs in any name, datatype or shape, and whatever else there is, goes through `table_of`.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ...frames import FrameLimits
from ...layouts import LARGEST_PREFIX, MOST_LAYOUTS, NUMPY, Layout, PlainFrame, Recent, strides_of
from ...periods import PERIOD
from ...signature import Signature
from .reading import table_of
from .v2 import open_inference_pb2 as pb

# Tensors up to this size are read on the event loop and copied, so that those of a request lie behind each other.
SMALL = 128 * 1024

Key = tuple[object, ...]


class TensorFrame(PlainFrame):
    """A frame whose columns lie behind each other."""

    __slots__ = ()

    def table(self) -> pa.Table:
        rows, buffer = self.layout.rows, pa.py_buffer(self.data)
        arrays = [
            pa.Array.from_buffers(field.type, rows, [None, buffer.slice(at, rows * kind.itemsize)])
            for field, (kind, at) in zip(self.schema, self.layout.places, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=self.schema)


@dataclass(frozen=True, slots=True)
class Known:
    """What holds for requests that look alike: the signature that named their columns, where values lie once they are together, the
    size of each tensor in bytes, and whether a single tensor has them row by row."""

    signature: Signature | None
    layout: Layout
    sizes: list[int]
    by_row: bool


class TensorLayouts:
    """Reads requests, and remembers what they look like."""

    def __init__(self, limits: FrameLimits) -> None:
        self._limits = limits
        self._known: Recent[Key, Known] = Recent(MOST_LAYOUTS)

    def frame_of(self, request: pb.ModelInferRequest, signature: Signature | None) -> pa.Table | PlainFrame:
        """The frame that the tensors are. Raises InvalidFrame, FrameTooLarge."""
        raw = list(request.raw_input_contents)
        key = (id(signature), *[(tensor.name, tensor.datatype, *tensor.shape) for tensor in request.inputs])
        known = self._known.get(key)
        if known is not None and _has_only(raw, known.sizes, request):
            return TensorFrame(_by_column(raw, known), known.layout)
        table = table_of(request, signature, self._limits)
        if known is None and (found := _known_by(request, raw, signature, table)):
            self._known.keep(key, found)
        return table


def _has_only(raw: list[bytes], sizes: list[int], request: pb.ModelInferRequest) -> bool:
    """Whether there are raw values of these sizes, and nothing else."""
    if [len(one) for one in raw] != sizes:
        return False
    return not any(tensor.parameters or tensor.HasField("contents") for tensor in request.inputs)


def _by_column(raw: list[bytes], known: Known) -> bytes:
    if not known.by_row:
        return raw[0] if len(raw) == 1 else b"".join(raw)
    rows = known.layout.rows
    matrix = np.frombuffer(raw[0], known.layout.places[0][0]).reshape(rows, -1)
    return matrix.T.tobytes()


def _known_by(request: pb.ModelInferRequest, raw: list[bytes], signature: Signature | None, table: pa.Table) -> Known | None:
    """What can be remembered of a request that was read; None where the next one must be read as well."""
    sizes = [len(one) for one in raw]
    if not sizes or not 0 < sum(sizes) <= SMALL or PERIOD in table.column_names or not _has_only(raw, sizes, request):
        return None
    kinds = [NUMPY.get(kind) for kind in table.schema.types]
    first = kinds[0]
    if (
        sum(map(len, table.column_names)) > LARGEST_PREFIX
        or first is None
        or any(kind is None or kind.itemsize != first.itemsize for kind in kinds)
    ):
        return None
    places = [(kind, number * table.num_rows * first.itemsize) for number, kind in enumerate(kinds) if kind is not None]
    layout = Layout(b"", table.schema, table.num_rows, sum(sizes), b"", tuple(places), strides_of(places))
    return Known(signature, layout, sizes, by_row=len(sizes) == 1 and table.num_rows > 1 and table.num_columns > 1)
