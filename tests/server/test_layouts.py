"""Frames of numbers that are read and written by the layout of a frame before them."""

import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire_server.frames import FrameLimits, read_frame, write_frame
from modelwire_server.layouts import MOST_LAYOUTS, Answers, Layouts, PlainFrame, PlainFrames

LIMITS = FrameLimits()
TABLE = pa.table({"a": [1.5, 2.5], "b": [3.0, -0.0], "n": np.array([7, -8]), "s": np.array([1, 2], "i2")})
DOUBLES = pa.table({name: [float(place), place + 0.5] for place, name in enumerate("abcd")})


def learned(data: bytes, layouts: Layouts | None = None) -> Layouts:
    layouts = layouts or Layouts()
    layouts.learn(data, read_frame(data, LIMITS, "future"))
    return layouts


def other_values(data: bytes, table: pa.Table) -> bytes:
    """The same frame with other values."""
    return write_frame(
        pa.table([pa.array(np.arange(table.num_rows) + 9, field.type) for field in table.schema], schema=table.schema)
    )


@pytest.mark.parametrize(
    "table", [TABLE, DOUBLES, TABLE.slice(1), TABLE.select(["s"]), DOUBLES.replace_schema_metadata({"k": "v"})]
)
def test_a_layout_serves_all_frames_that_have_it(table: pa.Table) -> None:
    data = write_frame(table)
    layouts = learned(data)
    for content in (data, other_values(data, table)):
        frame = layouts.known(content)
        assert frame is not None
        assert frame.table().equals(read_frame(content, LIMITS, "future"), check_metadata=True)
        assert frame.num_rows == table.num_rows
        expected = np.column_stack([column.to_numpy().astype("f8") for column in frame.table().columns])
        np.testing.assert_array_equal(frame.matrix(), expected)
        assert not frame.matrix().flags.writeable


@given(data=st.data())
def test_frames_of_one_layout_are_one_frame(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from("abcdefg"), unique=True, min_size=1))
    kinds = data.draw(st.lists(st.sampled_from(["f8", "f4", "i8", "i2", "i1", "u8"]), min_size=len(names), max_size=len(names)))
    rows, count = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 9))
    numbers = iter(range(10**6))
    tables = [
        pa.table(
            {name: np.array([next(numbers) % 100 for _ in range(rows)], kind) for name, kind in zip(names, kinds, strict=True)}
        )
        for _ in range(count)
    ]
    contents = [write_frame(table) for table in tables]
    layout = next(iter(learned(contents[0])._known._kept.values()))
    width = data.draw(st.integers(1, len(names)))
    frame = PlainFrames(contents, layout)
    assert frame.num_rows == rows * count
    assert frame.table().equals(pa.concat_tables(tables))
    expected = np.concatenate([PlainFrame(content, layout, width).matrix() for content in contents])
    np.testing.assert_array_equal(frame.of_width(width).matrix(), expected, strict=True)
    assert not frame.matrix().flags.writeable


def test_doubles_are_not_copied_and_a_matrix_may_have_the_first_columns_only() -> None:
    data = write_frame(DOUBLES)
    frame = learned(data).known(data)
    assert frame is not None
    assert frame.matrix().base is data
    assert PlainFrame(data, frame.layout, 2).matrix().tolist() == [[0.0, 1.0], [0.5, 1.5]]


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"a": [1.0, None]}),
        pa.table({"a": ["x", "y"]}),
        pa.table({"a": [True, False]}),
        pa.table({"a": pa.array([1, 2], pa.timestamp("s"))}),
        pa.table({"a": pa.array(["x"]).dictionary_encode()}),
        pa.table({"time_period": [1, 2]}),
        pa.table({"a": pa.chunked_array([[1.0], [2.0]])}),
        pa.table({"a": pa.array([], pa.float64())}),
        pa.table({f"column {number}": [1.0] for number in range(200)}),
    ],
)
def test_what_is_not_plain_is_not_kept(table: pa.Table) -> None:
    data = write_frame(table)
    assert learned(data).known(data) is None


