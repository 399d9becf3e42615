"""JSON schemas (2020-12) of the messages of the contract, for the OpenAPI document: as requests are read (see `parsing`) and as
answers are written (see `rendering`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as member
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from ..rendering import fields_shown
from ..shapes import DEFAULTS, PLAIN, SHAPES, Shape, enum_words, is_required, microseconds, whole_seconds
from .comments import comment, value_comment

Schema = dict[str, Any]

PREFIX = "#/components/schemas/"
# Where a schema on its own has what it refers to.
OWN = "#/$defs/"

_Field = FieldDescriptor
_INTEGERS = {
    _Field.CPPTYPE_INT32: ("int32", -(2**31), 2**31 - 1),
    _Field.CPPTYPE_INT64: ("int64", -(2**63), 2**63 - 1),
    _Field.CPPTYPE_UINT32: ("uint32", 0, 2**32 - 1),
    _Field.CPPTYPE_UINT64: ("uint64", 0, 2**64 - 1),
}
_OTHERS: dict[int, Schema] = {
    _Field.TYPE_BOOL: {"type": "boolean"},
    _Field.TYPE_STRING: {"type": "string"},
    _Field.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    _Field.TYPE_DOUBLE: {"type": "number"},
    _Field.TYPE_FLOAT: {"type": "number"},
}
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$", "examples": ["30s"]},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
}
# Explained elsewhere: in the responses that tell them.
_LONG = ("modelwire.v1.ErrorReason",)
_TIMES: dict[Callable[..., str], Schema] = {
    microseconds: {"type": "string", "format": "date-time", "examples": ["2026-11-20T23:18:04.058695Z"]},
    whole_seconds: {
        "type": "string",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}$",
        "examples": ["2026-11-20T23:18:03"],
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What descriptors do not say. Keys are full names; those of `fields` may also be a name, for fields of any message.

    `fields` are constraints, or what a field is instead; `messages` what a message is instead; `replaced` fields that are given as
    another member; `together` what a message requires of several members; `ignored` fields that count for nothing; `sometimes` fields
    that only some answers have; `extra` is whether answers have the fields that the REST contract does not know."""

    fields: Mapping[str, Schema]
    messages: Mapping[str, Schema]
    replaced: Mapping[str, tuple[str, Schema]] = member(default_factory=dict)
    together: Mapping[str, Schema] = member(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    sometimes: frozenset[str] = frozenset()
    extra: bool = False


class MessageSchemas:
    """Schemas of messages. Each message becomes one of `components`, under its name and a suffix."""

    suffix = ""

    def __init__(self, components: dict[str, Schema], rules: Rules) -> None:
        self.components = components
        self._rules = rules

    def reference(self, message: Descriptor) -> Schema:
        """A reference to a message's schema, or the schema itself where it is simple."""
        if message.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[message.full_name])
        name = message.name + ("" if message.name.endswith("Request") else self.suffix)
        if name not in self.components:
            self.components[name] = {}  # for messages that hold themselves
            self.components[name] = {"description": comment(message)} | self._message(message)
        return {"$ref": PREFIX + name}

    def _message(self, message: Descriptor) -> Schema:
        special = self._rules.messages.get(message.full_name)
        return special if special is not None else self.object(message)

    def object(self, message: Descriptor) -> Schema:
        raise NotImplementedError

    def field(self, field: FieldDescriptor) -> Schema:
        """A field's schema, with what is said of it."""
        assert field.containing_type is not None
        default = DEFAULTS.get(field.containing_type.full_name, {}).get(field.name)
        schema = self._ruled(self.value(field), field) | {"description": description(field)}
        return schema if default is None else schema | {"default": default}

    def _ruled(self, schema: Schema, field: FieldDescriptor) -> Schema:
        """A rule for one field wins over one for its name; a rule that is a whole schema replaces what the descriptor says."""
        rule = self._rules.fields.get(field.full_name) or self._rules.fields.get(field.name, {})
        return dict(rule) if "$ref" in rule or "anyOf" in rule else schema | rule

    def value(self, field: FieldDescriptor, shape: Shape = PLAIN) -> Schema:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return {"type": "object", "additionalProperties": self._single(field.message_type.fields_by_name["value"], shape)}
        single = self._single(field, shape)
        return {"type": "array", "items": single} if field.is_repeated else single

    def _single(self, field: FieldDescriptor, shape: Shape) -> Schema:
        if field.message_type is not None:
            is_time = field.message_type.full_name == "google.protobuf.Timestamp"
            return dict(_TIMES[shape.time]) if is_time else self.reference(field.message_type)
        if field.enum_type is not None:
            return {"type": "string", "enum": list(enum_words(field.enum_type))}
        if field.cpp_type in _INTEGERS:
            return self._integer(*_INTEGERS[field.cpp_type])
        return dict(_OTHERS[field.type])

    def _integer(self, name: str, least: int, most: int) -> Schema:
        return {"type": "integer", "format": name, "minimum": least, "maximum": most}


