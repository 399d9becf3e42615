"""Frames in JSON, `{"columns": [...], "data": [[...]], "schema": {"fields": [...]}}`, to Arrow tables and back.

Values survive the way to Arrow and back unchanged. A column of one kind of value gets the type of that kind, whole numbers and
others together are 64-bit floats, and whatever has no type in common, or none that holds it exactly, is a mixed column. Unlike in
messages of protobuf, where each number is a float, 1 and 1.0 differ here: the former makes an integer column, the latter a float.
"""

import base64
import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, Literal

import orjson
import pyarrow as pa
from pydantic import BaseModel, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from modelwire_runners import arrow_functions as pc
from modelwire_runners.mixed import is_mixed, mixed_array, mixed_values

from ..errors import FieldViolation, InvalidFrame
from ..rows import ColumnInfo, check_expansion, info_of, is_regular, metadata_of, not_writable, plain, repeated_name

MAX_BYTES = 64 << 20
# How many mistakes of a frame are told at once.
MAX_ERRORS = 20

# Field metadata of a float column whose whole numbers were all written without a fraction: they are written like that again.
_WHOLE = {"whole": "integer"}
_KINDS: dict[type, pa.DataType] = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
_DECLARED = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
# Columns whose type is known by their name, whatever values they hold.
_KNOWN = {
    "time_period": "string",
    "location": "string",
    "disease_cases": "number",
    "population": "integer",
    "rainfall": "number",
    "mean_temperature": "number",
}
_NOT_WRITABLE = (pa.ArrowException, ValueError, TypeError, OverflowError, ArithmeticError)


class InvalidJsonFrame(InvalidFrame):
    """JSON that is no frame. `errors` are entries of a validation list: `type`, `loc` (within the frame), `msg`, `input`."""

    def __init__(self, field: str, errors: Sequence[dict[str, Any]]) -> None:
        violations = [FieldViolation(_path(field, error["loc"]), error["msg"]) for error in errors]
        super().__init__(f"{violations[0].field}: {violations[0].description}", violations=violations, field=violations[0].field)
        self.errors = list(errors)


class _Column(BaseModel):
    name: str
    type: Literal["string", "integer", "number", "boolean", "any"]
    title: str | None = None
    description: str | None = None


class _Columns(BaseModel):
    fields: list[_Column]


def _unless_rows(value: object, check: ValidatorFunctionWrapHandler) -> object:
    """Rows are checked without being copied, unless there is something wrong to be found."""
    return value if isinstance(value, list) and set(map(type, value)) <= {list} else check(value)


class _Frame(BaseModel):
    columns: list[str]
    data: Annotated[list[list[Any]], WrapValidator(_unless_rows)]
    described: _Columns | None = Field(None, alias="schema")


def frame_from_json(value: object, field: str = "data") -> pa.Table:
    """The table that a parsed JSON value describes. Raises InvalidJsonFrame, whose violations begin with `field`.

    The schema is a hint: numbers become floats where it says number, missing values get its type. Where values contradict it,
    and for columns that are not there, it counts for nothing.
    """
    frame = _checked(value, field)
    infos = {one.name: ColumnInfo(one.name, one.type, one.title or "", one.description or "") for one in _described(frame)}
    columns = zip(frame.columns, _transposed(frame.data, len(frame.columns)), strict=True)
    try:
        arrays = [_array(values, infos.get(name)) for name, values in columns]
    except RecursionError:
        raise _wrong(field, ("data",), "values are nested too deeply", None) from None
    if not arrays:
        return pa.table({"": pa.nulls(len(frame.data))}).select([])
    fields = [
        pa.field(name, array.type, metadata=metadata | (metadata_of(infos.get(name)) or {}))
        for name, (array, metadata) in zip(frame.columns, arrays, strict=True)
    ]
    return pa.table([array for array, _ in arrays], schema=pa.schema(fields))


def _described(frame: _Frame) -> list[_Column]:
    return frame.described.fields if frame.described else []


