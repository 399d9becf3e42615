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
    """Plain values (None, bool, int, float, str, lists and dicts of them) as JSON texts; None is a null. Raises TypeError for others."""
    texts = [None if value is None else _text(value) for value in values]
    return pa.ExtensionArray.from_storage(MIXED, pa.array(texts, pa.string()))


def mixed_values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The values behind the JSON texts. A text that is no JSON, as other programs may write it, stays a text."""
    return [_value(text) for text in column.to_pylist()]


def _text(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _value(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
