"""JSON payloads held against a JSON Schema."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from .json_values import plain_json

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

MOST_VIOLATIONS = 100
LONGEST_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class PayloadViolation:
    """One place of a payload that breaks a rule of the schema. `path` is such as `items[0].x`, empty for the payload as a whole;
    `rule` is the keyword of the schema: `type`, `required`, `minimum`."""

    path: str
    message: str
    rule: str


class InvalidPayload(ValueError):
    """A payload that does not fit the schema."""

    def __init__(self, violations: Iterable[PayloadViolation]) -> None:
        self.violations = tuple(violations)
        first, more = self.violations[0], len(self.violations) - 1
        place = f"{first.path}: " if first.path else ""
        super().__init__(f"{place}{first.message}" + (f" (and {more} more)" if more else ""))


class PayloadSchema:
    """A JSON Schema: 2020-12, unless its `$schema` names another draft. Raises TypeError and ValueError for what is none.

    Nothing is ever fetched: references lead to places in the schema itself."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        # Here, since it takes a while, and most who import this package have no use for it.
        from jsonschema import Draft202012Validator, SchemaError
        from jsonschema.validators import validator_for
        from referencing.jsonschema import EMPTY_REGISTRY

        if not isinstance(schema, Mapping):
            raise TypeError(f"it is {type(schema).__name__}, not a dict")
        self.document: dict[str, Any] = plain_json(schema, "the schema")
        kind = validator_for(self.document, default=Draft202012Validator)
        try:
            kind.check_schema(self.document)
        except SchemaError as error:
            place = path_of(error.absolute_path)
            raise ValueError(f"{place}: {error.message}" if place else error.message) from None
        self._validator = kind(self.document, registry=EMPTY_REGISTRY, format_checker=kind.FORMAT_CHECKER)

    def check(self, payload: Any) -> None:
        """Raises InvalidPayload, which names every place up to a hundred."""
        if found := self.violations(payload):
            raise InvalidPayload(found)

    def violations(self, payload: Any) -> list[PayloadViolation]:
        """What is wrong with a payload, at most a hundred places."""
        found = (one for error in self._validator.iter_errors(payload) for one in _violations(error))
        return list(islice(dict.fromkeys(islice(found, 10 * MOST_VIOLATIONS)), MOST_VIOLATIONS))


def _violations(error: "ValidationError") -> Iterator[PayloadViolation]:
    """What is missing is named by its own path."""
    place, rule = list(error.absolute_path), str(error.validator)
    if rule == "required" and isinstance(error.instance, dict):
        required: Any = error.validator_value
        for name in required:
            if name not in error.instance:
                yield PayloadViolation(path_of([*place, name]), "is required", rule)
        return
    message = error.message if len(error.message) <= LONGEST_MESSAGE else f"{error.message[: LONGEST_MESSAGE - 3]}..."
    yield PayloadViolation(path_of(place), message, rule)


def path_of(parts: Iterable[str | int]) -> str:
    """`items[0].x` of ("items", 0, "x")."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")
