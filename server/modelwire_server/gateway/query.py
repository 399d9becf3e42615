"""Query parameters as fields of a request: `tags=a&tags=b&run_info.prediction_periods=3`."""

from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qsl

import orjson
from google.protobuf.descriptor import FieldDescriptor

from .parsing import Complaints, field_named, is_map, read_field


def read_query(message: Any, query: str, found: Complaints, without: Collection[str] = ()) -> None:
    """Fills in what a query says. Names that the message does not have do not count, nor those of `without`.

    A parameter that is given several times is a list, or else the last one counts. Times, durations and words of enums are written as
    in JSON; objects are JSON."""
    texts: dict[str, list[str]] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        texts.setdefault(name, []).append(text)
    for name, values in texts.items():
        target, one = reach(message, name)
        if one is not None and name.partition(".")[0] not in without:
            read_field(target, one, _as_json(one, values), ("query", name), found)


def reach(message: Any, path: str) -> tuple[Any, FieldDescriptor | None]:
    """The message that a path such as `run_info.prediction_periods` leads to, and its field; None if there is none."""
    *outer, last = path.split(".")
    fields, descriptor = [], message.DESCRIPTOR
    for name in outer:
        one = field_named(descriptor, name)
        if one is None or one.message_type is None or one.is_repeated:
            return message, None
        fields.append(one)
        descriptor = one.message_type
    found = field_named(descriptor, last)
    if found is not None:
        for one in fields:
            message = getattr(message, one.name)
    return message, found


def _as_json(one: FieldDescriptor, texts: list[str]) -> Any:
    """The value that a JSON body would have."""
    values = [_value(text) for text in texts] if one.message_type is not None else texts
    return values if one.is_repeated and not is_map(one) else values[-1]


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return text