def test_compressed_values_are_not_read_where_they_lie() -> None:
    sink, table = pa.BufferOutputStream(), pa.table({"a": np.zeros(1000)})
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    data = sink.getvalue().to_pybytes()
    assert learned(data).known(data) is None


def test_a_stream_without_an_end_has_a_layout_of_its_own() -> None:
    data = write_frame(DOUBLES)
    assert learned(data).known(data[:-8]) is None
    assert learned(data[:-8]).known(data[:-8]) is not None
    assert learned(data[:-8]).known(data) is None


def test_the_layouts_that_were_used_last_are_kept() -> None:
    layouts = Layouts()
    frames = [write_frame(pa.table({"a": np.zeros(rows)})) for rows in range(1, MOST_LAYOUTS + 3)]
    for frame in frames:
        learned(frame, layouts)
        assert layouts.known(frames[0]) is not None
    assert [number for number, frame in enumerate(frames) if layouts.known(frame) is None] == [1, 2]


@given(data=st.data())
def test_mutated_frames_are_read_as_they_are_or_not_at_all(data: st.DataObject) -> None:
    """Whatever is changed: what a layout says is what the full check says, and reading stays inside the message."""
    table = data.draw(st.sampled_from([TABLE, DOUBLES, DOUBLES.slice(1)]))
    content = write_frame(table)
    layouts = learned(content)
    if data.draw(st.booleans(), label="whether its layout was the last one"):
        assert layouts.known(content) is not None
    mutated = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        match data.draw(st.sampled_from(["byte", "cut", "grow", "word"])):
            case "byte":
                mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
            case "word":
                at = data.draw(st.integers(0, max(0, len(mutated) // 4 - 1))) * 4
                mutated[at : at + 4] = struct.pack("<i", data.draw(st.sampled_from([-1, 0, 1, 8, 1 << 20, -(1 << 31)])))
            case "cut":
                del mutated[data.draw(st.integers(1, len(mutated))) :]
            case "grow":
                mutated += data.draw(st.binary(max_size=16))
    frame = layouts.known(bytes(mutated))
    if frame is None:
        return
    expected = read_frame(bytes(mutated), LIMITS, "future")
    assert write_frame(frame.table()) == write_frame(expected)
    assert frame.matrix().tobytes() == np.column_stack([column.to_numpy().astype("f8") for column in expected.columns]).tobytes()


@pytest.mark.parametrize("kind", ["f8", "f4", "i8", "i4", "i2", "i1", "u8", "u1"])
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 1000])
def test_answers_are_what_arrow_writes(kind: str, rows: int) -> None:
    answers = Answers()
    for shift in range(3):
        columns: dict[str, Any] = {"prediction": np.arange(rows, dtype=kind) + shift, "ü": np.arange(2 * rows, dtype="f8")[::2]}
        assert answers.write(columns) == write_frame(pa.table(columns))
    assert len(answers._known) == 1


@given(data=st.data())
def test_answers_that_are_cut_apart_are_those_that_are_written_one_by_one(data: st.DataObject) -> None:
    rows, count = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    kinds = data.draw(st.lists(st.sampled_from(["f8", "f4", "i8", "i4", "i2", "i1", "u1"]), min_size=1, max_size=4))
    columns: dict[str, Any] = {f"c{place}": np.arange(rows * count).astype(kind) for place, kind in enumerate(kinds)}
    if data.draw(st.booleans(), label="one with gaps"):
        columns["gaps"] = np.arange(2.0 * rows * count)[::2]
    answers = Answers()
    for _ in range(2):
        each = [{name: values[at : at + rows] for name, values in columns.items()} for at in range(0, rows * count, rows)]
        assert answers.write_each(columns, rows) == [write_frame(pa.table(one)) for one in each]


def test_answers_of_other_names_types_and_rows_have_prefixes_of_their_own() -> None:
    answers = Answers()
    for columns in ({"a": np.zeros(1)}, {"b": np.zeros(1)}, {"a": np.zeros(1, "i8")}, {"a": np.zeros(2)}):
        for _ in range(2):
            assert read_frame(answers.write(columns), LIMITS, "answer").equals(pa.table(columns))
