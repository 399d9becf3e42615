"""Frames as columns and rows, for people who type and for JSON: plain Python values to and from Arrow tables.

JSON has one type for numbers. So a column whose numbers are all whole, up to 2^53, becomes 64-bit integers and any other column
of numbers 64-bit floats, unless its type is declared; the same holds for the numbers inside lists and objects. Values of different
kinds make a mixed column where that is declared with the type any; elsewhere they are taken for a mistake. So do objects that do
not all have the same keys: in a column of Arrow's objects each would get the keys of all.
"""

import base64
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

import pyarrow as pa

from modelwire_runners import arrow_functions as pc
from modelwire_runners.mixed import is_mixed, mixed_array, mixed_values

from .errors import FieldViolation, FrameTooLarge, InvalidFrame

WHOLE = 2**53
# Lists and objects nested deeper are no business of Arrow's: its messages end at 64 levels, and few programs go that far.
DEEPEST = 24

_ARROW_TYPES = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
}
_NAMES = {str: "text", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """Describes a column: `type` is string, integer, number, boolean, any, or empty for a type that is to be inferred."""

    name: str
    type: str = ""
    title: str = ""
    description: str = ""


def table_from_rows(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], schema: Sequence[ColumnInfo] = (), field: str = "frame"
) -> pa.Table:
    """Makes a table of None, bool, int, float, str, list and dict. InvalidFrame names column and row, counted from 1."""
    _check_names(columns, schema, field)
    for number, row in enumerate(rows):
        if len(row) != len(columns):
            found = f"{len(row)} value" + ("s" if len(row) != 1 else "")
            wanted = f"{len(columns)} column" + ("s" if len(columns) != 1 else "")
            raise _invalid(f"{field}.data[{number}]", f"row {number + 1} has {found} for {wanted}")
    infos = {info.name: info for info in schema}
    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    arrays = [_array(name, column, infos.get(name), field) for name, column in zip(columns, values, strict=True)]
    fields = [
        pa.field(name, array.type, metadata=metadata_of(infos.get(name))) for name, array in zip(columns, arrays, strict=True)
    ]
    return pa.table(arrays, schema=pa.schema(fields))


def rows_from_table(table: pa.Table, max_bytes: int = 64 << 20) -> tuple[list[str], list[list[Any]], list[ColumnInfo]]:
    """The table as values that JSON knows, with a description of every column.

    NaN and infinities become None, times ISO 8601 text, bytes base64; integers beyond 2^53 become text: JSON would round them.
    Raises FrameTooLarge when the values would take more than about `max_bytes`, InvalidFrame for dates and numbers out of reach.
    """
    check_expansion(table, max_bytes)
    names, described, columns = [str(name) for name in table.column_names], [], []
    for schema_field, column in zip(table.schema, table.columns, strict=True):
        try:
            kind, values = _plain_column(column)
        except (pa.ArrowException, ValueError, OverflowError, ArithmeticError) as error:
            raise not_writable(str(schema_field.name), error) from None
        columns.append(values)
        described.append(info_of(schema_field, kind))
    rows = [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _ in range(table.num_rows)]
    return names, rows, described


def not_writable(column: str, error: Exception) -> InvalidFrame:
    """Arrow's dates and decimals reach further than Python's."""
    text = (str(error) or type(error).__name__).splitlines()[0][:200]
    return InvalidFrame(f"column {column!r} cannot be written as columns and rows ({text}): ask for Arrow instead", field=column)


def _check_names(columns: Sequence[str], schema: Sequence[ColumnInfo], field: str) -> None:
    if repeated := repeated_name(columns):
        raise _invalid(f"{field}.columns", f"column {repeated!r} is there more than once")
    if repeated := repeated_name([info.name for info in schema]):
        raise _invalid(f"{field}.schema", f"column {repeated!r} is described more than once")
    for number, info in enumerate(schema):
        where = f"{field}.schema.fields[{number}]"
        if info.name not in columns:
            raise _invalid(f"{where}.name", f"there is no column {info.name!r}")
        if info.type not in (*_ARROW_TYPES, "any", ""):
            raise _invalid(f"{where}.type", f"{info.type!r} is none of string, integer, number, boolean, any")


def repeated_name(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _array(name: str, values: Sequence[Any], info: ColumnInfo | None, field: str) -> pa.Array:
    declared = info.type if info else ""
    if declared in _ARROW_TYPES:
        check = _CHECKS[declared]
        for number, value in enumerate(values):
            if value is not None and not check(value):
                raise _invalid(f"{field}.data[{number}]", f"row {number + 1}, column {name!r}: {_shown(value)} is no {declared}")
        return _convert(name, [_converted(value, declared) for value in values], _ARROW_TYPES[declared], field)
    if declared == "any" and len({_kind(value) for value in values if value is not None}) > 1:
        return mixed_array(map(_whole_value, values))
    _check_one_kind(name, values, field)
    if not is_regular(values):
        return mixed_array(map(_whole_value, values))
    return _whole(_convert(name, values, None, field))


def _converted(value: Any, declared: str) -> Any:
    if value is None:
        return None
    return int(value) if declared == "integer" else float(value) if declared == "number" else value


def _convert(name: str, values: Sequence[Any], kind: pa.DataType | None, field: str) -> pa.Array:
    try:
        return pa.array(values, type=kind)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise _invalid(field, f"column {name!r}: {str(error).splitlines()[0]}") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
}


