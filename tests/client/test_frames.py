from collections.abc import Iterator
from datetime import UTC, date
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwire import DataLoss, InvalidArgument
from modelwire.chunks import BATCH_BYTES, CHUNK_BYTES, MIB, FrameAssembler, cut_batches, decode, encode, encode_chunks
from modelwire.frames import FrameSource, Kind, to_kind

TYPES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint8(): st.integers(0, 255),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(st.characters(exclude_categories=["Cs"])),
    pa.large_binary(): st.binary(),
    pa.date32(): st.dates(),
    pa.timestamp("us", tz="UTC"): st.datetimes(timezones=st.just(UTC)),
    pa.list_(pa.int32()): st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
    pa.struct({"a": pa.int8()}): st.fixed_dictionaries({"a": st.integers(-128, 127)}),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Tables of all kinds of columns, with nulls, in several batches, with metadata."""
    rows = draw(st.integers(0, 20))
    columns = {}
    for name in draw(st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=5)):
        kind = draw(st.sampled_from(list(TYPES)))
        values = draw(st.lists(st.none() | TYPES[kind], min_size=rows, max_size=rows))
        columns[name] = pa.array(values, kind)
    if draw(st.booleans()):
        words = draw(st.lists(st.sampled_from(["a", "b", None]), min_size=rows, max_size=rows))
        columns["dictionary"] = pa.array(words, pa.string()).dictionary_encode()
    table = pa.table(columns).replace_schema_metadata(draw(st.none() | st.just({"note": "kept"})))
    if columns and rows > 1:
        cut = draw(st.integers(0, rows))
        table = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    return table


@given(tables())
@settings(deadline=None)
def test_a_frame_survives_the_wire(table: pa.Table) -> None:
    received = decode(encode(FrameSource(table, "data")))
    assert received.schema.equals(table.schema, check_metadata=True)
    assert received.equals(table)


@given(tables(), st.data())
@settings(deadline=None)
def test_a_frame_is_put_together_whatever_the_cuts(table: pa.Table, data: st.DataObject) -> None:
    encoded = encode(FrameSource(table, "data"))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(encoded)), max_size=8)))
    with FrameAssembler() as assembler:
        for start, end in zip([0, *cuts], [*cuts, len(encoded)], strict=True):
            assembler.feed(encoded[start:end])
        assert assembler.result().equals(table)


@pytest.mark.parametrize("damaged", [b"", b"not arrow", b"\xff\xff\xff\xff\x10\x00\x00\x00"])
def test_a_damaged_frame_is_no_frame(damaged: bytes) -> None:
    with FrameAssembler() as assembler:
        assembler.feed(damaged)
        with pytest.raises(DataLoss):
            assembler.result()
    with pytest.raises(DataLoss):
        decode(damaged)


def test_a_frame_that_breaks_off_is_no_frame() -> None:
    encoded = encode(FrameSource(pa.table({"x": list(range(1000))}), "data"))
    with FrameAssembler() as assembler:
        assembler.feed(encoded[: len(encoded) // 2])
        with pytest.raises(DataLoss):
            assembler.result()


def test_an_assembler_that_is_left_early_ends_its_thread() -> None:
    with FrameAssembler() as assembler:
        assembler.feed(b"\xff\xff")
        thread = assembler._thread
    assert not thread.is_alive()


pandas_frame = pd.DataFrame(
    {
        "n": pd.array([1, None, 3], dtype="Int64"),
        "category": pd.Categorical(["a", "b", "a"]),
        "when": pd.date_range("2020-01-01", periods=3, tz="Europe/Oslo"),
        "text": ["x", None, "z"],
    },
    index=pd.Index([10, 20, 30], name="station"),
)


def round_trip(frame: Any) -> Any:
    source = FrameSource(frame, "future")
    return source.like_me(decode(encode(source)))


def test_pandas_keeps_index_and_types() -> None:
    pd.testing.assert_frame_equal(round_trip(pandas_frame), pandas_frame)


def test_polars_stays_polars() -> None:
    frame = pl.DataFrame({"x": [1, 2], "s": ["a", None], "c": pl.Series(["u", "v"], dtype=pl.Categorical)})
    assert round_trip(frame).equals(frame)


def test_a_lazy_frame_is_collected() -> None:
    frame = pl.LazyFrame({"x": [1, 2]}).filter(pl.col("x") > 1)
    assert round_trip(frame).to_dicts() == [{"x": 2}]


@pytest.mark.parametrize(
    "frame",
    [
        pa.table({"x": [1, 2], "y": ["a", None]}),
        pa.record_batch({"x": [1, 2], "y": ["a", None]}),
        pa.table({"x": [1, 2], "y": ["a", None]}).to_reader(),
        {"x": [1, 2], "y": ["a", None]},
        {"x": np.array([1, 2]), "y": pa.array(["a", None])},
        [{"x": 1, "y": "a"}, {"x": 2}],
    ],
    ids=["table", "batch", "reader", "columns", "arrays", "records"],
)
def test_any_other_frame_becomes_a_table(frame: Any) -> None:
    answer = round_trip(frame)
    assert isinstance(answer, pa.Table)
    assert answer.to_pydict() == {"x": [1, 2], "y": ["a", None]}


class Exporter:
    """What a library that this package knows nothing of offers."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def test_anything_that_exports_arrow_is_a_frame() -> None:
    assert round_trip(Exporter(pa.table({"x": [1, 2]}))).to_pydict() == {"x": [1, 2]}


