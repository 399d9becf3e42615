"""What predictions of libraries become: columns by name."""

from collections.abc import Sequence
from typing import Any

import numpy as np

PREDICTION, CONFIDENCE, PROBABILITY = "prediction", "confidence", "probability"
# Of more classes only the confidence is told.
MOST_CLASSES = 100

Columns = dict[str, Any]


def columns_of(name: str, values: Any) -> Columns:
    """One output as columns: `prediction`, or `prediction_0`, `prediction_1` ... where it has several. Values that are no numbers become
    lists."""
    values = np.asarray(values)
    if values.ndim == 0:
        raise ValueError("the model returned a single value instead of one for each row")
    if values.ndim == 1 or values.shape[1:] == (1,):
        return {name: _plain(values.reshape(len(values)))}
    flat = values.reshape(len(values), -1)
    return {f"{name}_{number}": _plain(flat[:, number]) for number in range(flat.shape[1])}


def class_columns(classes: Sequence[Any], probabilities: Any) -> Columns:
    """How sure a classifier is: of what it chose, and of each class."""
    matrix = np.asarray(probabilities)
    found: Columns = {CONFIDENCE: matrix.max(axis=1)}
    if len(classes) <= MOST_CLASSES:
        found.update((f"{PROBABILITY}_{name}", np.ascontiguousarray(matrix[:, place])) for place, name in enumerate(classes))
    return found


def _plain(values: Any) -> Any:
    """Numbers side by side; all else as Python's own values."""
    return np.ascontiguousarray(values) if values.dtype.kind in "fiub" else values.tolist()
