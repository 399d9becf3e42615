"""Frames from strangers: what is fine, what is refused, and that refusing costs nothing."""

import random
import resource
import struct
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwire_server.errors import FrameTooLarge, InvalidFrame
from modelwire_server.frames import MIB, FrameLimits, check_frame, read_frame, write_frame, write_frame_parts
from modelwire_server.periods import count_periods

LIMITS = FrameLimits().in_memory(16 * MIB)


def everything() -> pa.Table:
    """A table with a column of every kind that travels."""
    return pa.table(
        {
            "integer": pa.array([1, None, 3]),
            "text": pa.array(["a", "b", None]),
            "view": pa.array(["a", "much longer than twelve bytes", None], pa.string_view()),
            "dictionary": pa.array(["x", "y", "x"]).dictionary_encode(),
            "null": pa.nulls(3),
            "list": pa.array([[1.5], [], None]),
            "fixed": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)),
            "struct": pa.array([{"a": 1, "b": {"c": "x"}}, None, {"a": 2, "b": None}]),
            "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
            "time": pa.array([0, 1, None], pa.timestamp("us", tz="Europe/Oslo")),
            "offset": pa.array([0, 1, None], pa.timestamp("ns", tz="+05:30")),
            "decimal": pa.array([Decimal("1.50"), None, Decimal(-2)], pa.decimal128(20, 2)),
        }
    ).replace_schema_metadata({"note": "kept"})


def stream(table: pa.Table, compression: str | None = None, max_chunksize: int | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, max_chunksize)
    return sink.getvalue().to_pybytes()


def check(data: bytes, limits: FrameLimits = LIMITS) -> int:
    return check_frame(pa.BufferReader(data), limits, "data").rows


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_every_type_survives(compression: str | None) -> None:
    table = everything()
    data = stream(table, compression, max_chunksize=2)
    assert check(data) == 3
    read = read_frame(data, LIMITS, "data")
    assert read.equals(table)
    assert read.schema.metadata == {b"note": b"kept"}


@pytest.mark.parametrize(
    "table",
    [pa.table({}), pa.table({"a": pa.array([], pa.int64())}), pa.schema([("a", pa.int64())]).empty_table()],
    ids=["no columns", "no rows", "no batches"],
)
def test_little_is_fine(table: pa.Table) -> None:
    assert read_frame(write_frame(table), LIMITS, "data").equals(table)
    assert check(write_frame(table)) == 0


@pytest.mark.parametrize(
    ("table", "periods"),
    [
        (pa.table({"a": [1]}), None),
        (pa.table({"time_period": ["2020-01", "2020-02", "2020-02", None]}), 2),
        (pa.table({"time_period": ["2020-01", "2020-02", "2020-03"], "location": ["x", "x", "y"]}), 2),
        (pa.table({"time_period": pa.array(["2020-01", "2020-02"]).dictionary_encode()}), 2),
        (pa.table({"time_period": [["2020-01"]]}), None),
        (pa.table({"time_period": pa.array([], pa.string())}), None),
    ],
)
def test_periods_are_counted(table: pa.Table, periods: int | None) -> None:
    summary = check_frame(pa.BufferReader(stream(table, max_chunksize=1)), LIMITS, "future")
    assert summary.periods == periods
    assert count_periods(table) == periods


def test_a_stream_without_end_mark_is_fine() -> None:
    table = pa.table({"a": [1]})
    assert read_frame(stream(table)[:-8], LIMITS, "data").equals(table)


def test_parts_join_to_the_frame() -> None:
    table = pa.table({"a": range(500_000), "text": ["some text"] * 500_000})
    parts = list(write_frame_parts(table))
    assert max(map(len, parts)) <= MIB
    assert len(parts) < 20
    assert read_frame(b"".join(parts), FrameLimits(), "data").equals(table)


