"""Tensors become the frame that they describe, or are refused by name."""

import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensors import NUMBERS, add, request

from modelwire_server.columns import Column
from modelwire_server.errors import FrameTooLarge, InvalidField, InvalidFrame
from modelwire_server.frames import FrameLimits
from modelwire_server.protocols.open_inference.datatypes import DATATYPES
from modelwire_server.protocols.open_inference.reading import table_of
from modelwire_server.protocols.open_inference.v2 import open_inference_pb2 as pb
from modelwire_server.signature import Signature

LIMITS = FrameLimits(max_columns=100, max_rows=1000)
TRAINED = Signature((Column("a", "double"), Column("b", "int64")), targets=("t",))


def read(message: pb.ModelInferRequest, signature: Signature | None = None) -> pa.Table:
    table = table_of(message, signature, LIMITS)
    table.validate(full=True)
    return table


@pytest.mark.parametrize("shape", [(3,), (3, 1)], ids=str)
@pytest.mark.parametrize("name", NUMBERS)
def test_a_tensor_is_a_column_of_its_type(name: str, shape: tuple[int, ...]) -> None:
    values = np.array([0, 1, 1]).astype(NUMBERS[name])
    other = np.array([0.5, 1, 2])
    table = read(request(x=values.reshape(shape), y=other.reshape(shape)))
    assert table.column_names == ["x", "y"]
    assert table.schema.field("x").type == DATATYPES[name].arrow
    assert table.column("x").to_pylist() == values.tolist()
    assert table.column("y").to_pylist() == other.tolist()


@pytest.mark.parametrize("name", [name for name in NUMBERS if DATATYPES[name].contents])
def test_values_may_come_as_a_list(name: str) -> None:
    values = np.array([0, 1, 1]).astype(NUMBERS[name])
    assert read(request(raw=False, x=values)) == read(request(x=values))


def test_raw_numbers_are_not_copied() -> None:
    message = request(x=np.arange(4.0), y=np.arange(4))
    contents = list(message.raw_input_contents)
    table = read(message)
    for column in table.columns:
        assert column.chunk(0).buffers()[1].size == 32
    assert [column.chunk(0).buffers()[1].to_pybytes() for column in table.columns] == contents


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("name", NUMBERS)
def test_one_tensor_may_hold_all_columns(name: str, rows: int) -> None:
    values = (np.arange(rows * 2).reshape(rows, 2) % 2).astype(NUMBERS[name])
    table = read(request(anything=values), TRAINED)
    assert table.column_names == ["a", "b"]
    assert [column.to_pylist() for column in table.columns] == values.T.tolist()


def test_texts_of_one_tensor_are_split_too() -> None:
    values = np.array([[b"a", b"1"], [b"b", b"2"]], object)
    assert read(request(x=values)).to_pydict() == {"input_0": ["a", "b"], "input_1": ["1", "2"]}


def test_columns_that_no_training_named_are_numbered() -> None:
    assert read(request(x=np.zeros((2, 3)))).column_names == ["input_0", "input_1", "input_2"]
    assert read(request(x=np.zeros((2, 1)))).column_names == ["x"]


def test_one_column_is_that_of_the_training() -> None:
    trained = Signature((Column("a", "double"),))
    assert read(request(x=np.zeros((2, 1))), trained).column_names == ["a"]
    assert read(request(x=np.zeros(2)), trained).column_names == ["x"]


@pytest.mark.parametrize(
    ("said", "trained", "expected"),
    [
        ("", "", pa.array(["é", ""])),
        ("str", "binary", pa.array(["é", ""])),
        ("pd", "string", pa.array(["é", ""])),
        ("binary", "", pa.array(["é".encode(), b""])),
        ("", "binary", pa.array(["é".encode(), b""])),
    ],
)
def test_bytes_are_what_the_tensor_or_the_training_says(said: str, trained: str, expected: pa.Array) -> None:
    message = request(x=np.array(["é".encode(), b""], object))
    if said:
        message.inputs[0].parameters["content_type"].string_param = said
    signature = Signature((Column("x", trained),)) if trained else None
    assert read(message, signature).column("x").combine_chunks() == expected