def test_views_of_pyarrow_stay_and_those_of_polars_are_sent_as_plain_strings() -> None:
    frame = pa.table({"s": pa.array(["a"], pa.string_view()), "b": pa.array([b"x"], pa.binary_view())})
    assert FrameSource(frame, "data").schema == frame.schema
    assert FrameSource(pl.from_arrow(frame), "data").schema.types == [pa.large_string(), pa.large_binary()]


def test_a_subclass_of_a_pandas_frame_is_pandas() -> None:
    class Special(pd.DataFrame):
        pass

    assert FrameSource(Special({"x": [1]}), "data").kind is Kind.PANDAS


def test_a_pandas_answer_without_index_gets_that_of_the_question() -> None:
    future = pd.DataFrame({"x": [1.0, 2.0, 3.0]})[lambda frame: frame["x"] > 1]
    answer = FrameSource(future, "future").like_me(pa.table({"y": [20, 30]}))
    assert list(answer.index) == [1, 2]
    assert future.assign(y=answer["y"])["y"].tolist() == [20, 30]


def test_a_pandas_answer_of_other_rows_keeps_its_own_index() -> None:
    future = pd.DataFrame({"x": [1.0, 2.0]}, index=[7, 8])
    assert list(FrameSource(future, "future").like_me(pa.table({"y": [1, 2, 3]})).index) == [0, 1, 2]
    named = pa.Table.from_pandas(pd.DataFrame({"y": [1, 2]}, index=pd.Index(["a", "b"], name="k")))
    assert list(FrameSource(future, "future").like_me(named).index) == ["a", "b"]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame([[1, 2]], columns=["x", "x"]),
        pd.DataFrame([[1, 2]], columns=["0", 0]),
        pa.table([[1], [2]], names=["x", "x"]),
        pa.table([[1], [2]], names=["x", "x"]).to_reader(),
    ],
    ids=["pandas", "mixed", "table", "reader"],
)
def test_duplicate_columns_are_refused(frame: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"data: column names must be unique; more than once: '[x0]'") as caught:
        FrameSource(frame, "data")
    assert caught.value.reason == "INVALID_FRAME"


@pytest.mark.parametrize(
    "frame",
    [None, 3, "text", b"bytes", [1, 2], np.zeros((2, 2)), {"x": [1, 2], "y": [1]}, {"x": [object()]}, pl.Series([1])],
    ids=lambda frame: type(frame).__name__,
)
def test_what_is_no_frame_is_refused_with_a_sentence(frame: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^future: (must be|is not) a frame"):
        FrameSource(frame, "future")


def test_answers_are_given_in_the_asked_kind() -> None:
    table = pa.table({"d": [date(2020, 1, 1)]})
    assert to_kind(table, "pyarrow") is table
    assert isinstance(to_kind(table, "pandas"), pd.DataFrame)
    assert isinstance(to_kind(table, "polars"), pl.DataFrame)


def test_chunks_are_of_one_to_two_mebibytes() -> None:
    table = pa.table({f"c{n}": np.random.default_rng(n).random(200_000) for n in range(10)})
    chunks = list(encode_chunks(FrameSource(table, "data")))
    assert decode(b"".join(chunks)).equals(table)
    assert all(MIB <= len(chunk) <= CHUNK_BYTES for chunk in chunks[:-1])


def test_small_batches_are_joined_and_large_ones_cut() -> None:
    small = pa.record_batch({"x": np.zeros(1000)})
    large = pa.record_batch({"x": np.zeros(1_000_000)})
    batches = list(cut_batches([small] * 300 + [large]))
    assert sum(batch.num_rows for batch in batches) == 1_300_000
    assert all(MIB // 2 < batch.nbytes <= BATCH_BYTES + MIB for batch in batches[:-1])


def test_a_row_larger_than_a_chunk_is_sliced() -> None:
    table = pa.table({"b": pa.array([b"x" * (5 * MIB), b"y"], pa.large_binary())})
    chunks = list(encode_chunks(FrameSource(table, "data")))
    assert max(map(len, chunks)) <= CHUNK_BYTES
    assert decode(b"".join(chunks)).equals(table)


class Batches:
    """A source of batches that counts how many were taken."""

    def __init__(self, count: int) -> None:
        self.taken = 0
        self.schema = pa.schema({"x": pa.float64()})
        self._count = count

    def reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self.schema, self._make())

    def _make(self) -> Iterator[pa.RecordBatch]:
        for _ in range(self._count):
            self.taken += 1
            yield pa.record_batch([np.zeros(131_072)], schema=self.schema)


def test_a_stream_is_read_as_it_is_sent() -> None:
    batches = Batches(count=1000)
    source = FrameSource(batches.reader(), "data")
    assert not source.replayable
    assert not source.is_small(MIB)
    assert batches.taken == 2
    chunks = encode_chunks(source)
    next(chunks)
    assert batches.taken <= 4


def test_a_short_stream_is_small_and_loses_nothing() -> None:
    source = FrameSource(Batches(count=1).reader(), "data")
    assert source.is_small(MIB + MIB // 2)
    assert decode(encode(source)).num_rows == 131_072


def test_a_stream_that_fails_is_an_invalid_frame() -> None:
    def make() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"x": [1]})
        raise pa.ArrowInvalid("the query failed")

    reader = pa.RecordBatchReader.from_batches(pa.schema({"x": pa.int64()}), make())
    with pytest.raises(InvalidArgument, match="data: cannot be read: the query failed"):
        list(encode_chunks(FrameSource(reader, "data")))