def _kind(value: Any) -> str:
    return _NAMES.get(type(value), type(value).__name__)


def _check_one_kind(name: str, values: Sequence[Any], field: str) -> None:
    """A column holds one kind of value: Arrow's own message would not say in which row another one turns up."""
    first = None
    for number, value in enumerate(values):
        if value is None:
            continue
        kind = _kind(value)
        if first is None:
            first = kind
        elif kind != first:
            raise _invalid(f"{field}.data[{number}]", f"row {number + 1}, column {name!r}: {kind} after {first} in the rows before")


def is_regular(values: Iterable[Any], depth: int = DEEPEST) -> bool:
    """Whether Arrow can have the values as lists and structs: all objects, at each level, have the same keys, fit for names, and no
    more than `depth` levels are nested."""
    nested = [value for value in values if isinstance(value, list | dict)]
    if not nested:
        return True
    lists, objects = [one for one in nested if isinstance(one, list)], [one for one in nested if isinstance(one, dict)]
    keys = objects[0].keys() if objects else ()
    if depth == 0 or any(one.keys() != keys for one in objects) or any("\0" in key for key in keys):
        return False
    items = is_regular(chain.from_iterable(lists), depth - 1)
    return items and all(is_regular([one[key] for one in objects], depth - 1) for key in keys)


def _whole(array: pa.Array) -> pa.Array:
    """Floats that are all whole as integers; the same inside lists and objects."""
    kind, types = array.type, pa.types
    if types.is_float64(kind):
        return _whole_numbers(array)
    if types.is_list(kind):
        return pa.ListArray.from_arrays(array.offsets, _whole(array.values), mask=array.is_null() if array.null_count else None)
    if types.is_struct(kind) and kind.num_fields:
        inner = [_whole(array.field(index)) for index in range(kind.num_fields)]
        names = [kind.field(index).name for index in range(kind.num_fields)]
        return pa.StructArray.from_arrays(inner, names, mask=array.is_null() if array.null_count else None)
    return array


def _whole_value(value: Any) -> Any:
    match value:
        case float():
            return int(value) if value.is_integer() and abs(value) <= WHOLE else value
        case list():
            return [_whole_value(inner) for inner in value]
        case dict():
            return {key: _whole_value(inner) for key, inner in value.items()}
    return value


def _whole_numbers(array: pa.Array) -> pa.Array:
    if array.null_count == len(array):
        return array
    whole = pc.and_(pc.equal(pc.floor(array), array), pc.less_equal(pc.abs(array), float(WHOLE)))
    return array.cast(pa.int64()) if pc.all(whole).as_py() else array


def metadata_of(info: ColumnInfo | None) -> dict[str, str] | None:
    if info is None:
        return None
    return {key: value for key, value in (("title", info.title), ("description", info.description)) if value} or None


def info_of(field: pa.Field, kind: str) -> ColumnInfo:
    metadata = field.metadata or {}
    title, description = (metadata.get(key, b"").decode(errors="replace") for key in (b"title", b"description"))
    return ColumnInfo(field.name, kind, title, description)


def _plain_column(column: pa.ChunkedArray) -> tuple[str, list[Any]]:
    """The type by which a column is described, and its values."""
    if is_mixed(column.type):
        return "any", [plain(value) for value in mixed_values(column)]
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    values, types = column.to_pylist(), pa.types
    if types.is_integer(kind):
        if any(value is not None and abs(value) > WHOLE for value in values):
            return "string", [None if value is None else str(value) for value in values]
        return "integer", values
    if types.is_boolean(kind):
        return "boolean", values
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "string", values
    if types.is_floating(kind) or types.is_decimal(kind):
        return "number", [plain(value) for value in values]
    return "any", [plain(value) for value in values]


def plain(value: Any) -> Any:
    """A value of Arrow's as one that JSON knows."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= WHOLE else str(value)
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return plain(float(value))
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
    return str(value)


def check_expansion(table: pa.Table, max_bytes: int) -> None:
    """Dictionaries and views may say the same long text in every row."""
    size = table.nbytes + 8 * table.num_rows * max(1, table.num_columns) + sum(map(_repeated_bytes, _chunks(table)))
    if size > max_bytes:
        message = f"the frame takes {size:,} bytes as columns and rows, the limit is {max_bytes:,}: ask for Arrow instead"
        raise FrameTooLarge(message, limit=max_bytes)


def _chunks(table: pa.Table) -> Iterable[pa.Array]:
    return (chunk for column in table.columns for chunk in column.chunks)


def _repeated_bytes(array: pa.Array) -> int:
    if not pa.types.is_dictionary(array.type) or not len(array.dictionary):
        return 0
    return int(len(array) * (array.dictionary.nbytes // len(array.dictionary)))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 50 else text[:47] + "..."


def _invalid(field: str, description: str) -> InvalidFrame:
    return InvalidFrame(f"{field}: {description}", violations=[FieldViolation(field, description)], field=field)