class AskedSchemas(MessageSchemas):
    """Of requests: null is the same as a field that is absent."""

    suffix = "Input"

    def body(self, message: Descriptor, elsewhere: Sequence[str]) -> tuple[Schema, bool]:
        """A reference to the message without the fields that stand elsewhere in a request, and whether it must be there."""
        if message.name not in self.components:
            self.components[message.name] = {"description": comment(message)} | self.object(message, elsewhere)
        return {"$ref": PREFIX + message.name}, "required" in self.components[message.name]

    def object(self, message: Descriptor, elsewhere: Sequence[str] = ()) -> Schema:
        members, required = {}, []
        for field in message.fields:
            if field.name in elsewhere or field.full_name in self._rules.ignored:
                continue
            name, schema = self._rules.replaced.get(field.full_name) or (field.name, self.field(field))
            if is_required(field) or field.full_name in self._rules.replaced:
                required.append(name)
                members[name] = schema
            else:
                members[name] = or_null(schema)
        schema = {"type": "object", "properties": members} | self._rules.together.get(message.full_name, {})
        return schema | ({"required": required} if required else {})


class AnsweredSchemas(MessageSchemas):
    """Of answers: what is absent is null, or left out."""

    def _integer(self, name: str, least: int, most: int) -> Schema:
        return {"type": "integer", "format": name}

    def object(self, message: Descriptor) -> Schema:
        shape = SHAPES.get(message.full_name, PLAIN)
        fields = fields_shown(message, shape.fields, self._rules.extra)
        schema: Schema = {"type": "object", "properties": {field.name: self._answered(field, shape) for field in fields}}
        certain = [field for field in fields if not _may_be_missing(field, shape) and field.full_name not in self._rules.sometimes]
        required = [field.name for field in certain]
        return schema | ({"required": required} if required else {})

    def _answered(self, field: FieldDescriptor, shape: Shape) -> Schema:
        schema = self._ruled(self.value(field, shape), field) | {"description": description(field)}
        return or_null(schema) if _may_be_null(field, shape) else schema


def _may_be_missing(field: FieldDescriptor, shape: Shape) -> bool:
    """Of several that exclude each other only one is there."""
    return _excludes(field) or (shape.omit_absent and field.has_presence)


def _may_be_null(field: FieldDescriptor, shape: Shape) -> bool:
    if _may_be_missing(field, shape) or field.is_repeated:
        return False
    numbers = (_Field.CPPTYPE_DOUBLE, _Field.CPPTYPE_FLOAT)
    return field.has_presence or field.enum_type is not None or field.cpp_type in numbers


def _excludes(field: FieldDescriptor) -> bool:
    return field.containing_oneof is not None and len(field.containing_oneof.fields) > 1


def or_null(schema: Schema) -> Schema:
    """The schema, or null; a schema that allows everything already is left as it is."""
    outer = {name: schema[name] for name in ("description", "examples") if name in schema}
    if "$ref" in schema or "anyOf" in schema:
        inner = {name: value for name, value in schema.items() if name not in outer}
        return {"anyOf": [inner, {"type": "null"}]} | outer
    if "type" not in schema:
        return schema
    enum = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema | {"type": [schema["type"], "null"]} | enum


def description(field: FieldDescriptor) -> str:
    """What is said of a field, and of each value that it may have."""
    enum = field.enum_type
    if enum is None or enum.full_name in _LONG:
        return comment(field)
    names = {value.number: value.name for value in enum.values}
    values = (f"- `{word}`: {value_comment(enum, names[number])}" for word, number in enum_words(enum).items())
    return "\n".join((comment(field), "", *values))


def moved(schema: Any, here: str, there: str) -> Any:
    """A JSON schema whose references begin with `there` instead of `here`."""
    if isinstance(schema, list):
        return [moved(part, here, there) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: moved(part, here, there) for name, part in schema.items()}
    reference = parts.get("$ref")
    return parts | {"$ref": there + reference.removeprefix(here)} if isinstance(reference, str) else parts