def _checked(value: object, field: str) -> _Frame:
    try:
        frame = _Frame.model_validate(value, from_attributes=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)[:MAX_ERRORS]
        raise InvalidJsonFrame(field, [dict(one) for one in found]) from None
    if (repeated := repeated_name(frame.columns)) is not None:
        at = len(frame.columns) - 1 - frame.columns[::-1].index(repeated)
        raise _wrong(field, ("columns", at), f"column {repeated!r} is there more than once", repeated)
    for number, name in enumerate(frame.columns):
        if "\0" in name:
            raise _wrong(field, ("columns", number), "the name of a column cannot hold a NUL", name)
    _check_rows(frame, field)
    return frame


def _check_rows(frame: _Frame, field: str) -> None:
    wanted = len(frame.columns)
    if set(map(len, frame.data)) <= {wanted}:
        return
    number, row = next((number, row) for number, row in enumerate(frame.data) if len(row) != wanted)
    text = f"row {number + 1} has {_count(len(row), 'value')} for {_count(wanted, 'column')}"
    raise _wrong(field, ("data", number), text, row)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _wrong(field: str, loc: tuple[int | str, ...], text: str, found: object) -> InvalidJsonFrame:
    return InvalidJsonFrame(field, [{"type": "value_error", "loc": loc, "msg": text, "input": found}])


def _path(field: str, loc: Iterable[int | str]) -> str:
    return field + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)


def _transposed(rows: list[list[Any]], width: int) -> list[list[Any]]:
    values = list(chain.from_iterable(rows))
    return [values[number::width] for number in range(width)]


def _array(values: list[Any], info: ColumnInfo | None) -> tuple[pa.Array, dict[str, str]]:
    """The values as an array, with metadata for its field."""
    array, metadata = _inferred(values)
    declared = info.type if info else ""
    if pa.types.is_null(array.type) and declared in _DECLARED:
        return pa.nulls(len(values), _DECLARED[declared]), {}
    if pa.types.is_int64(array.type) and declared == "number":
        try:
            return array.cast(pa.float64()), _WHOLE
        except pa.ArrowInvalid:  # floats cannot hold them
            return array, {}
    return array, metadata


def _inferred(values: list[Any]) -> tuple[pa.Array, dict[str, str]]:
    types = list(map(type, values))
    kinds = set(types) - {type(None)}
    try:
        if not kinds:
            return pa.nulls(len(values)), {}
        if kinds == {int, float}:
            return _numbers(values, types.count(int))
        if len(kinds) == 1:
            return _of_one_kind(values, kinds.pop()), {}
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        pass  # no type holds them exactly
    return mixed_array(values), {}


def _of_one_kind(values: list[Any], kind: type) -> pa.Array:
    if kind is int:
        return _integers(values)
    if kind in _KINDS:
        return pa.array(values, _KINDS[kind])
    if not is_regular(values):
        return mixed_array(values)
    array = pa.array(values)
    # Integers that became floats, for instance, may have lost digits.
    return array if array.to_pylist() == values else mixed_array(values)


def _integers(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.int64())
    except OverflowError:
        return pa.array(values, pa.uint64())


def _numbers(values: list[Any], integers: int) -> tuple[pa.Array, dict[str, str]]:
    """Integers and floats in one column. Arrow refuses integers that floats cannot hold."""
    array = pa.array(values, pa.float64())
    whole = pc.sum(pc.equal(pc.floor(array), array)).as_py()
    return array, _WHOLE if whole == integers else {}


def frame_to_json(table: pa.Table, known: Mapping[str, str] | None = None, max_bytes: int = MAX_BYTES) -> bytes:
    """The table as columns, data and schema. NaN and infinities become null, times ISO 8601, bytes Base64; numbers keep all digits.

    `known` has the types of columns that are known otherwise than by their values, such as those of a config. Raises FrameTooLarge
    if the values would take more than about `max_bytes`, InvalidFrame for dates and decimals out of reach.
    """
    frame = {"columns": table.column_names, "data": _rows(table, max_bytes), "schema": {"fields": schema_fields(table, known)}}
    return _dumped(frame)


def records_json(table: pa.Table, max_bytes: int = MAX_BYTES) -> bytes:
    """The table as an array with an object for each row; raises as `frame_to_json`."""
    names = table.column_names
    return _dumped([dict(zip(names, row, strict=True)) for row in _rows(table, max_bytes)])


