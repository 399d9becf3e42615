"""Frames become tensors, to the bit, and tensors that come back are the same frame."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensors import NUMBERS, request

from modelwire_server.errors import InvalidField
from modelwire_server.frames import FrameLimits
from modelwire_server.protocols.open_inference.byte_strings import unpack
from modelwire_server.protocols.open_inference.datatypes import DATATYPES, datatype_named
from modelwire_server.protocols.open_inference.reading import table_of
from modelwire_server.protocols.open_inference.v2 import open_inference_pb2 as pb
from modelwire_server.protocols.open_inference.writing import fill


def tensors(table: pa.Table, *wanted: str, raw: bool = True) -> pb.ModelInferResponse:
    response = pb.ModelInferResponse()
    fill(response, table, wanted, raw=raw)
    return response


def column_strategy(name: str, rows: int) -> st.SearchStrategy[Any]:
    """An array of one datatype."""
    if name == "BYTES":
        return st.lists(st.text().map(str.encode), min_size=rows, max_size=rows).map(lambda values: np.array(values, object))
    dtype = NUMBERS[name]
    if name == "BOOL":
        bits: st.SearchStrategy[Any] = st.lists(st.booleans(), min_size=rows, max_size=rows)
        return bits.map(lambda values: np.array(values, dtype))
    # Any bytes are numbers; floats so are also NaN with a payload.
    size = dtype.itemsize * rows
    return st.binary(min_size=size, max_size=size).map(lambda raw: np.frombuffer(raw, dtype))


FRAMES = st.integers(0, 5).flatmap(
    lambda rows: st.dictionaries(
        st.sampled_from("abcdefgh"),
        st.sampled_from(sorted(DATATYPES)).flatmap(lambda name: column_strategy(name, rows)),
        min_size=1,
        max_size=5,
    )
)


@given(columns=FRAMES, raw=st.booleans(), cut=st.integers(0, 5))
def test_tensors_survive_being_a_frame(columns: dict[str, Any], raw: bool, cut: int) -> None:
    sent = request(**columns)
    if not raw and all(tensor.datatype != "FP16" for tensor in sent.inputs):
        sent = request(raw=False, **columns)
    table = table_of(sent, None, FrameLimits())
    # Frames come in pieces, and pieces begin in the middle of their buffers.
    pieces = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    for written in (tensors(table), tensors(pieces)):
        assert [one.name for one in written.outputs] == list(columns)
        assert [list(one.shape) for one in written.outputs] == [[table.num_rows]] * len(columns)
        back = pb.ModelInferRequest(raw_input_contents=written.raw_output_contents)
        for one in written.outputs:
            back.inputs.add(name=one.name, datatype=one.datatype, shape=one.shape)
        assert [one.datatype for one in back.inputs] == [one.datatype for one in sent.inputs]
        assert list(back.raw_input_contents) == list(request(**columns).raw_input_contents)


@given(columns=FRAMES)
def test_values_can_be_listed(columns: dict[str, Any]) -> None:
    table = table_of(request(**columns), None, FrameLimits())
    listed = tensors(table, raw=False)
    if "halffloat" in {str(field.type) for field in table.schema}:
        assert len(listed.raw_output_contents) == len(columns)
        return
    assert not listed.raw_output_contents
    again = pb.ModelInferRequest()
    for one in listed.outputs:
        again.inputs.add(name=one.name, datatype=one.datatype, shape=one.shape, contents=one.contents)
    assert list(tensors(table_of(again, None, FrameLimits())).raw_output_contents) == list(tensors(table).raw_output_contents) or (
        any(np.isnan(array).any() for array in columns.values() if array.dtype.kind == "f")  # a payload may get lost
    )


def test_only_what_is_wanted_is_sent_in_the_order_of_the_wish() -> None:
    written = tensors(pa.table({"a": [1], "b": [2.0], "c": ["x"]}), "c", "a")
    assert [(one.name, one.datatype) for one in written.outputs] == [("c", "BYTES"), ("a", "INT64")]


def test_what_is_not_there_cannot_be_wanted() -> None:
    with pytest.raises(InvalidField, match="there is no output 'z'; the predictions have: a"):
        tensors(pa.table({"a": [1]}), "z")


def test_lists_of_one_length_are_a_second_dimension() -> None:
    values = pa.array([[1.0, 2], [3, 4], [5, 6]], pa.list_(pa.float64(), 2))
    (tensor,) = (written := tensors(pa.table({"a": values[1:]}))).outputs
    assert list(tensor.shape) == [2, 2]
    assert np.frombuffer(written.raw_output_contents[0]).tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["a", "ø"], pa.large_string()), ["a", "ø"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([date(2024, 2, 29)]), ["2024-02-29"]),
        (pa.array([datetime.fromisoformat("2024-02-29T12:30:00")]), ["2024-02-29T12:30:00"]),
        (pa.array([datetime(2024, 2, 29, tzinfo=UTC)], pa.timestamp("ns", "UTC")), ["2024-02-29T00:00:00+00:00"]),
        (pa.array([time(12, 30)]), ["12:30:00"]),
        (pa.array([Decimal("1.50")]), ["1.50"]),
    ],
    ids=str,
)
def test_what_is_no_number_is_a_text(array: pa.Array, expected: list[str]) -> None:
    for raw in (True, False):
        (tensor,) = (written := tensors(pa.table({"a": array}), raw=raw)).outputs
        assert tensor.datatype == "BYTES"
        assert tensor.datatype == getattr(datatype_named(str(array.type)), "name", None)
        values = unpack(written.raw_output_contents[0], len(array)) if raw else tensor.contents.bytes_contents
        assert [value.decode() for value in values] == expected


def test_categories_of_numbers_are_numbers() -> None:
    (tensor,) = (written := tensors(pa.table({"a": pa.array([5, 6, 5]).dictionary_encode()}))).outputs
    assert tensor.datatype == "INT64"
    assert np.frombuffer(written.raw_output_contents[0], "<i8").tolist() == [5, 6, 5]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_floats_have_a_value_for_nulls(kind: pa.DataType) -> None:
    (tensor,) = (written := tensors(pa.table({"a": pa.array([1.5, None], kind)}))).outputs
    values = np.frombuffer(written.raw_output_contents[0], DATATYPES[tensor.datatype].dtype)
    assert values[0] == 1.5
    assert np.isnan(values[1])


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (pa.array([1, None]), "the output 'a' has nulls, for which INT64 has no value"),
        (pa.array([True, None]), "for which BOOL has no value"),
        (pa.array(["x", None]), "for which BYTES has no value"),
        (pa.nulls(1), "has nulls"),
        (pa.array([[1], [2, 3]]), "the output 'a' is of type list<.*>, which no tensor holds"),
        (pa.array([{"x": 1}]), "is of type struct<.*>, which no tensor holds"),
    ],
    ids=str,
)
def test_what_no_tensor_holds_is_told(array: pa.Array, why: str) -> None:
    table = pa.table({"a": array, "b": pa.array([0.0] * len(array))})
    with pytest.raises(InvalidField, match=why):
        tensors(table)
    assert tensors(table, "b").outputs
