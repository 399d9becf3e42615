"""What is done to columns before a runner's functions see them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from .frames import Frame, Matrix

# From the values of a column, as an array of NumPy, to as many others.
Transform = Callable[[Any], Any]


class TransformedFrame:
    """A frame whose columns are transformed when somebody looks at them."""

    __slots__ = ("_frame", "_transforms")

    def __init__(self, frame: Frame, transforms: Mapping[str, Transform]) -> None:
        self._frame = frame
        self._transforms = transforms

    @property
    def num_rows(self) -> int:
        return self._frame.num_rows

    def table(self) -> pa.Table:
        return transformed(self._frame.table(), self._transforms)

    def matrix(self) -> Matrix:
        """The first columns of the table are those of the matrix."""
        matrix: Matrix = np.array(self._frame.matrix(), order="F")
        if not len(matrix):
            return matrix
        for place, name in enumerate(self._frame.table().column_names[: matrix.shape[1]]):
            if name in self._transforms:
                matrix[:, place] = self._transforms[name](matrix[:, place])
        matrix.flags.writeable = False
        return matrix


def transformed(table: pa.Table, transforms: Mapping[str, Transform]) -> pa.Table:
    """The table with its transformed columns; those that it does not have do not count. Without rows there is nothing to transform."""
    if not table.num_rows:
        return table
    for place, name in enumerate(table.column_names):
        if name in transforms:
            values = transforms[name](table.column(place).to_numpy())
            table = table.set_column(place, name, pa.array(values))
    return table
