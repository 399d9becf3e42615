"""What a training knew of its columns, and what the frame of a prediction is held against."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from .casts import Cast
from .columns import Column, SchemaPolicy, Unfit
from .errors import FieldViolation, SchemaViolation

__all__ = ["Adaptation", "Column", "SchemaPolicy", "Signature", "Step"]

# So large may a signature be: it is a part of every answer that tells of the model.
MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Signature:
    """The columns of a training in their order, without those that were to be predicted (`targets`, as far as the runner declares
    them), and the columns of its predictions, where they are known. `is_complete` is a signature of which it is known that none of its
    inputs is what is to be predicted."""

    inputs: Sequence[Column]
    outputs: Sequence[Column] = ()
    targets: Sequence[str] = ()
    is_complete: bool = False

    @classmethod
    def of(cls, data: pa.Table, targets: Sequence[str], predictions: pa.Schema | None = None) -> Self:
        """What is known after a training on `data`."""
        names = [name for name in data.column_names if name not in targets]
        inputs = tuple(Column.of(data.schema.field(name), data.column(name)) for name in names)
        outputs = () if predictions is None else tuple(Column(field.name, str(field.type)) for field in predictions)
        return cls(inputs, outputs, tuple(targets))

    def to_json(self) -> dict[str, Any]:
        """The document in a model's metadata. What is too large is left out, with a note: first categories, then all."""
        document = self._document(self.inputs)
        if _size(document) > MAX_BYTES:
            document = self._document([column.without_categories() for column in self.inputs])
        if _size(document) > MAX_BYTES:
            return {"note": f"{len(self.inputs)} columns are too many to be recorded; predictions are not held against them"}
        return document

    def _document(self, inputs: Iterable[Column]) -> dict[str, Any]:
        outputs = [{"name": column.name, "type": column.type} for column in self.outputs]
        more = {"complete": True} if self.is_complete else {}
        return {"inputs": [column.to_json() for column in inputs], "outputs": outputs, "targets": list(self.targets), **more}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError, ValueError, AttributeError for what is no such document."""
        inputs, outputs = (tuple(Column.from_json(one) for one in data.get(name, ())) for name in ("inputs", "outputs"))
        return cls(inputs, outputs, tuple(data.get("targets", ())), data.get("complete") is True)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Self | None:
        """The signature in the metadata of a model, if it has one. Metadata is anybody's to change, so it may be anything."""
        recorded = metadata.get("signature")
        try:
            return cls.from_json(recorded) if recorded and recorded["inputs"] else None
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def adaptation(self, schema: pa.Schema, policy: SchemaPolicy) -> "Adaptation":
        """What becomes of tables of this schema. Never raises: what cannot be is told by apply(), together with what is wrong with the
        values."""
        if policy is SchemaPolicy.OFF:
            return Adaptation((), {}, policy, is_identity=True)
        found = {name: place for place, name in enumerate(schema.names)}
        wrong: dict[str, str] = {}
        steps: list[Step] = []
        for column in self.inputs:
            if column.name not in found:
                # Without declared targets, it may be what is to be predicted.
                if self.targets or self.is_complete:
                    wrong[column.name] = column.missing()
                continue
            place = found.pop(column.name)
            try:
                steps.append(Step(place, *column.change(schema.field(place), policy)))
            except Unfit as error:
                wrong[column.name] = str(error)
        steps += [Step(place, schema.field(place)) for place in found.values()]
        if policy is SchemaPolicy.STRICT:
            wrong |= dict.fromkeys(found, "is no column of the training: leave it out")
        in_place = all(step.place == place and step.cast is None for place, step in enumerate(steps))
        return Adaptation(tuple(steps), wrong, policy, is_identity=in_place and not wrong)


@dataclass(frozen=True, slots=True)
class Step:
    """Which column comes next, as what, and how it becomes so."""

    place: int
    field: pa.Field
    cast: Cast | None = None


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What is to be done with tables of one schema, so that they are as the training was. `wrong` says what is wrong with the schema, by
    column; with `is_identity` there is nothing to do."""

    steps: Sequence[Step]
    wrong: Mapping[str, str]
    policy: SchemaPolicy
    is_identity: bool

    def apply(self, table: pa.Table) -> pa.Table:
        """The same values as the training would have them: its order, its types, its categories, and further columns behind. Raises
        SchemaViolation, which names every column that cannot be so."""
        if self.is_identity:
            return table
        wrong = dict(self.wrong)
        columns: list[pa.ChunkedArray] = []
        for step in self.steps:
            column = table.column(step.place)
            try:
                columns.append(step.cast(column) if step.cast else column)
            except Unfit as error:
                wrong[step.field.name] = str(error)
        if wrong:
            raise self._violation(wrong)
        changed = {step.field.name for step in self.steps if step.cast}
        metadata = _without_pandas(table.schema.metadata, changed)
        return pa.table(columns, schema=pa.schema([step.field for step in self.steps], metadata))

    def check(self) -> None:
        """Raises SchemaViolation for what is wrong with the schema, whatever the values are."""
        if self.wrong:
            raise self._violation(self.wrong)

    def _violation(self, wrong: Mapping[str, str]) -> SchemaViolation:
        violations = [FieldViolation(f"future.{name}", description) for name, description in wrong.items()]
        told = "; ".join(f"{name!r} {description}" for name, description in list(wrong.items())[:3])
        more = f"; and {len(wrong) - 3} more columns" if len(wrong) > 3 else ""
        message = f"future is not as the model was trained, under the schema policy {self.policy}: {told}{more}"
        return SchemaViolation(message, violations=violations, columns=",".join(wrong), policy=self.policy)


def _without_pandas(metadata: Mapping[bytes, bytes] | None, changed: set[str]) -> Mapping[bytes, bytes] | None:
    """The metadata of a frame without what pandas knew of columns that have another type by now."""
    if not metadata or b"pandas" not in metadata or not changed:
        return metadata
    try:
        known = json.loads(metadata[b"pandas"])
        known["columns"] = [column for column in known["columns"] if column.get("field_name", column["name"]) not in changed]
    except (ValueError, KeyError, TypeError, AttributeError):
        return {key: value for key, value in metadata.items() if key != b"pandas"}
    return {**metadata, b"pandas": json.dumps(known).encode()}


def _size(document: dict[str, Any]) -> int:
    return len(json.dumps(document, ensure_ascii=False).encode())
