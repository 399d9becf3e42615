"""Messages as JSON: field names as in the contract, enums as words, numbers as numbers, and the shapes of `shapes`."""

import base64
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
import pyarrow as pa
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from modelwire.v1 import frame_pb2

from ..services.values import value_of
from .frames import frame_to_json
from .shapes import JSON_TEXTS, PLAIN, SHAPES, Shape, enum_words

_FLOATS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


@dataclass(frozen=True, slots=True)
class Renderer:
    """Makes values for orjson of messages. `extra` shows the fields that the REST contract does not know; `without` are full names
    of fields to be left out."""

    extra: bool = False
    without: frozenset[str] = frozenset()

    def message(self, message: Message) -> Any:
        """Raises FrameTooLarge, InvalidFrame for a frame that JSON cannot hold."""
        special = _WELL_KNOWN.get(message.DESCRIPTOR.full_name)
        if special is not None:
            return special(message)
        if message.DESCRIPTOR.file.package == "google.protobuf":
            return json_format.MessageToDict(message, preserving_proto_field_name=True)
        shape = SHAPES.get(message.DESCRIPTOR.full_name, PLAIN)
        return dict(self._members(message, shape))

    def field(self, message: Message, name: str) -> Any:
        """The value of one field."""
        shape = SHAPES.get(message.DESCRIPTOR.full_name, PLAIN)
        field: Any = message.DESCRIPTOR.fields_by_name[name]
        return self._value(message, field, shape)

    def _members(self, message: Any, shape: Shape) -> Iterator[tuple[str, Any]]:
        for field in fields_shown(message.DESCRIPTOR, shape.fields, self.extra):
            if field.full_name in self.without:
                continue
            oneof = field.containing_oneof
            optional = oneof is not None and len(oneof.fields) == 1
            if oneof is not None and not optional and message.WhichOneof(oneof.name) != field.name:
                continue
            if shape.omit_absent and field.has_presence and not message.HasField(field.name):
                continue
            text = getattr(message, JSON_TEXTS[field.full_name]) if field.full_name in JSON_TEXTS else ""
            yield field.name, orjson.Fragment(text) if text else self._value(message, field, shape)

    def _value(self, message: Any, field: FieldDescriptor, shape: Shape) -> Any:
        if field.has_presence and not message.HasField(field.name):
            return None
        value = getattr(message, field.name)
        if not field.is_repeated:
            return self._single(field, value, shape)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            of = field.message_type.fields_by_name["value"]
            return {str(key): self._single(of, one, shape) for key, one in value.items()}
        return [self._single(field, one, shape) for one in value]

    def _single(self, field: FieldDescriptor, value: Any, shape: Shape) -> Any:
        if field.message_type is not None:
            return shape.time(value) if field.message_type.full_name == "google.protobuf.Timestamp" else self.message(value)
        if field.enum_type is not None:
            return _words(field.enum_type).get(value) if value else None
        if field.type == FieldDescriptor.TYPE_BYTES:
            return base64.b64encode(value).decode()
        if field.cpp_type in _FLOATS:
            return value if math.isfinite(value) else None
        return value


@cache
def fields_shown(message: Descriptor, known: tuple[str, ...], extra: bool) -> tuple[FieldDescriptor, ...]:
    """The fields that answers have, in their order: those that are known, all if none are, and with `extra` the others too."""
    shown = [message.fields_by_name[name] for name in known]
    texts = {JSON_TEXTS.get(field.full_name) for field in message.fields}
    others = (field for field in message.fields if field not in shown and field.name not in texts)
    return (*shown, *(others if extra or not known else ()))


@cache
def _words(enum: EnumDescriptor) -> dict[int, str]:
    return {number: word for word, number in enum_words(enum).items()}


def _frame(frame: Any) -> Any:
    if frame.WhichOneof("content") == "table":
        return json_format.MessageToDict(frame.table, preserving_proto_field_name=True)
    return orjson.Fragment(frame_to_json(table_of(frame)))


def table_of(frame: frame_pb2.Frame) -> pa.Table:
    """The table of a frame that the server has sent as Arrow."""
    return pa.ipc.open_stream(frame.arrow).read_all()


def _struct(struct: Any) -> dict[str, Any]:
    return {key: _plain(value) for key, value in struct.fields.items()}


def _list(values: Any) -> list[Any]:
    return [_plain(value) for value in values.values]


def _plain(value: Any) -> Any:
    return value_of(value, "", depth=_DEEP)


# What is stored was checked when it came.
_DEEP = 1000
_WELL_KNOWN: dict[str, Callable[[Any], Any]] = {
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": _plain,
    "google.protobuf.ListValue": _list,
    "modelwire.v1.Frame": _frame,
}


def to_json(value: Any) -> bytes:
    """JSON text; NaN and infinities are null. Whole numbers of any size are written."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # integers beyond 64 bits
        return json.dumps(value).encode()
