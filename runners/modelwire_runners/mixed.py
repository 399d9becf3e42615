"""Columns whose values have no type in common, such as 1, "a" and [true]: each value is a JSON text, in Arrow's JSON type.

That is how they pass through Arrow unchanged, integers beyond 64 bits included.
"""

import json
import math
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

MIXED = pa.json_()


def is_mixed(kind: pa.DataType) -> bool:
    """Whether a column of this type holds JSON texts."""
    return isinstance(kind, pa.JsonType)


def mixed_array(values: Iterable[Any]) -> pa.Array:
    """Plain values as JSON texts: None, bool, int, float, str, lists and dicts of them, and numpy's. NaN, infinities and None are
    missing values. Raises TypeError for what JSON does not know."""
    texts = [None if _is_missing(value) else _text(value) for value in values]
    return pa.ExtensionArray.from_storage(MIXED, pa.array(texts, pa.string()))


def mixed_values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The values behind the JSON texts. A text that is no JSON, as other programs may write it, stays a text."""
    return [_value(text) for text in column.to_pylist()]


def _text(value: Any) -> str:
    try:
        return _ENCODER.encode(value)
    except ValueError:  # NaN somewhere inside
        return _text(_finite(value))


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    return None if _is_missing(value) else value


def _own(value: Any) -> Any:
    """Python's own value for one of numpy's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not known to JSON")


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_own)


def _value(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