def test_a_row_larger_than_a_part_is_cut() -> None:
    table = pa.table({"text": ["x" * 3 * MIB]})
    parts = list(write_frame_parts(table))
    assert max(map(len, parts)) == MIB
    assert read_frame(b"".join(parts), FrameLimits(), "data").equals(table)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"ARROW1\0\0", "middle of a message"),
        (b"\xff\xff\xff\xff", "damaged"),
        (b"PK\x03\x04 a zip", "middle of a message"),
        (stream(pa.table({"a": [1]})) + b"more", "4 bytes follow"),
        (stream(pa.table({"a": [1]}))[:-20], "middle of a message"),
        (stream(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])), "more than one column 'a'"),
        (stream(pa.table({"a\0": [1]})), "NUL"),
        (stream(pa.table({"ab": [1]})).replace(b"ab\0", b"\xff\xfe\0"), "utf-8"),
        (stream(pa.table({"a": pa.StructArray.from_arrays([pa.array([1])] * 2, ["b", "b"])})), "more than one column 'b'"),
        (stream(pa.table({"a": pa.array([{"bc": 1}])})).replace(b"bc\0", b"\xff\xfe\0"), "utf-8"),
        (stream(pa.table({"a": pa.array([1], pa.timestamp("s", "Utopia"))})), "time zone 'Utopia'"),
        (stream(pa.table({"a": pa.array([1], pa.timestamp("s", "/etc/passwd"))})), "time zone"),
        (stream(pa.table({"a": pa.array([[1]], pa.list_view(pa.int64()))})), "not supported"),
        (stream(pa.table({"a": pa.RunEndEncodedArray.from_arrays(pa.array([5]), pa.array([1]))})), "not supported"),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes, words: str) -> None:
    for reads in (check, lambda data: read_frame(data, LIMITS, "data")):
        with pytest.raises(InvalidFrame, match=words) as caught:
            reads(data)
        assert caught.value.metadata == {"field": "data"}
        assert caught.value.violations[0].field == "data"


def test_indices_outside_a_dictionary_are_refused() -> None:
    bad = pa.DictionaryArray.from_arrays(pa.array([0, 7]), pa.array(["only"]), safe=False)
    with pytest.raises(InvalidFrame):
        check(stream(pa.table({"a": bad})))


def test_text_that_is_no_utf8_is_refused() -> None:
    text = pa.StringArray.from_buffers(1, pa.py_buffer(struct.pack("<ii", 0, 2)), pa.py_buffer(b"\xff\xfe"))
    with pytest.raises(InvalidFrame, match="UTF8"):
        check(stream(pa.table({"a": text})))


def nested(depth: int) -> pa.DataType:
    kind = pa.int64()
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind


@pytest.mark.parametrize(
    ("table", "limits", "words"),
    [
        (pa.table({"a": ["x" * 100]}), FrameLimits(max_bytes=100), "the limit is 100"),
        (pa.table({"a": [0] * 1000}), FrameLimits(max_batch_bytes=1000), "record batch"),
        (pa.table({f"c{n}": [1] for n in range(20)}), FrameLimits(max_columns=19), "columns"),
        (pa.table({"a": [{str(n): n for n in range(20)}]}), FrameLimits(max_columns=20), "columns"),
        (pa.table({"a": [1]}).replace_schema_metadata({"k": "v" * 5000}), FrameLimits(max_metadata_bytes=4000), "metadata"),
        (pa.table({"a": pa.array([None], nested(20))}), FrameLimits(max_depth=20), "nested too deeply"),
        (pa.table({"a": [True] * 1000}), FrameLimits(max_rows=999), "rows"),
        (pa.table({"a": [0] * 1000}), FrameLimits(max_decompressed_bytes=7999), "decompressed"),
    ],
)
def test_limits(table: pa.Table, limits: FrameLimits, words: str) -> None:
    with pytest.raises(FrameTooLarge, match=words) as caught:
        check(stream(table), limits)
    assert caught.value.metadata["field"] == "data"
    assert int(caught.value.metadata["limit"]) >= 0


def test_a_limit_on_the_number_of_batches() -> None:
    with pytest.raises(FrameTooLarge, match="record batches"):
        check(stream(pa.table({"a": range(10)}), max_chunksize=1), FrameLimits(max_batches=9))