@pytest.mark.parametrize(
    ("trained", "text", "expected"),
    [
        ("", "2024-02-29T12:30:00.25", pa.timestamp("us")),
        ("", "2024-02-29T12:30:00Z", pa.timestamp("us", "UTC")),
        ("timestamp[ns]", "2024-02-29T12:30:00.25", pa.timestamp("ns")),
        ("timestamp[s, tz=Europe/Oslo]", "2024-02-29T12:30:00Z", pa.timestamp("s", "Europe/Oslo")),
        ("date32[day]", "2024-02-29", pa.date32()),
    ],
)
def test_times_are_texts_in_iso_8601(trained: str, text: str, expected: pa.DataType) -> None:
    message = request(x=np.array([text.encode()], object))
    message.inputs[0].parameters["content_type"].string_param = "datetime"
    column = read(message, Signature((Column("x", trained),)) if trained else None).column("x")
    assert column.type == expected
    assert column[0].as_py().isoformat()[:10] == "2024-02-29"


def test_requests_with_the_same_names_keep_their_own_types() -> None:
    schemas = [read(request(x=np.zeros(1), y=values)).schema for values in (np.ones(1), np.zeros(1), np.ones(1, int))]
    assert schemas[0] == schemas[1]
    assert schemas[2] == pa.schema({"x": pa.float64(), "y": pa.int64()})


def changed(**fields: Any) -> pb.ModelInferRequest:
    """A good request with one tensor that is not."""
    message = request(good=np.zeros(2))
    content = fields.pop("raw", b"\0" * 16)
    message.inputs.add(**{"name": "bad", "datatype": "FP64", "shape": [2], **fields})
    message.raw_input_contents.append(content)
    return message


LONG = struct.pack("<I", 1 << 31)

REFUSED = {
    "no such datatype": (changed(datatype="BF16"), "'bad' has the datatype 'BF16', which is none of BOOL, "),
    "datatype missing": (changed(datatype=""), "has the datatype ''"),
    "no shape": (changed(shape=[]), "has the shape \\[\\]; a shape here is \\[rows\\]"),
    "three dimensions": (changed(shape=[2, 1, 1]), "has the shape \\[2, 1, 1\\]; a shape here is"),
    "negative": (changed(shape=[-1]), "has the shape \\[-1\\]"),
    "smallest number": (changed(shape=[-(1 << 63)]), "has the shape"),
    "several columns beside others": (changed(shape=[1, 2]), "where there are several inputs each is one column"),
    "no columns": (changed(shape=[2, 0]), "has no columns"),
    "too short": (changed(raw=b"\0" * 15), "'bad' has 15 bytes, but its shape \\[2\\] of FP64 asks for 16"),
    "too long": (changed(raw=b"\0" * 17), "has 17 bytes"),
    "other length": (changed(shape=[1], raw=b"\0" * 8), "tensor 'bad' has 1 rows, but 'good' has 2"),
    "twice the same name": (changed(name="good"), "there is more than one tensor 'good'"),
    "a name that no library can take": (changed(name="a\0b"), "a tensor whose name holds a NUL"),
    "a length cut off": (changed(datatype="BYTES", raw=b"\0\0\0\0\0"), "'bad' ends in the middle of the length of value 1"),
    "a text cut off": (changed(datatype="BYTES", raw=LONG + b"a"), "'bad' ends in the middle of value 0"),
    "too few texts": (changed(datatype="BYTES", raw=bytes(4)), "has 1 values, but its shape asks for 2"),
    "no UTF-8": (changed(datatype="BYTES", raw=b"\1\0\0\0\xff\0\0\0\0"), "'bad' holds texts that are no UTF-8"),
}


