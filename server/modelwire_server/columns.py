"""One column of a training, and what becomes of the same column in a prediction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import pyarrow as pa

from modelwire_runners import arrow_functions as pc
from modelwire_runners.mixed import MIXED

from .casts import Cast, Loses, is_text, lossless_cast, shown, type_named

# So much of the values of one dictionary column is recorded.
MAX_CATEGORIES, MAX_CATEGORY_BYTES = 1_000, 16 * 1024
# So many categories are told to somebody who has sent another value.
_TOLD = 8
# Types of columns that were all null, or held values with no type in common.
_ANYTHING = ("null", str(MIXED))


class Unfit(Exception):
    """A column cannot become what it was in the training; the message says why, and what to do."""


class SchemaPolicy(StrEnum):
    """How the frame of a prediction is held against the columns of the training."""

    STRICT = "strict"
    SAFE = "safe"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the training.

    `type` is Arrow's own name of its type; `nullable` is whether it had nulls. `categories` are the values of a dictionary column in
    their order, None where the column is none or has too many of them, which `note` says then. `is_open` is a dictionary that only
    encodes text, as JavaScript's Arrow does with all text: other values may come.
    """

    name: str
    type: str
    nullable: bool = True
    categories: Sequence[Any] | None = None
    is_open: bool = False
    note: str = ""

    @classmethod
    def of(cls, field: pa.Field, values: pa.ChunkedArray) -> Self:
        """The column of a training frame."""
        categories, note = _categories(values) if pa.types.is_dictionary(field.type) else (None, "")
        return cls(field.name, str(field.type), values.null_count > 0, categories, _is_encoding(field.type), note)

    def to_json(self) -> dict[str, Any]:
        more: dict[str, Any] = {} if self.categories is None else {"categories": list(self.categories)}
        if self.is_open:
            more["open"] = True
        if self.note:
            more["note"] = self.note
        return {"name": self.name, "type": self.type, "nullable": self.nullable, **more}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            data["name"],
            data["type"],
            data.get("nullable", True),
            data.get("categories"),
            data.get("open", False),
            data.get("note", ""),
        )

    def without_categories(self) -> Self:
        note = f"{len(self.categories)} categories are too many to be recorded" if self.categories else self.note
        return type(self)(self.name, self.type, self.nullable, None, self.is_open, note)

    def change(self, field: pa.Field, policy: SchemaPolicy) -> tuple[pa.Field, Cast | None]:
        """What the same column of a prediction becomes, and how; None where it stays as it is. Raises Unfit for types that cannot be;
        the function raises it for values."""
        if policy is SchemaPolicy.STRICT:
            return self._strict(field)
        if str(field.type) == self.type:
            return field, self._encoded(field.type, field.type, is_open=self.is_open)
        if self.type in _ANYTHING:
            # Whatever it holds, the training saw nothing that it could contradict.
            return field, None
        return self._converted(field)

    def _strict(self, field: pa.Field) -> tuple[pa.Field, Cast | None]:
        trained = type_named(self.type)
        if str(field.type) != self.type and not _is_same_dictionary(field.type, trained):
            raise Unfit(self._of_type(field.type))
        encoded = self._encoded(field.type, trained or field.type, is_open=False)
        checked = encoded if self.nullable else _after(_without_nulls, encoded)
        return field if encoded is None else field.with_type(trained), checked

    def _converted(self, field: pa.Field) -> tuple[pa.Field, Cast | None]:
        trained = type_named(self.type)
        if trained is None:
            raise Unfit(self._of_type(field.type))
        values = trained.value_type if pa.types.is_dictionary(trained) else trained
        cast = lossless_cast(field.type, values)
        becomes = _type_after(cast, field.type)
        if cast is None or becomes is None:
            raise Unfit(self._of_type(field.type))
        told = _after(cast, None, self._not_held)
        encoded = self._encoded(values, trained, is_open=self.is_open)
        if encoded is not None:
            return field.with_type(trained), _after(told, encoded)
        return field.with_type(becomes), None if becomes == field.type else told

    def _encoded(self, source: pa.DataType, trained: pa.DataType, *, is_open: bool) -> Cast | None:
        """How values get the dictionary of the training, so that its categories have the same numbers; None for other columns."""
        if not pa.types.is_dictionary(trained):
            return None
        if self.categories is None:
            return None if pa.types.is_dictionary(source) else lambda column: _encode(column, trained, pc.unique(column))
        known = pa.array(self.categories, trained.value_type)

        def encode(column: pa.ChunkedArray) -> pa.ChunkedArray:
            if _has_dictionary(column, trained, known):
                return column
            plain = column.cast(trained.value_type)
            unknown = plain.filter(pc.and_(pc.is_valid(plain), pc.invert(pc.is_in(plain, value_set=known))))
            if len(unknown) and not is_open:
                raise Unfit(self._not_known(unknown[0]))
            return _encode(plain, trained, pa.concat_arrays([known, pc.unique(unknown)]) if len(unknown) else known)

        return encode

    def _of_type(self, kind: pa.DataType) -> str:
        return f"was {self.type} in the training and is {kind} here: send it as {self.type}"

    def _not_held(self, value: str) -> str:
        return f"was {self.type} in the training and holds {value} here, which {self.type} cannot hold: send values that it can"

    def _not_known(self, value: Any) -> str:
        categories = self.categories or ()
        told = ", ".join(shown(category) for category in categories[:_TOLD]) + (", ..." if len(categories) > _TOLD else "")
        return f"holds {shown(value)}, which is none of the {len(categories)} categories of the training: send one of {told}"

    def missing(self) -> str:
        return f"is missing, it was {self.type} in the training: send it"


