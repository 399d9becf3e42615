"""Conversions of columns that lose nothing."""

import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from modelwire_runners import arrow_functions as pc

Cast = Callable[[pa.ChunkedArray], pa.ChunkedArray]

_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns), tz=(.+)\]")
_DICTIONARY = re.compile(r"dictionary<values=(.+), indices=(u?int\d+), ordered=([01])>")
_LIST = re.compile(r"(large_)?list<(?:item|element): (.+)>")
_DECIMAL = re.compile(r"decimal(32|64|128|256)\((\d+), (-?\d+)\)")


class Loses(Exception):
    """A conversion would change values; the message says which, to go on with "holds"."""


def type_named(name: str) -> pa.DataType | None:
    """The type that Arrow calls so; None for structs, extensions and the like, whose names cannot be read back."""
    if found := _TIMESTAMP.fullmatch(name):
        return pa.timestamp(*found.groups())
    if found := _DICTIONARY.fullmatch(name):
        values = type_named(found[1])
        return values and pa.dictionary(pa.type_for_alias(found[2]), values, ordered=found[3] == "1")
    if found := _LIST.fullmatch(name):
        items = type_named(found[2])
        return items and (pa.large_list if found[1] else pa.list_)(items)
    if found := _DECIMAL.fullmatch(name):
        decimal: Callable[[int, int], pa.DataType] = getattr(pa, f"decimal{found[1]}")
        return decimal(int(found[2]), int(found[3]))
    try:
        return pa.type_for_alias(name)
    except ValueError:
        return None


def lossless_cast(source: pa.DataType, target: pa.DataType) -> Cast | None:
    """What turns columns of one type into another with the same values, or raises Loses; None where only some other meaning of the
    values could do so, as with text that looks like a number."""
    if source == target or _is_of_more_numbers(source, target):
        return _as_it_is
    if pa.types.is_null(source):
        return lambda column: pa.chunked_array([pa.nulls(len(column), target)])
    if pa.types.is_dictionary(source):
        inner = lossless_cast(source.value_type, target)
        return inner and (lambda column: inner(column.cast(source.value_type)))
    if is_text(source) and pa.types.is_temporal(target):
        return lambda column: _attempt(column, target)
    return _round_trip(target) if _is_wider(source, target) else None


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    is_view = pa.types.is_binary_view(kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind) or is_view)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_of_more_numbers(source: pa.DataType, target: pa.DataType) -> bool:
    """Floats stay what they are where there were narrower ones, or integers: whatever takes those takes them too. JSON knows no narrower
    floats, and that all numbers of a column were whole is chance as often as not."""
    types = pa.types
    if not types.is_floating(source):
        return False
    return bool(types.is_integer(target) or (types.is_floating(target) and source.bit_width > target.bit_width))


def _is_wider(source: pa.DataType, target: pa.DataType) -> bool:
    """Whether values of one type may have an equal of another type."""
    types = pa.types
    if types.is_integer(source) or types.is_floating(source):
        return bool(types.is_integer(target) or types.is_floating(target))
    if types.is_boolean(source):
        return bool(types.is_integer(target) or types.is_float32(target) or types.is_float64(target))
    if _is_list(source) and _is_list(target):
        return source.value_type == target.value_type or _is_wider(source.value_type, target.value_type)
    return any(both(source, target) for both in (_are_times, _are_texts, _are_decimals))


def _are_texts(source: pa.DataType, target: pa.DataType) -> bool:
    return (is_text(source) and is_text(target)) or (_is_binary(source) and _is_binary(target))


def _are_decimals(source: pa.DataType, target: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(source) and pa.types.is_decimal(target))


def _are_times(source: pa.DataType, target: pa.DataType) -> bool:
    """Times with a zone and times without one are different things."""
    types = pa.types
    if types.is_timestamp(source) and types.is_timestamp(target):
        return (source.tz is None) == (target.tz is None)
    if types.is_date(source) or types.is_date(target):
        return all(types.is_date(kind) or (types.is_timestamp(kind) and kind.tz is None) for kind in (source, target))
    return bool(types.is_time(source) and types.is_time(target)) or bool(types.is_duration(source) and types.is_duration(target))


def _as_it_is(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column


def _round_trip(target: pa.DataType) -> Cast:
    def cast(column: pa.ChunkedArray) -> pa.ChunkedArray:
        found = _attempt(column, target)
        if not _attempt(found, column.type).equals(column):
            raise Loses(_first_lost(column, target))
        return found

    return cast


def _attempt(column: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    try:
        return pc.cast(column, target)
    except pa.ArrowException:
        raise Loses(_first_lost(column, target)) from None


def _first_lost(column: pa.ChunkedArray, target: pa.DataType) -> str:
    """The first value that cannot be converted, as a text to be shown."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if not _survives(column[low:middle], target) else (middle, high)
    return shown(column[low]) if len(column) else "values that cannot be converted"


def _survives(column: pa.ChunkedArray, target: pa.DataType) -> bool:
    try:
        found = pc.cast(column, target)
        return is_text(column.type) or bool(pc.cast(found, column.type).equals(column))
    except pa.ArrowException:
        return False


def shown(scalar: Any) -> str:
    """A value for a message, not longer than a glance."""
    text = scalar.as_py() if hasattr(scalar, "as_py") else scalar
    text = repr(text) if isinstance(text, str | bytes) else str(text)
    return text if len(text) <= 60 else f"{text[:57]}..."
