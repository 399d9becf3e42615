"""Rules for the fields of requests. Everything that is wrong with a request is told at once."""

import re
from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message

from ..errors import FieldViolation, InvalidField, InvalidId
from ..paging import PageRequest
from ..registry.model import Reference
from ..rules import check_tags, known_id

LONGEST_REQUEST_ID = 100
LONGEST_MESSAGE = 500
LONGEST_TEXT = 200
HIGHEST_PRIORITY = 1000
LONGEST_TIMEOUT = 366 * 24 * 3600.0
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}( *;[ -~]*)?")
_DIGEST = re.compile(r"sha256:[0-9a-fA-F]{64}")


class Findings:
    """Collects what is wrong with a request. Each method returns the value as the domain wants it; at the end call settle()."""

    def __init__(self) -> None:
        self._violations: list[FieldViolation] = []
        self._bad_ids: list[InvalidId] = []

    def add(self, field: str, description: str) -> None:
        self._violations.append(FieldViolation(field, description))

    def id(self, field: str, value: str) -> str:
        """A ULID, in upper case."""
        try:
            return known_id(value, field)
        except InvalidId as error:
            self._bad_ids.append(error)
            self._violations.extend(error.violations)
            return ""

    def optional_id(self, field: str, value: str) -> str:
        return self.id(field, value) if value else ""

    def model(self, field: str, value: str) -> str:
        """A model, by its id or by its name."""
        try:
            return str(Reference.parse(value, field))
        except InvalidField as error:
            self._violations.extend(error.violations)
            return ""

    def text(self, field: str, value: str, longest: int = LONGEST_TEXT) -> str:
        if len(value) > longest:
            self.add(field, f"has {len(value)} characters; at most {longest} are allowed")
        if "\0" in value:
            self.add(field, "holds the character NUL, which no database stores")
        return value

    def media_type(self, field: str, value: str) -> str:
        """Empty, or what a header of HTTP can carry."""
        if value and not MEDIA_TYPE.fullmatch(value):
            self.add(field, "must be a media type such as application/json")
        return self.text(field, value)

    def request_id(self, value: str) -> str:
        return self.text("request_id", value, LONGEST_REQUEST_ID)

    def tags(self, values: Sequence[str]) -> tuple[str, ...]:
        self._violations.extend(check_tags(values))
        return tuple(values)

    def present(self, field: str, message: Message, part: str = "") -> None:
        """The message field must be there; `field` is its path, `part` its name in the message if that is not the same."""
        if not message.HasField(part or field):
            self.add(field, "is needed")

    def absent(self, message: Message, *fields: str, why: str) -> None:
        for field in fields:
            if message.HasField(field):
                self.add(field, why)

    def seconds(self, field: str, message: Message, *, least: float = 0.0, most: float = LONGEST_TIMEOUT) -> float | None:
        """A duration in seconds; None if it is not set."""
        if not message.HasField(field):
            return None
        duration = getattr(message, field)
        seconds: float = duration.seconds + duration.nanos / 1e9
        if not (least <= seconds <= most and seconds > 0):
            self.add(
                field,
                f"must be from {least:g} s to {most:g} s, not {seconds:g} s" if least else "must be positive, and at most a year",
            )
        return seconds

    def not_negative(self, field: str, value: int) -> int:
        if value < 0:
            self.add(field, f"must not be negative, not {value}")
        return value

    def within(self, field: str, value: int, least: int, most: int) -> int:
        if not least <= value <= most:
            self.add(field, f"must be from {least} to {most}, not {value}")
        return value

    def priority(self, value: int) -> int:
        return self.within("priority", value, -HIGHEST_PRIORITY, HIGHEST_PRIORITY)

    def digest(self, field: str, value: str) -> str:
        if value and not _DIGEST.fullmatch(value):
            self.add(field, "must be `sha256:` and 64 hexadecimal digits")
        return value.lower()

    def page(self, request: Any) -> PageRequest:
        """The page that a List request asks for."""
        try:
            return PageRequest.of(request.page_size, request.page_token, request.skip)
        except InvalidField as error:
            self._violations.extend(error.violations)
            return PageRequest()

    def settle(self) -> None:
        """Raises InvalidField if anything is wrong, or InvalidId if all that is wrong are ids."""
        if not self._violations:
            return
        if len(self._bad_ids) < len(self._violations):
            raise InvalidField.of(*self._violations)
        error = InvalidId.of(*self._violations)
        error.metadata.update(self._bad_ids[0].metadata)
        raise error