def test_dictionaries_count_together() -> None:
    table = pa.table({name: pa.array(["x" * 1000]).dictionary_encode() for name in "abcdef"})
    check(stream(table), FrameLimits(max_batch_bytes=8000))
    with pytest.raises(FrameTooLarge, match="dictionaries"):
        check(stream(table), FrameLimits(max_batch_bytes=5000))


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_a_bomb_is_not_decompressed(compression: str) -> None:
    bomb = stream(pa.table({"a": [bytes(100 * MIB)]}), compression)
    assert len(bomb) < MIB
    before = pa.total_allocated_bytes()
    with pytest.raises(FrameTooLarge, match="the limit is"):
        read_frame(bomb, FrameLimits(max_batch_bytes=50 * MIB), "data")
    assert pa.total_allocated_bytes() == before


def test_a_bomb_in_a_dictionary_is_not_decompressed() -> None:
    bomb = stream(pa.table({"a": pa.array([bytes(60 * MIB)]).dictionary_encode()}), "zstd")
    with pytest.raises(FrameTooLarge):
        check(bomb, FrameLimits(max_batch_bytes=50 * MIB))


def test_a_liar_about_the_uncompressed_size_is_refused() -> None:
    honest = stream(pa.table({"a": pa.array([bytes(1000)])}), "lz4")
    size = struct.pack("<q", 1000)
    assert honest.count(size) >= 1
    for lie in (0, 10, 1 << 20, -5):
        with pytest.raises(InvalidFrame):
            check(honest.replace(size, struct.pack("<q", lie)))
    with pytest.raises(FrameTooLarge):
        check(honest.replace(size, struct.pack("<q", 1 << 60)))


def test_rows_that_take_no_space_are_counted() -> None:
    with pytest.raises(FrameTooLarge, match="decompressed"):
        check(stream(pa.table({"a": pa.nulls(900_000_000)})), LIMITS)
    empty = pa.RecordBatch.from_struct_array(pa.array([{}] * 3, pa.struct([])))
    assert empty.num_rows == 3
    with pytest.raises(FrameTooLarge, match="decompressed"):
        check(stream(pa.Table.from_batches([empty])), FrameLimits(max_decompressed_bytes=23))


def test_views_of_the_same_bytes_are_counted() -> None:
    validity, view, text = pa.array(["x" * 1000], pa.string_view()).buffers()
    views = pa.Array.from_buffers(pa.string_view(), 1000, [validity, pa.py_buffer(view.to_pybytes()[:16] * 1000), text])
    with pytest.raises(FrameTooLarge, match="decompressed"):
        check(stream(pa.table({"a": views})), FrameLimits(max_decompressed_bytes=500_000))


def read_any(data: bytes) -> None:
    """Whatever the bytes are: a table, or one of the two errors."""
    with suppress(InvalidFrame, FrameTooLarge):
        read_frame(data, LIMITS, "data").validate(full=True)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes(data: bytes) -> None:
    read_any(data)
    read_any(struct.pack("<Ii", 0xFFFFFFFF, len(data)) + data)


def test_damaged_streams_are_refused_at_no_cost() -> None:
    """Streams with some bytes changed: never a crash, and no memory that a stream only announced."""
    originals = [stream(everything(), compression, max_chunksize=2) for compression in (None, "lz4", "zstd")]
    dice = random.Random(20)
    before = psutil.Process().memory_info().rss
    for round_ in range(3000):
        data = bytearray(originals[round_ % 3])
        for _ in range(dice.randint(1, 8)):
            at = dice.randrange(len(data) - 8)
            if dice.random() < 0.5:
                data[at] = dice.randrange(256)
            else:
                data[at : at + 8] = struct.pack("<q", dice.choice([-1, 0, 1, 1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63)]))
        if dice.random() < 0.2:
            del data[dice.randrange(len(data)) :]
        read_any(bytes(data))
    assert psutil.Process().memory_info().rss - before < 100 * MIB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < before + 600 * MIB


def test_a_large_frame_is_checked_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "frame.arrow"
    batch = pa.record_batch({"a": pa.array(range(500_000)), "b": pa.array([1.5] * 500_000)})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, batch.schema) as writer:
        for _ in range(64):
            writer.write_batch(batch)
    assert path.stat().st_size > 480 * MIB
    before = psutil.Process().memory_info().rss
    with pa.OSFile(str(path)) as source:
        assert check_frame(source, FrameLimits(), "data").rows == 64 * 500_000
        assert psutil.Process().memory_info().rss - before < 64 * MIB
