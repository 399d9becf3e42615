"""Tables of any library, as Arrow record batches and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from modelwire.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

# pandas.DataFrame, polars.DataFrame or LazyFrame, pyarrow.Table, RecordBatch or RecordBatchReader, a dict of columns, a list of
# records, or any object with `__arrow_c_stream__` (duckdb, narwhals, ...).
FrameLike: TypeAlias = Any
KindName: TypeAlias = Literal["pyarrow", "pandas", "polars"]


class Kind(StrEnum):
    """The library of a frame."""

    PYARROW = "pyarrow"
    PANDAS = "pandas"
    POLARS = "polars"


class FrameSource:
    """A frame on its way out: its batches, and what is needed to give an answer in the same form.

    A frame that is a stream (a reader, a query) is read once; `replayable` tells which frames can be read again.
    """

    def __init__(self, frame: FrameLike, field: str) -> None:
        self.field = field
        self.kind = kind_of(frame)
        self.index: Any = frame.index if self.kind is Kind.PANDAS else None
        self._content = _to_arrow(frame, field)
        self.replayable = not hasattr(self._content, "read_next_batch")
        self.schema: pa.Schema = self._content.schema
        self._head: list[pa.RecordBatch] = []
        _refuse_duplicates(self.schema.names, field)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches, in order. Raises InvalidArgument if the source fails."""
        if self.replayable:
            yield from self._content.to_batches()
            return
        while self._head:
            yield self._head.pop(0)
        yield from self._rest()

    def _rest(self) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        try:
            # Not `yield from`: that would close the reader together with a generator that was not read to its end.
            for batch in self._content:  # noqa: UP028
                yield batch
        except pa.ArrowException as error:
            raise InvalidArgument.of(self.field, f"cannot be read: {error}", reason="INVALID_FRAME") from None

    def is_small(self, limit: int) -> bool:
        """Whether the data take at most `limit` bytes. Reads no more of a stream than it takes to tell."""
        if self.replayable:
            return bool(self._content.nbytes <= limit)
        size: int = sum(batch.nbytes for batch in self._head)
        rest = self._rest()
        while size <= limit and (batch := next(rest, None)) is not None:
            self._head.append(batch)
            size += batch.nbytes
        return size <= limit

    def like_me(self, answer: pa.Table) -> Any:
        """An answer in the form of this frame; a pandas answer without an index of its own gets the index of the question."""
        converted = to_kind(answer, self.kind)
        if self.kind is Kind.PANDAS and len(converted) == len(self.index) and _has_default_index(converted):
            converted.index = self.index
        return converted


def kind_of(frame: FrameLike) -> Kind:
    """The library whose frames an answer should be. Asks the type's name, so that no library is imported for it."""
    for base in type(frame).__mro__:
        root = base.__module__.split(".")[0]
        if base.__name__ in ("DataFrame", "LazyFrame") and root in (Kind.PANDAS, Kind.POLARS):
            return Kind(root)
    return Kind.PYARROW


def _to_arrow(frame: FrameLike, field: str) -> Any:
    """A pyarrow.Table, or a RecordBatchReader for what is a stream."""
    import pyarrow as pa

    try:
        return _convert(frame, field)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, InvalidArgument):
            raise
        raise InvalidArgument.of(field, f"is not a frame: {error}", reason="INVALID_FRAME") from None


def _convert(frame: FrameLike, field: str) -> Any:
    import pyarrow as pa

    kind = kind_of(frame)
    if kind is Kind.PANDAS:
        return _from_pandas(frame, field)
    if kind is Kind.POLARS:
        return frame.lazy().collect().to_arrow()
    if isinstance(frame, pa.Table | pa.RecordBatchReader):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    if hasattr(frame, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(frame)
    if hasattr(frame, "__arrow_c_array__"):
        return pa.Table.from_batches([pa.record_batch(frame)])
    return _from_python(frame, field)


def _from_pandas(frame: Any, field: str) -> Any:
    import pyarrow as pa

    _refuse_duplicates([str(name) for name in frame.columns], field)
    return pa.Table.from_pandas(frame)


def _from_python(frame: FrameLike, field: str) -> Any:
    import pyarrow as pa

    if isinstance(frame, Mapping):
        return pa.table(dict(frame))
    if isinstance(frame, Sequence) and not isinstance(frame, str | bytes) and all(isinstance(row, Mapping) for row in frame):
        names = list(dict.fromkeys(name for row in frame for name in row))
        return pa.table({name: [row.get(name) for row in frame] for name in names})
    expected = "a frame of pandas, polars or pyarrow, a dict of columns or a list of records"
    raise InvalidArgument.of(field, f"must be {expected}, not {type(frame).__name__}", reason="INVALID_FRAME")


def _refuse_duplicates(names: Sequence[str], field: str) -> None:
    if duplicates := [name for name, count in Counter(names).items() if count > 1]:
        text = f"column names must be unique; more than once: {', '.join(map(repr, duplicates))}"
        raise InvalidArgument.of(field, text, reason="INVALID_FRAME")


def to_kind(table: pa.Table, kind: Kind | KindName) -> Any:
    """A frame of the named library; pandas gets the index and types that pandas metadata tell of."""
    match Kind(kind):
        case Kind.PANDAS:
            return table.to_pandas()
        case Kind.POLARS:
            import polars

            return polars.from_arrow(table)
        case Kind.PYARROW:
            return table


def _has_default_index(frame: Any) -> bool:
    index = frame.index
    return type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1 and index.name is None
