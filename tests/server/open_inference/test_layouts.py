"""Requests that look alike are read without looking at everything again, and are the same frames."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensors import add, request

from modelwire_runners.frames import to_matrix
from modelwire_server.columns import Column
from modelwire_server.errors import InvalidField, InvalidFrame
from modelwire_server.frames import FrameLimits
from modelwire_server.protocols.open_inference.layouts import SMALL, TensorFrame, TensorLayouts
from modelwire_server.protocols.open_inference.reading import table_of
from modelwire_server.protocols.open_inference.v2 import open_inference_pb2 as pb
from modelwire_server.protocols.open_inference.writing import fill, fill_numbers
from modelwire_server.signature import Signature

LIMITS = FrameLimits()
TRAINED = Signature((Column("a", "double"), Column("b", "double")))


def again(first: pb.ModelInferRequest, second: pb.ModelInferRequest, signature: Signature | None = None) -> Any:
    """The frame of the second of two requests."""
    layouts = TensorLayouts(LIMITS)
    assert isinstance(layouts.frame_of(first, signature), pa.Table)
    return layouts.frame_of(second, signature)


def check(frame: Any, message: pb.ModelInferRequest, signature: Signature | None = None) -> None:
    """It is what is read without any memory of others."""
    assert isinstance(frame, TensorFrame)
    expected = table_of(message, signature, LIMITS)
    table = frame.table()
    table.validate(full=True)
    assert (table, frame.schema, frame.num_rows) == (expected, expected.schema, expected.num_rows)
    assert frame.matrix().tobytes("F") == to_matrix(expected).tobytes("F")
    assert not frame.matrix().flags.writeable
    narrow = frame.of_width(1)
    assert isinstance(narrow, TensorFrame)
    assert narrow.matrix().tolist() == to_matrix(expected.select([0])).tolist()


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<i8", "i1", "<u2"])
@pytest.mark.parametrize("shape", [(1, 2), (3, 2), (3, 1)], ids=str)
def test_one_tensor_for_all_columns(dtype: str, shape: tuple[int, int]) -> None:
    random = np.random.default_rng(3)
    first, second = (request(x=random.integers(0, 100, shape).astype(dtype)) for _ in range(2))
    check(again(first, second), second)
    check(again(first, second, TRAINED), second, TRAINED)


def test_a_tensor_for_each_column() -> None:
    random = np.random.default_rng(3)
    first, second = (request(x=random.normal(size=4), y=random.normal(size=4), z=random.normal(size=(4, 1))) for _ in range(2))
    frame = again(first, second)
    check(frame, second)
    assert frame.matrix().strides == (8, 32)


def test_numbers_of_one_size_may_be_of_several_types() -> None:
    first, second = (request(x=np.arange(2.0) + n, y=np.arange(2) + n, z=np.arange(2, dtype="u8")) for n in range(2))
    check(again(first, second), second)


OTHER = {
    "another name": request(y=np.zeros((1, 2))),
    "another type": request(x=np.zeros((1, 2), int)),
    "another shape": request(x=np.zeros((2, 2))),
    "other dimensions": request(x=np.zeros(2)),
    "one more": request(x=np.zeros(1), y=np.zeros(1)),
    "no raw values": request(raw=False, x=np.zeros((1, 2))),
}


@pytest.mark.parametrize("other", OTHER.values(), ids=OTHER.keys())
def test_what_looks_otherwise_is_read_anew(other: pb.ModelInferRequest) -> None:
    found = again(request(x=np.zeros((1, 2))), other)
    assert isinstance(found, pa.Table)
    assert found == table_of(other, None, LIMITS)


@pytest.mark.parametrize(
    "columns",
    [
        {"x": np.array([b"a"], object)},
        {"x": np.ones(1, bool)},
        {"x": np.ones(1, "<f2")},
        {"x": np.ones(1), "y": np.ones(1, "<f4")},
        {"x": np.ones(0)},
        {"x": np.ones(SMALL // 8 + 1)},
        {"time_period": np.ones(1)},
        {"x" * 20_000: np.ones(1)},
    ],
    ids=["texts", "booleans", "halves", "sizes", "nothing", "large", "periods", "long names"],
)
def test_what_is_not_plain_is_always_read(columns: dict[str, Any]) -> None:
    assert isinstance(again(request(**columns), request(**columns)), pa.Table)


def test_what_is_wrong_is_told_all_the_same() -> None:
    good = request(x=np.zeros((1, 2)))
    short = request(x=np.zeros((1, 2)))
    short.raw_input_contents[0] = bytes(8)
    with pytest.raises(InvalidFrame, match="has 8 bytes, but its shape"):
        again(good, short)
    both = request(x=np.zeros((1, 2)))
    both.inputs[0].contents.fp64_contents.append(1)
    with pytest.raises(InvalidFrame, match="has its values in `contents`, and others"):
        again(good, both)
    shared = request(x=np.zeros((1, 2)))
    shared.inputs[0].parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(InvalidField, match="shares no memory"):
        again(good, shared)


def test_models_have_layouts_of_their_own() -> None:
    layouts = TensorLayouts(LIMITS)
    names = []
    for _ in range(2):
        for trained in ("ab", "cd"):
            signature = Signature(tuple(Column(name, "double") for name in trained))
            names.append(layouts.frame_of(request(x=np.zeros((1, 2))), signature).schema.names)
    assert names == [["a", "b"], ["c", "d"]] * 2


@given(rows=st.integers(1, 4), columns=st.integers(1, 4), data=st.data())
def test_any_numbers_are_the_same_to_the_bit(rows: int, columns: int, data: st.DataObject) -> None:
    raw = data.draw(st.binary(min_size=rows * columns * 8, max_size=rows * columns * 8))
    first, second = request(x=np.zeros((rows, columns))), request(x=np.frombuffer(raw).reshape(rows, columns))
    frame, expected = again(first, second), table_of(second, None, LIMITS)
    assert frame.matrix().tobytes("F") == to_matrix(expected).tobytes("F")
    for ours, theirs in zip(frame.table().columns, expected.columns, strict=True):
        assert ours.to_numpy().tobytes() == theirs.to_numpy().tobytes()


@pytest.mark.parametrize("raw", [True, False])
def test_columns_of_numbers_are_written_as_tables_are(raw: bool) -> None:
    columns: dict[str, Any] = {code: np.arange(3).astype(code) for code in ("<f8", "<f4", "<i8", "<i4", "<i2", "i1", "<u8", "u1")}
    columns["strided"] = np.arange(6.0)[::2]
    for wanted in ([], ["i1", "strided"]):
        plain, by_table = pb.ModelInferResponse(), pb.ModelInferResponse()
        fill_numbers(plain, columns, wanted, raw=raw)
        fill(by_table, pa.table(columns), wanted, raw=raw)
        assert plain == by_table
    with pytest.raises(InvalidField, match="there is no output 'z'; the predictions have: <f8, <f4"):
        fill_numbers(pb.ModelInferResponse(), columns, ["z"], raw=raw)


def test_a_name_may_be_that_of_several_tensors_only_once() -> None:
    message = request(x=np.zeros(1))
    add(message, "x", np.zeros(1))
    with pytest.raises(InvalidFrame, match="more than one tensor 'x'"):
        again(request(x=np.zeros(1), y=np.zeros(1)), message)
