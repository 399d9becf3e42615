"""Struct, Value and ListValue to plain Python and back.

JSON has one type for numbers, so whole ones up to 2^53 become int on the way in.
"""

import json
import math
import sys
from typing import Any

from google.protobuf import struct_pb2

from ..errors import FieldViolation, InvalidField
from ..rows import WHOLE, plain

# Decoders give up at about 33 levels, with a message that helps nobody.
DEEPEST = 24


def dict_of(struct: struct_pb2.Struct, field: str) -> dict[str, Any]:
    """Raises InvalidField for numbers that are not finite, and for too much nesting."""
    return {key: value_of(value, f"{field}.{key}") for key, value in struct.fields.items()}


def dict_from_json(text: str, field: str) -> dict[str, Any]:
    """The object that a JSON text is, with integers of any size. Raises InvalidField if it is none, and as dict_of() does."""
    found = value_from_json(text, field)
    if not isinstance(found, dict):
        raise InvalidField.of(FieldViolation(field, f"must be a JSON object, not {type(found).__name__}"))
    return found


def value_from_json(text: str, field: str) -> Any:
    """The value that a JSON text is, with integers of any size. Raises as dict_from_json() does."""
    try:
        found = json.loads(text, parse_constant=float)
    except (ValueError, RecursionError) as error:
        raise InvalidField.of(FieldViolation(field, f"is no JSON text: {error}")) from error
    _check(found, field, DEEPEST + 1)
    return found


def _check(value: Any, field: str, depth: int) -> None:
    if isinstance(value, float):
        _number(value, field)
    elif isinstance(value, dict | list):
        _go_deeper(field, depth)
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in inner:
            _check(one, f"{field}[{key}]" if isinstance(key, int) else f"{field}.{key}", depth - 1)


def has_large_integers(value: Any) -> bool:
    """Whether there is an integer in it that a Value cannot hold."""
    if isinstance(value, dict | list):
        return any(map(has_large_integers, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int) and abs(value) > WHOLE


def fits_value(value: Any, depth: int = DEEPEST) -> bool:
    """Whether a Value can hold what was read from JSON, and whoever gets it can read it."""
    if isinstance(value, dict | list):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        return depth > 0 and all(fits_value(one, depth - 1) for one in inner)
    if isinstance(value, str):
        return value.isascii() or value.encode(errors="replace").decode() == value
    return not isinstance(value, int) or abs(value) <= sys.float_info.max


def value_of(value: struct_pb2.Value, field: str, depth: int = DEEPEST, *, exact: bool = False) -> Any:
    """Raises as dict_of() does; `exact` leaves all numbers as they are."""
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            return value.number_value if exact else _number(value.number_value, field)
        case "bool_value":
            return value.bool_value
        case "struct_value":
            _go_deeper(field, depth)
            inner = value.struct_value.fields
            return {key: value_of(inner[key], f"{field}.{key}", depth - 1, exact=exact) for key in inner}
        case "list_value":
            _go_deeper(field, depth)
            items = enumerate(value.list_value.values)
            return [value_of(item, f"{field}[{index}]", depth - 1, exact=exact) for index, item in items]
        case _:
            return None


def _number(number: float, field: str) -> int | float:
    if number - number != 0.0:  # not a number, or infinite
        raise InvalidField.of(FieldViolation(field, f"{number} is not a number that JSON knows"))
    # There is no whole number that is less than nothing by its sign alone.
    is_whole = number.is_integer() and abs(number) <= WHOLE and (number != 0 or math.copysign(1, number) > 0)
    return int(number) if is_whole else number


def _go_deeper(field: str, depth: int) -> None:
    if depth == 0:
        raise InvalidField.of(FieldViolation(field[:200], f"is nested more than {DEEPEST} levels deep"))


def struct_of(values: dict[str, Any]) -> struct_pb2.Struct:
    """Values that JSON does not know are written as text, NaN as null."""
    struct = struct_pb2.Struct()
    fill_struct(struct, values)
    return struct


def fill_struct(struct: struct_pb2.Struct, values: dict[str, Any]) -> None:
    for key, value in values.items():
        fill_value(struct.fields[str(key)], value)


def fill_value(target: struct_pb2.Value, value: Any) -> None:
    match value if isinstance(value, dict | list) else plain(value):
        case None:
            target.null_value = struct_pb2.NULL_VALUE
        case bool() as truth:
            target.bool_value = truth
        case int() | float() as number:
            target.number_value = number
        case str() as text:
            target.string_value = text
        case dict() as inner:
            target.struct_value.SetInParent()
            fill_struct(target.struct_value, inner)
        case list() as items:
            fill_list(target.list_value, items)


def fill_list(target: struct_pb2.ListValue, items: list[Any]) -> None:
    target.SetInParent()
    for item in items:
        fill_value(target.values.add(), item)