def frame_to_csv(table: pa.Table, max_bytes: int = MAX_BYTES) -> bytes:
    """The table as CSV: a header, lines that end with CRLF, nothing where a value is missing; raises as `frame_to_json`."""
    check_expansion(table, max_bytes)
    columns = [_each(field.name, column, _cells, field) for field, column in zip(table.schema, table.columns, strict=True)]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(table.column_names)
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def schema_fields(table: pa.Table, known: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    """What each column holds: `name`, `type` (string, integer, number, boolean, any) and `title` and `description` if it has any."""
    types = dict(known or {}) | _KNOWN
    infos = [
        info_of(field, types.get(field.name) or _type_of(column)) for field, column in zip(table.schema, table.columns, strict=True)
    ]
    return [
        {"name": one.name, "type": one.type}
        | {key: text for key, text in (("title", one.title), ("description", one.description)) if text}
        for one in infos
    ]


def _type_of(column: pa.ChunkedArray) -> str:
    if not is_mixed(column.type):
        return _type_name(column.type)
    kinds = set(map(type, mixed_values(column))) - {type(None)}
    return "integer" if kinds == {int} else "number" if kinds == {int, float} else "any"


def _type_name(kind: pa.DataType) -> str:
    types = pa.types
    if types.is_dictionary(kind):
        return _type_name(kind.value_type)
    if types.is_boolean(kind):
        return "boolean"
    if types.is_integer(kind):
        return "integer"
    if types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    return "string" if _is_text(kind) else "any"


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _rows(table: pa.Table, max_bytes: int) -> list[Any]:
    check_expansion(table, max_bytes)
    columns = [_each(field.name, column, _values, field) for field, column in zip(table.schema, table.columns, strict=True)]
    return list(zip(*columns, strict=True)) if columns else [()] * table.num_rows


def _each(name: str, column: pa.ChunkedArray, values: Callable[..., list[Any]], *arguments: Any) -> list[Any]:
    try:
        return values(column, *arguments)
    except _NOT_WRITABLE as error:
        raise not_writable(name, error) from None


def _values(column: pa.ChunkedArray, field: pa.Field) -> list[Any]:
    """The values of a column as orjson takes them."""
    if is_mixed(column.type):
        return [_fragment(text) for text in column.to_pylist()]
    if pa.types.is_floating(column.type):
        numbers = column.to_numpy().astype("f8").tolist()  # NaN, which becomes null, where a value is missing
        return _whole(numbers) if _has_whole(field) else list(numbers)
    return _listed(column)


def _listed(column: pa.ChunkedArray) -> list[Any]:
    """The same as `to_pylist`, but fast where numpy knows the type."""
    kind, types = column.type, pa.types
    if types.is_dictionary(kind):
        return _listed(column.cast(kind.value_type))
    if _is_text(kind) or types.is_boolean(kind):
        return list(column.to_numpy().tolist())
    if (types.is_integer(kind) or types.is_floating(kind)) and not column.null_count:
        return list(column.to_numpy().tolist())
    return list(column.to_pylist())


def _has_whole(field: pa.Field) -> bool:
    return bool((field.metadata or {}).get(b"whole") == b"integer" and pa.types.is_floating(field.type))


def _whole(numbers: list[Any]) -> list[Any]:
    return [int(number) if number is not None and number.is_integer() else number for number in numbers]


def _fragment(text: str | None) -> Any:
    """JSON as it is. Whether it is JSON at all is known only of our own; line ends would break streams of lines."""
    if text is None:
        return None
    try:
        orjson.loads(text)
    except ValueError:
        return text
    return orjson.Fragment(text.replace("\n", " ").replace("\r", " "))


def _dumped(value: object) -> bytes:
    try:
        return orjson.dumps(value, default=plain)
    except TypeError as error:
        raise not_writable("data", error) from None


def _cells(column: pa.ChunkedArray, field: pa.Field) -> list[Any]:
    values = mixed_values(column) if is_mixed(column.type) else _listed(column)
    return _whole(values) if _has_whole(field) else [_cell(value) for value in values]


def _cell(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list | dict | tuple):
        return _dumped(value).decode()
    return value.isoformat() if hasattr(value, "isoformat") else value
