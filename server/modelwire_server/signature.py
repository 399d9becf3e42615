"""What a training knew of its columns, and what a prediction is held against."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import pyarrow as pa


class SchemaPolicy(StrEnum):
    """How the frame of a prediction is held against the columns of the training."""

    STRICT = "strict"
    SAFE = "safe"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the training. `type` is Arrow's own name of its type; `nullable` is whether it had nulls. `categories` are the values
    of a dictionary column in their order, None where the column is none or has too many."""

    name: str
    type: str
    nullable: bool = True
    categories: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What is to be done to tables of one schema, so that they are as the training was."""

    is_identity: bool

    def apply(self, table: pa.Table) -> pa.Table:
        """The table as the training knew it: same values. Raises SchemaViolation, which names every column that cannot be so."""
        return table


@dataclass(frozen=True, slots=True)
class Signature:
    """The columns of a training in their order, without those that were to be predicted (`targets`, as far as the runner declares
    them), and the columns of its predictions, where they are known."""

    inputs: Sequence[Column]
    outputs: Sequence[Column] = ()
    targets: Sequence[str] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(_columns(data["inputs"]), _columns(data.get("outputs", ())), tuple(data.get("targets", ())))

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Self | None:
        """The signature in the metadata of a model, if it has one."""
        recorded = metadata.get("signature")
        return cls.from_json(recorded) if recorded and "inputs" in recorded else None

    def adaptation(self, schema: pa.Schema, policy: SchemaPolicy) -> Adaptation:
        """How tables of this schema become as the training was. Never raises: what cannot be is told by apply(), with what is wrong
        with the values."""
        return Adaptation(is_identity=True)


def _columns(listed: Iterable[Mapping[str, Any]]) -> tuple[Column, ...]:
    return tuple(Column(one["name"], one["type"], one.get("nullable", True), one.get("categories")) for one in listed)
