"""What predictions are worth, compared with what is right: numbers of each other, classes of each other, or a probability for each class.

Whole numbers may be either, so they are told both ways.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from modelwire_runners import arrow_functions as pc
from modelwire_runners.mixed import is_mixed, mixed_values

Numbers = np.ndarray[tuple[int], np.dtype[np.float64]]


class NotComparable(Exception):
    """A column holds what can be no prediction, such as lists; the message says what."""


def kpis(truth: pa.ChunkedArray, predicted: pa.ChunkedArray) -> dict[str, float]:
    """The scores by their names. Columns without missing values, of the same length, which is not 0. Raises NotComparable."""
    truth, predicted = _plain(truth), _plain(predicted)
    if not (_is_number(truth.type) and _is_number(predicted.type)):
        return of_classes(_texts(truth), _texts(predicted))
    right, found = _floats(truth), _floats(predicted)
    scores = of_numbers(right, found)
    return scores | of_classes(right, found) if _are_whole(right) and _are_whole(found) else scores


def of_numbers(truth: Numbers, predicted: Numbers) -> dict[str, float]:
    """Mean absolute error, root mean squared error, and r2 where the truth is not the same everywhere."""
    errors = predicted - truth
    scores = {"mae": float(np.abs(errors).mean()), "rmse": float(np.sqrt((errors**2).mean()))}
    spread = float(((truth - truth.mean()) ** 2).sum())
    return {"r2": 1 - float((errors**2).sum()) / spread, **scores} if spread else scores


def of_classes(truth: Any, predicted: Any) -> dict[str, float]:
    """Accuracy, and precision, recall and f1 as means over the classes, each of which counts the same."""
    classes, codes = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    right, found = codes[: len(truth)], codes[len(truth) :]
    hits, there, claimed = (np.bincount(which, minlength=len(classes)) for which in (right[right == found], right, found))
    precision, recall = _ratio(hits, claimed), _ratio(hits, there)
    return {
        "accuracy": float((right == found).mean()),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "f1": float(_ratio(2 * hits, there + claimed).mean()),
    }


def likeliest(probabilities: Mapping[str, pa.ChunkedArray]) -> pa.ChunkedArray:
    """The name of the column that has the highest value of each row."""
    names = np.array(list(probabilities), dtype=object)
    matrix = np.column_stack([column.to_numpy() for column in probabilities.values()])
    return pa.chunked_array([pa.array(names[matrix.argmax(axis=1)], pa.string())])


def _ratio(part: Any, whole: Any) -> Any:
    """0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if is_mixed(column.type):
        return pa.chunked_array([pa.array([str(value) for value in mixed_values(column)], pa.string())])
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _floats(column: pa.ChunkedArray) -> Numbers:
    floats: Numbers = column.cast(pa.float64(), safe=False).to_numpy()
    return floats


def _are_whole(numbers: Numbers) -> bool:
    return bool((numbers == np.floor(numbers)).all())


def _texts(column: pa.ChunkedArray) -> Any:
    """Classes as text; booleans count as 0 and 1, and 1.0 is 1."""
    kind = column.type
    try:
        if pa.types.is_boolean(kind):
            column = column.cast(pa.int8())
        elif pa.types.is_floating(kind) and _are_whole(_floats(column)):
            column = column.cast(pa.int64(), safe=False)
        return pc.cast(column, pa.string()).to_numpy()
    except pa.ArrowException as error:
        raise NotComparable(f"holds {kind}, which is neither a number nor a class") from error
