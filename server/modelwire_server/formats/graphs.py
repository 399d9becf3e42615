"""Graphs of ONNX as models."""

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from modelwire_runners.frames import Frame

from ..errors import FieldViolation, InvalidField, ModelNotLoadable
from .estimators import matrix_of, named, require_as_many
from .outputs import PREDICTION, Columns, class_columns, columns_of

# Types of tensors, those of numpy and Arrow that fit them.
_TYPES = {
    "tensor(double)": ("f8", "double"),
    "tensor(float)": ("f4", "double"),
    "tensor(float16)": ("f2", "double"),
    "tensor(int64)": ("i8", "int64"),
    "tensor(int32)": ("i4", "int64"),
    "tensor(int16)": ("i2", "int64"),
    "tensor(int8)": ("i1", "int64"),
    "tensor(uint8)": ("u1", "int64"),
    "tensor(bool)": ("?", "bool"),
    "tensor(string)": ("O", "string"),
}
# Under which names files tell their columns: a list as JSON, or with commas.
_NOTES = ("features", "feature_names", "feature_names_in")


def is_session(content: Any) -> bool:
    runtime = sys.modules.get("onnxruntime")
    return runtime is not None and isinstance(content, runtime.InferenceSession)


class GraphModel:
    """Predicts with a graph that takes either one tensor, a row for each row, or a tensor for each column."""

    def __init__(self, session: Any) -> None:
        self._run = session.run
        self._inputs = [_Input(one) for one in session.get_inputs()]
        if not self._inputs or (len(self._inputs) > 1 and any(one.width != 1 for one in self._inputs)):
            raise ModelNotLoadable("the graph takes neither one tensor with a row for each row, nor a tensor for each column")
        self._outputs = session.get_outputs()
        if not self._outputs:
            raise ModelNotLoadable("the graph returns nothing")
        self._is_classifier = len(self._outputs) == 2 and _is_classifier(*self._outputs)
        meta = session.get_modelmeta()
        self.features: Sequence[str] = self._named_inputs() or _noted(meta.custom_metadata_map, self._inputs[0].width)
        self.algorithm = meta.graph_name if self._is_classifier or meta.graph_name.isidentifier() else "ONNX graph"
        self.framework = " ".join(part for part in (meta.producer_name, str(meta.version or "")) if part and part != "0") or "onnx"
        # The only input may be a matrix of text, or of anything that one column cannot tell.
        self._is_matrix = len(self._inputs) == 1 and self._inputs[0].dtype != "O"

    @property
    def inputs(self) -> Sequence[tuple[str, str]]:
        """The columns with the names of their types."""
        return self.inputs_named(self.features)

    def inputs_named(self, names: Sequence[str]) -> Sequence[tuple[str, str]]:
        kinds = [one.arrow for one in self._inputs]
        if len(kinds) == 1:
            require_as_many(names, self._inputs[0].width)
            return [(name, kinds[0]) for name in names]
        if set(names) != {one.name for one in self._inputs}:
            told = ", ".join(one.name for one in self._inputs)
            raise InvalidField.of(FieldViolation("features", f"are other names than those of the graph's inputs: {told}"))
        return [(one.name, one.arrow) for one in self._inputs]

    def predict(self, frame: Frame) -> Columns:
        return self._columns(self._run(None, self._feeds(frame)))

    def _named_inputs(self) -> Sequence[str]:
        return [one.name for one in self._inputs] if len(self._inputs) > 1 else []

    def _feeds(self, frame: Frame) -> dict[str, Any]:
        first = self._inputs[0]
        if self._is_matrix:
            width = first.width or len(self.features)
            matrix = matrix_of(frame, self.features, width) if width else frame.matrix()
            return {first.name: first.shaped(matrix)}
        table = frame.table()
        names = named(self.features, table.column_names)
        if len(self._inputs) > 1:
            return {one.name: one.column(table.column(one.name)) for one in self._inputs}
        return {first.name: np.column_stack([first.column(table.column(name)) for name in names])}

    def _columns(self, found: Sequence[Any]) -> Columns:
        if self._is_classifier:
            classes, probabilities = _probabilities(found[1])
            return columns_of(PREDICTION, found[0]) | class_columns(classes, probabilities)
        if len(found) == 1:
            return columns_of(PREDICTION, found[0])
        columns: Columns = {}
        for description, values in zip(self._outputs, found, strict=True):
            columns |= columns_of(description.name, values)
        return columns


class _Input:
    """One input of a graph. `width` is how many numbers a row has there; 0 if it may be any."""

    def __init__(self, description: Any) -> None:
        self.name: str = description.name
        if description.type not in _TYPES:
            raise ModelNotLoadable(f"the graph's input {self.name!r} is a {description.type}, which no column can be")
        self.dtype, self.arrow = _TYPES[description.type]
        self._shape: Sequence[Any] = description.shape[1:]
        is_known = all(isinstance(length, int) for length in self._shape)
        self.width = math.prod(self._shape) if is_known else 0

    def shaped(self, matrix: Any) -> Any:
        if self.dtype[0] in "iu" and np.isnan(matrix).any():
            raise InvalidField.of(FieldViolation("future", "has missing values, and the model takes whole numbers: fill them"))
        rows = np.ascontiguousarray(matrix, dtype=self.dtype)
        return rows.reshape(len(rows), *self._shape) if self.width and len(self._shape) != 1 else rows

    def column(self, column: pa.ChunkedArray) -> Any:
        """A column of a frame as this input wants it."""
        if column.null_count and self.dtype[0] != "f":
            raise InvalidField.of(
                FieldViolation(f"future.{self.name}", "has missing values, which the model does not take: fill them")
            )
        try:
            values = np.asarray(column.to_pylist(), dtype=object) if self.dtype == "O" else column.to_numpy().astype(self.dtype)
        except (ValueError, TypeError, pa.ArrowException) as error:
            raise InvalidField.of(FieldViolation(f"future.{self.name}", f"is no column of {self.arrow}: {error}")) from None
        return values.reshape(len(column), *[1] * len(self._shape))


def _is_classifier(label: Any, probabilities: Any) -> bool:
    """Whether it returns what converters make of classifiers: the class, and how likely each is."""
    is_label = label.type in ("tensor(int64)", "tensor(string)") and len(label.shape) == 1
    is_map = probabilities.type.startswith("seq(map(")
    return is_label and (is_map or (probabilities.type in ("tensor(float)", "tensor(double)") and len(probabilities.shape) == 2))


def _probabilities(found: Any) -> tuple[Sequence[Any], Any]:
    """The classes, by number where their names are not told, and how likely each is."""
    if isinstance(found, list):
        classes = list(found[0]) if found else []
        return classes, np.array([[row[name] for name in classes] for row in found]).reshape(len(found), len(classes))
    return range(found.shape[1]), found


def _noted(notes: dict[str, str], width: int) -> Sequence[str]:
    """The names of the columns, if the file tells as many as there are."""
    for key in _NOTES:
        text = notes.get(key, "")
        try:
            names = json.loads(text) if text.startswith("[") else [name.strip() for name in text.split(",")]
        except ValueError:
            continue
        if text and all(isinstance(name, str) and name for name in names) and len(names) == (width or len(names)):
            return list(names)
    return []
