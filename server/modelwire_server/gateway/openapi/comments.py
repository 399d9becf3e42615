"""What the contract says of its services, methods, messages, fields and values. Descriptors do not know it at run time, so it is
kept beside this module; `make protos` writes it."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from modelwire.v1 import error_pb2

_FIRST_SENTENCE = re.compile(r"(.+?[.!?])(?= [A-Z`]|$)")
_CAPITALS = re.compile(r"\b[A-Z][A-Z_]+\b")
# `Fails as CreateConfig and GetConfig do.`
_AS_ANOTHER = re.compile(r"\bFails as (.+?) do(?:es)?\b")
_REASONS = {name.removeprefix("ERROR_REASON_"): number for name, number in error_pb2.ErrorReason.items() if number}
# `STATUS: meaning - keys.`
_MEANING = re.compile(r"[^:]+: (?P<meaning>.+?)(?: - [a-z_, ]+)?\.")


@cache
def _all() -> dict[str, str]:
    found: dict[str, str] = json.loads(Path(__file__).with_name("comments.json").read_text(encoding="utf-8"))
    return found


def comment(thing: Any) -> str:
    """What is said of a thing, as one paragraph; `thing` is any descriptor, or a full name."""
    return _all().get(thing if isinstance(thing, str) else thing.full_name, "")


def value_comment(enum: Any, value: str) -> str:
    return comment(f"{enum.full_name}.{value}")


def first_sentence(text: str) -> str:
    """Without its full stop."""
    found = _FIRST_SENTENCE.match(text)
    return (found.group(1) if found else text).rstrip(".")


def reasons_of(rpc: MethodDescriptor) -> list[str]:
    """The errors that a method's comment names, those of other methods included if it fails as they do."""
    text = comment(rpc)
    found = {word for word in _CAPITALS.findall(text) if word in _REASONS}
    if other := _AS_ANOTHER.search(text):
        siblings = rpc.containing_service.methods_by_name
        found.update(
            reason for name in re.findall(r"\w+", other.group(1)) if name in siblings for reason in reasons_of(siblings[name])
        )
    return sorted(found, key=_REASONS.__getitem__)


def meaning(reason: str) -> str:
    """What a reason means, as a clause."""
    found = _MEANING.fullmatch(comment(f"modelwire.v1.ErrorReason.ERROR_REASON_{reason}"))
    assert found is not None, reason
    return found["meaning"]
