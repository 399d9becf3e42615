"""Values of JSON as messages. Everything that is wrong is told at once, as a list of complaints with place and value."""

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from google.protobuf import json_format, struct_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from modelwire.v1 import frame_pb2

from ..frames import write_frame
from ..services.values import fill_list, fill_struct, fill_value
from .frames import InvalidJsonFrame, frame_from_json
from .shapes import ALIASES, NUMBERS_TOO, enum_words, is_required

Place = tuple[str | int, ...]
_Field = FieldDescriptor
_TRUE, _FALSE = {"true", "1", "t", "yes", "y", "on"}, {"false", "0", "f", "no", "n", "off"}
_RANGES = {
    _Field.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    _Field.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    _Field.CPPTYPE_UINT32: (0, 2**32 - 1),
    _Field.CPPTYPE_UINT64: (0, 2**64 - 1),
}


class InvalidRequest(Exception):
    """A request that is not what the contract says; `errors` are complaints."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors)
        self.errors = errors


class _Wrong(Exception):
    def __init__(self, kind: str, text: str, **context: Any) -> None:
        super().__init__(text)
        self.kind, self.text, self.context = kind, text, context


@dataclass(slots=True)
class Complaints:
    """What is wrong with a request: entries `type`, `loc`, `msg`, `input` and sometimes `ctx`."""

    errors: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, place: Place, text: str, value: Any, **context: Any) -> None:
        entry = {"type": kind, "loc": list(place), "msg": text, "input": value}
        self.errors.append(entry | {"ctx": context} if context else entry)

    def settle(self) -> None:
        """Raises InvalidRequest if there are any."""
        if self.errors:
            raise InvalidRequest(self.errors)


def read_message(message: Message, value: Any, place: Place, found: Complaints, given: Iterable[str] = ()) -> None:
    """Fills a message from a JSON object; unknown members do not count. `given` are fields that stand elsewhere in the request."""
    if not isinstance(value, dict):
        found.add("model_attributes_type", place, "Input should be a valid dictionary or object to extract fields from", value)
        return
    fields: Any = message.DESCRIPTOR.fields
    for one in fields:
        if one.name in given:
            continue
        name = next((name for name in _names(one) if value.get(name) is not None), None)
        if name is not None:
            read_field(message, one, value[name], (*place, name), found)
        elif is_required(one):
            found.add("missing", (*place, one.name), "Field required", value)


def read_field(message: Any, one: FieldDescriptor, value: Any, place: Place, found: Complaints) -> None:
    """Fills a field."""
    oneof = one.containing_oneof
    if oneof is not None and len(oneof.fields) > 1 and message.WhichOneof(oneof.name) not in (None, one.name):
        found.add("value_error", place, f"Value error, only one of {oneof.name} can be given", value)
    elif is_map(one):
        _read_map(getattr(message, one.name), one, value, place, found)
    elif one.is_repeated:
        _read_list(getattr(message, one.name), one, value, place, found)
    elif one.message_type is not None:
        inner = getattr(message, one.name)
        inner.SetInParent()
        _read_inner(inner, value, place, found)
    else:
        _attempt(lambda: setattr(message, one.name, scalar(one, value)), place, value, found)


def is_map(one: FieldDescriptor) -> bool:
    return one.message_type is not None and bool(one.message_type.GetOptions().map_entry)


def _read_list(items: Any, one: FieldDescriptor, value: Any, place: Place, found: Complaints) -> None:
    if not isinstance(value, list):
        found.add("list_type", place, "Input should be a valid list", value)
        return
    for number, item in enumerate(value):
        if one.message_type is not None:
            _read_inner(items.add(), item, (*place, number), found)
        else:
            _attempt(partial(_append, items, one, item), (*place, number), item, found)


def _append(items: Any, one: FieldDescriptor, item: Any) -> None:
    items.append(scalar(one, item))


def _read_map(entries: Any, one: FieldDescriptor, value: Any, place: Place, found: Complaints) -> None:
    if not isinstance(value, dict):
        found.add("dict_type", place, "Input should be a valid dictionary", value)
        return
    assert one.message_type is not None
    of_key, of_value = (one.message_type.fields_by_name[name] for name in ("key", "value"))
    for name, item in value.items():
        at = (*place, name)
        if of_value.message_type is not None:
            _attempt(lambda: _read_inner(entries[scalar(of_key, name)], item, at, found), at, item, found)  # noqa: B023
        else:
            _attempt(lambda: entries.update({scalar(of_key, name): scalar(of_value, item)}), at, item, found)  # noqa: B023


def _read_inner(inner: Message, value: Any, place: Place, found: Complaints) -> None:
    special = _SPECIAL.get(inner.DESCRIPTOR.full_name)
    if special is not None:
        _attempt(lambda: special(inner, value), place, value, found)
    elif inner.DESCRIPTOR.file.package == "google.protobuf":
        _attempt(lambda: json_format.ParseDict(value, inner), place, value, found)
    else:
        read_message(inner, value, place, found)


def _attempt(act: Callable[[], Any], place: Place, value: Any, found: Complaints) -> None:
    try:
        act()
    except _Wrong as wrong:
        found.add(wrong.kind, place, wrong.text, value, **wrong.context)
    except InvalidJsonFrame as wrong:
        found.errors += [{**error, "loc": [*place, *error["loc"]]} for error in wrong.errors]
    except UnicodeError:
        found.add("string_unicode", place, "Input should be a valid string, unable to parse raw data as a unicode string", None)
    except RecursionError:
        found.add("recursion_loop", place, "Input is nested too deeply", None)
    except (ValueError, TypeError, json_format.ParseError) as error:
        found.add("value_error", place, f"Value error, {error}", value)


def scalar(one: FieldDescriptor, value: Any) -> Any:
    """The value of a field that is no message; texts are read as what they should be."""
    if one.enum_type is not None:
        return _enum(one.enum_type, value)
    if one.type == _Field.TYPE_STRING:
        is_number = one.full_name in NUMBERS_TOO and type(value) in (int, float)
        return _text(str(_whole(value, 1, 2**31 - 1)) if is_number else value)
    if one.type == _Field.TYPE_BYTES:
        return _bytes(value)
    if one.type == _Field.TYPE_BOOL:
        return _truth(value)
    if one.cpp_type in _RANGES:
        return _whole(value, *_RANGES[one.cpp_type])
    return _number(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong("string_type", "Input should be a valid string")
    value.encode()
    return value


def _bytes(value: Any) -> bytes:
    try:
        padded = _text(value) + "=" * (-len(value) % 4)
        return base64.b64decode(padded.translate(str.maketrans("-_", "+/")), validate=True)
    except binascii.Error:
        raise _Wrong("value_error", "Value error, it is not Base64") from None


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if not isinstance(value, str | int) or text not in _TRUE | _FALSE:
        raise _Wrong("bool_parsing", "Input should be a valid boolean, unable to interpret input")
    return text in _TRUE


def _whole(value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Wrong("int_type", "Input should be a valid integer")
    if isinstance(value, float) and not value.is_integer():
        raise _Wrong("int_from_float", "Input should be a valid integer, got a number with a fractional part")
    try:
        number = int(value)
    except ValueError:
        raise _Wrong("int_parsing", "Input should be a valid integer, unable to parse string as an integer") from None
    if number < least:
        raise _Wrong("greater_than_equal", f"Input should be greater than or equal to {least}", ge=least)
    if number > most:
        raise _Wrong("less_than_equal", f"Input should be less than or equal to {most}", le=most)
    return number


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Wrong("float_type", "Input should be a valid number")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise _Wrong("float_parsing", "Input should be a valid number, unable to parse string as a number") from None


def _enum(enum: EnumDescriptor, value: Any) -> int:
    words = _words(enum)
    if isinstance(value, str) and (number := words.get(value.lower(), -1)) >= 0:
        return number
    shown = [f"'{word}'" for word in enum_words(enum)]
    expected = f"{', '.join(shown[:-1])} or {shown[-1]}" if len(shown) > 1 else "".join(shown)
    raise _Wrong("enum", f"Input should be {expected}", expected=expected)


@cache
def _words(enum: EnumDescriptor) -> dict[str, int]:
    """Words and full names."""
    full = {value.name.lower(): value.number for value in enum.values}
    return full | {word.lower(): number for word, number in enum_words(enum).items()}


def field_named(message: Descriptor, name: str) -> FieldDescriptor | None:
    """The field that may be given by this name."""
    return _by_name(message).get(name)


@cache
def _by_name(message: Descriptor) -> dict[str, FieldDescriptor]:
    fields: Any = message.fields
    return {name: one for one in fields for name in _names(one)}


@cache
def _names(one: FieldDescriptor) -> tuple[str, ...]:
    """By which names a field may be given."""
    return tuple(dict.fromkeys((one.name, one.json_name, *ALIASES.get(one.full_name, ()))))


def _struct(struct: struct_pb2.Struct, value: Any) -> None:
    if not isinstance(value, dict):
        raise _Wrong("dict_type", "Input should be a valid dictionary")
    fill_struct(struct, value)


def _list_value(values: struct_pb2.ListValue, value: Any) -> None:
    if not isinstance(value, list):
        raise _Wrong("list_type", "Input should be a valid list")
    fill_list(values, value)


def _frame(frame: frame_pb2.Frame, value: Any) -> None:
    """A frame as JSON, or its Arrow stream as Base64."""
    if isinstance(value, dict) and "arrow" in value:
        frame.arrow = _bytes(value["arrow"])
    else:
        frame.arrow = write_frame(frame_from_json(value))


_SPECIAL: dict[str, Callable[[Any, Any], None]] = {
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": fill_value,
    "google.protobuf.ListValue": _list_value,
    "modelwire.v1.Frame": _frame,
}
