"""Rules that ids, tags and names of all objects keep."""

import re
from collections.abc import Sequence

from .clock import new_id
from .errors import FieldViolation, InvalidField, InvalidId

ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
TAG = re.compile(r"[A-Za-z0-9_-]{1,100}")
MOST_TAGS = 50


def chosen_id(value: str, field: str = "id") -> str:
    """The id that a caller chose, in upper case, or a new one. Raises InvalidId."""
    return known_id(value, field) if value else new_id()


def known_id(value: str, field: str) -> str:
    """An id in upper case. Raises InvalidId if it is no ULID."""
    if not ULID.fullmatch(value.upper()):
        message = f"{value!r} is not a ULID: 26 letters and digits" if value else "an id is needed"
        raise InvalidId(f"{field}: {message}", violations=[FieldViolation(field, message)], field=field, value=value)
    return value.upper()


def check_tags(tags: Sequence[str]) -> list[FieldViolation]:
    """What is wrong with tags."""
    found = []
    if len(tags) > MOST_TAGS:
        found.append(FieldViolation("tags", f"has {len(tags)} tags; at most {MOST_TAGS} are allowed"))
    for index, tag in enumerate(tags):
        if not TAG.fullmatch(tag):
            found.append(FieldViolation(f"tags[{index}]", "must be 1 to 100 letters, digits, `-` and `_`"))
        elif tag in tags[:index]:
            found.append(FieldViolation(f"tags[{index}]", f"repeats {tag!r}"))
    return found


def require(violations: Sequence[FieldViolation]) -> None:
    """Raises InvalidField if there are any."""
    if violations:
        raise InvalidField.of(*violations)
