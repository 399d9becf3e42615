"""Plain Python values, as they travel in google.protobuf.Struct."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import struct_pb2

from modelwire.errors import InvalidArgument

# JSON numbers are doubles: beyond this, neighbouring integers are the same number.
LARGEST_INTEGER = 2**53


def to_struct(values: Any, field: str) -> struct_pb2.Struct:
    """A Struct of a mapping, or of an object with `model_dump()`. Raises InvalidArgument that names the value by its path."""
    if hasattr(values, "model_dump"):
        values = values.model_dump(mode="json")
    if not isinstance(values, Mapping):
        raise InvalidArgument.of(field, f"must be a mapping, not {type(values).__name__}")
    struct = struct_pb2.Struct()
    for key, value in values.items():
        _fill(struct.fields[_key(key, field)], value, f"{field}.{key}")
    return struct


def to_value(value: Any, field: str) -> struct_pb2.Value:
    """A Value of anything that JSON can say."""
    target = struct_pb2.Value()
    _fill(target, value, field)
    return target


def _key(key: Any, field: str) -> str:
    if not isinstance(key, str):
        raise InvalidArgument.of(field, f"keys must be strings, not {key!r}")
    return key


def _fill(target: struct_pb2.Value, value: Any, field: str) -> None:
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        value = value.tolist()  # numpy scalars and arrays
    match value:
        case None:
            target.null_value = struct_pb2.NULL_VALUE
        case bool():
            target.bool_value = value
        case int() | float():
            target.number_value = _number(value, field)
        case str():
            target.string_value = str(value)
        case Mapping():
            target.struct_value.CopyFrom(to_struct(value, field))
        case list() | tuple():
            target.list_value.CopyFrom(_list(value, field))
        case _:
            raise InvalidArgument.of(field, f"cannot be sent as JSON: {type(value).__name__}")


def _list(values: Iterable[Any], field: str) -> struct_pb2.ListValue:
    items = struct_pb2.ListValue()
    for index, value in enumerate(values):
        _fill(items.values.add(), value, f"{field}[{index}]")
    return items


def _number(value: float, field: str) -> float:
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise InvalidArgument.of(field, f"{value} is beyond 2^53 and would change on its way; send it as a string")
    if not math.isfinite(value):
        raise InvalidArgument.of(field, f"must be a finite number, not {value}")
    return float(value)


def from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A dict with its keys in order (a Struct has none); doubles that are whole numbers become int."""
    return {key: from_value(value) for key, value in sorted(struct.fields.items())}


def from_value(value: struct_pb2.Value) -> Any:
    """The Python value of a Value."""
    match value.WhichOneof("kind"):
        case "number_value":
            return _whole(value.number_value)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return from_struct(value.struct_value)
        case "list_value":
            return [from_value(item) for item in value.list_value.values]
        case _:
            return None


def _whole(number: float) -> float:
    return int(number) if number.is_integer() and abs(number) <= LARGEST_INTEGER else number
