"""How a method of an estimator is given its rows, and how these become what a compiled graph takes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

# What a column of a frame may hold, by the kind of its numpy type, and what the graph takes.
_KINDS = {"f": "double", "i": "int64", "u": "int64", "O": "text", "T": "text", "U": "text"}
_HELD = {"float": "double"}
_TYPES = {"double": np.dtype("f8"), "float": np.dtype("f4"), "int64": np.dtype("i8")}
MATRIX = "X"

Feeds = dict[str, Any]


class NotSupported(Exception):
    """Something cannot be compiled; the message says why."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The rows as one matrix of numbers (`kind` is float or double, `width` columns), or column by column (`kind` is empty, `kinds` by
    the names). `names` are those of the frame's columns, None where the rows come without names."""

    kind: str
    width: int
    names: Sequence[str] | None = None
    kinds: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        names = data["names"]
        return cls(data["kind"], data["width"], None if names is None else tuple(names), tuple(data["kinds"]))


def layouts_of(rows: Any) -> list[Layout]:
    """Layouts that fit rows which an estimator was given: exact ones before those that round to 32 bits. Raises NotSupported."""
    names = _names(rows)
    if names is None and not (isinstance(rows, np.ndarray) and rows.ndim == 2):
        raise NotSupported(f"rows come as {type(rows).__name__}, not as a matrix or a frame of pandas")
    found = []
    width = rows.shape[1]
    if _numbers(rows) is not None:
        found = [Layout("double", width, names), Layout("float", width, names)]
    if names is not None:
        kinds = [_kind_of(rows[name], name) for name in names]
        found.append(Layout("", width, names, kinds))
        found.append(Layout("", width, names, ["float" if kind == "double" else kind for kind in kinds]))
    if not found:
        raise NotSupported(f"rows come as a matrix of {getattr(rows, 'dtype', 'objects')}, not of numbers")
    return found


def _kind_of(column: Any, name: str) -> str:
    kind = _KINDS.get(column.to_numpy().dtype.kind)
    if kind is None:
        raise NotSupported(f"column {name!r} is of type {column.dtype}")
    return kind


def _names(rows: Any) -> tuple[str, ...] | None:
    """The names of the columns of a pandas frame; None for everything else."""
    columns = getattr(rows, "columns", None)
    if columns is None or not hasattr(rows, "iloc"):
        return None
    names = tuple(columns)
    return names if all(isinstance(name, str) for name in names) and len(set(names)) == len(names) else None


def _numbers(rows: Any) -> np.ndarray[Any, Any] | None:
    """The rows as one matrix, if they are numbers throughout."""
    matrix = rows if isinstance(rows, np.ndarray) else rows.to_numpy()
    return matrix if matrix.dtype.kind in "fiu" and matrix.dtype.itemsize <= 8 else None


class Reader:
    """Turns rows into what a graph takes; None for rows that only the estimator itself knows what to do with: missing values, other
    columns, other types."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._width = layout.width
        self._names = None if layout.names is None else list(layout.names)
        self._type: Any = _TYPES.get(layout.kind)

    def __call__(self, rows: Any) -> Feeds | None:
        if type(rows) is np.ndarray:
            return self._matrix(rows) if self._type is not None else None
        if self._names is None or not hasattr(rows, "iloc") or rows.columns.tolist() != self._names:
            return None
        return self._columns(rows) if self._type is None else self._matrix(rows.to_numpy())

    def _matrix(self, rows: np.ndarray[Any, Any]) -> Feeds | None:
        if rows.ndim != 2 or rows.shape[1] != self._width or not len(rows) or rows.dtype.kind not in "fiu":
            return None
        matrix = np.ascontiguousarray(rows, dtype=self._type)
        return {MATRIX: matrix} if np.isfinite(matrix).all() else None

    def _columns(self, frame: Any) -> Feeds | None:
        feeds = {}
        for name, kind in zip(self._layout.names or (), self._layout.kinds, strict=True):
            values = frame[name].to_numpy()
            if kind == "int64" and values.dtype.kind == "f":
                values = _as_whole(values)
            if not len(values) or _KINDS.get(values.dtype.kind) != _HELD.get(kind, kind):
                return None
            column = values.astype(_TYPES.get(kind, object), copy=False)
            if not _is_complete(column, kind):
                return None
            feeds[name] = column.reshape(-1, 1)
        return feeds


def _as_whole(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Floats as integers, if they are whole numbers all."""
    is_whole = (values == np.floor(values)) & (np.abs(values) <= 2**53)
    return values.astype("i8") if is_whole.all() else values


def _is_complete(values: np.ndarray[Any, Any], kind: str) -> bool:
    if kind == "text":
        return all(isinstance(value, str) for value in values)
    return kind == "int64" or bool(np.isfinite(values).all())