@pytest.mark.parametrize(("message", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_tensor_is_refused_by_name(message: pb.ModelInferRequest, why: str) -> None:
    with pytest.raises(InvalidFrame, match=why):
        read(message)


def test_a_tensor_is_needed() -> None:
    with pytest.raises(InvalidFrame, match="a tensor is needed"):
        read(pb.ModelInferRequest())


def test_raw_contents_are_for_all_tensors_or_none() -> None:
    message = request(x=np.zeros(1))
    add(message, "y", np.zeros(1), raw=False)
    with pytest.raises(InvalidFrame, match="has the values of 1 tensors, but there are 2 inputs"):
        read(message)
    both = request(x=np.zeros(1))
    both.inputs[0].contents.fp64_contents.append(0)
    with pytest.raises(InvalidFrame, match="'x' has its values in `contents`, and others in `raw_input_contents`"):
        read(both)


def test_listed_values_are_where_they_belong() -> None:
    message = request(raw=False, x=np.zeros(1))
    message.inputs[0].contents.int_contents.append(0)
    with pytest.raises(InvalidFrame, match="belong in `fp64_contents`, not `int_contents`"):
        read(message)
    halves = pb.ModelInferRequest()
    halves.inputs.add(name="x", datatype="FP16", shape=[1]).contents.fp32_contents.append(1)
    with pytest.raises(InvalidFrame, match="FP16, whose values can only be sent in `raw_input_contents`"):
        read(halves)


def test_listed_values_fit_their_type() -> None:
    message = pb.ModelInferRequest()
    message.inputs.add(name="x", datatype="INT8", shape=[1]).contents.int_contents.append(300)
    with pytest.raises(InvalidFrame, match="'x' has values that are no INT8"):
        read(message)
    message.inputs[0].shape[0] = 2
    with pytest.raises(InvalidFrame, match="'x' has 1 values, but its shape \\[2\\] asks for 2"):
        read(message)


def test_limits_are_those_of_frames() -> None:
    with pytest.raises(FrameTooLarge, match="tensor 'x' has 1,001 rows, the limit is 1,000"):
        read(request(x=np.zeros(1001)))
    with pytest.raises(FrameTooLarge, match="tensor 'x' has 101 columns, the limit is 100"):
        read(request(x=np.zeros((1, 101))))
    with pytest.raises(FrameTooLarge, match="there are 101 tensors, the limit is 100"):
        read(request(**{f"x{number}": np.zeros(1) for number in range(101)}))


def test_columns_are_as_many_as_in_the_training() -> None:
    with pytest.raises(InvalidFrame, match=r"'x' has 3 columns, but the model was trained on 2: a, b$"):
        read(request(x=np.zeros((1, 3))), TRAINED)
    with pytest.raises(InvalidFrame, match="does not say which of them is to be predicted"):
        read(request(x=np.zeros((1, 3))), Signature(TRAINED.inputs))


@pytest.mark.parametrize("parameter", ["shared_memory_region", "classification"])
def test_what_other_servers_do_is_refused(parameter: str) -> None:
    message = request(x=np.zeros(1))
    message.inputs[0].parameters[parameter].string_param = "region"
    with pytest.raises(InvalidField, match=r"tensor 'x': (this server shares no memory|classification is not supported)"):
        read(message)


def test_content_types_are_known() -> None:
    message = request(x=np.array([b"a"], object))
    message.inputs[0].parameters["content_type"].string_param = "jpeg"
    with pytest.raises(InvalidFrame, match="the content type 'jpeg', which is none of str, binary"):
        read(message)
    message.inputs[0].parameters["content_type"].string_param = "datetime"
    with pytest.raises(InvalidFrame, match="'x' holds texts that are no times in ISO 8601"):
        read(message)


TENSORS = st.builds(
    pb.ModelInferRequest.InferInputTensor,
    name=st.sampled_from(["a", "b", "c", ""]),
    datatype=st.sampled_from([*DATATYPES, "", "BF16"]),
    shape=st.lists(st.sampled_from([0, 1, 2, 3, -1, 1 << 62]), max_size=3),
    contents=st.none()
    | st.builds(
        pb.InferTensorContents,
        int_contents=st.lists(st.integers(-(1 << 31), (1 << 31) - 1), max_size=4),
        fp64_contents=st.lists(st.floats(), max_size=4),
        bytes_contents=st.lists(st.binary(max_size=4), max_size=4),
    ),
)
RAW = st.binary(max_size=48) | st.lists(st.binary(max_size=5), max_size=4).map(
    lambda values: b"".join(struct.pack("<I", len(value)) + value for value in values)
)


@given(tensors=st.lists(TENSORS, max_size=3), raw=st.lists(RAW, max_size=3), signature=st.sampled_from([None, TRAINED]))
def test_nothing_that_comes_is_more_than_refused(tensors: list[Any], raw: list[bytes], signature: Signature | None) -> None:
    message = pb.ModelInferRequest(inputs=tensors, raw_input_contents=raw)
    try:
        table = read(message, signature)
    except (InvalidFrame, FrameTooLarge):
        return
    assert table.num_columns