def _after(first: Cast, then: Cast | None, told: Any = None) -> Cast:
    """One conversion after another; what the first loses is told in the words of `told`."""

    def both(column: pa.ChunkedArray) -> pa.ChunkedArray:
        try:
            found = first(column)
        except Loses as error:
            raise Unfit(told(str(error))) from None
        return found if then is None else then(found)

    return both


def _type_after(cast: Cast | None, kind: pa.DataType) -> pa.DataType | None:
    """What columns of a type become; None if they cannot."""
    try:
        return cast and cast(pa.chunked_array([], kind)).type
    except Loses:
        return None


def _without_nulls(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if column.null_count:
        raise Unfit(f"has nulls in {column.null_count} of {len(column)} rows and had none in the training: fill them")
    return column


def _is_same_dictionary(kind: pa.DataType, trained: pa.DataType | None) -> bool:
    """Whether two types are dictionaries of the same, however wide their indices are."""
    if trained is None or not (pa.types.is_dictionary(kind) and pa.types.is_dictionary(trained)):
        return False
    return bool(kind.value_type == trained.value_type and kind.ordered == trained.ordered)


def _has_dictionary(column: pa.ChunkedArray, kind: pa.DataType, known: pa.Array) -> bool:
    return column.type == kind and all(chunk.dictionary.equals(known) for chunk in column.chunks)


def _encode(column: pa.ChunkedArray, kind: pa.DataType, dictionary: pa.Array) -> pa.ChunkedArray:
    """The values as places in the dictionary."""
    dictionary = dictionary.drop_null()
    wanted = pa.dictionary(kind.index_type, kind.value_type, ordered=kind.ordered)
    places = [pc.index_in(chunk, value_set=dictionary, skip_nulls=True).cast(kind.index_type) for chunk in column.chunks]
    return pa.chunked_array([pa.DictionaryArray.from_arrays(one, dictionary, ordered=kind.ordered) for one in places], wanted)


def _categories(values: pa.ChunkedArray) -> tuple[list[Any] | None, str]:
    """The values of a dictionary in their order, and a note if they cannot be recorded."""
    dictionary = values.unify_dictionaries().chunk(0).dictionary if values.num_chunks else pa.array([], values.type.value_type)
    kind = dictionary.type
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return None, f"categories of type {kind} are not recorded"
    if len(dictionary) > MAX_CATEGORIES or dictionary.nbytes > MAX_CATEGORY_BYTES:
        return None, f"{len(dictionary)} categories are too many to be recorded"
    return dictionary.to_pylist(), ""


def _is_encoding(kind: pa.DataType) -> bool:
    """Whether a dictionary is only a way to write text: pandas, R and polars, whose users mean categories, choose other indices."""
    is_dictionary = pa.types.is_dictionary(kind) and is_text(kind.value_type) and not kind.ordered
    return bool(is_dictionary and pa.types.is_int32(kind.index_type))
