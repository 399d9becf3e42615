"""Numbers between Arrow and numpy."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from modelwire_runners import arrow_functions
from modelwire_runners.numbers import array_of, is_plain, numbers_of, table_of, type_of_numbers

KINDS = ["f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]


@given(
    numbers=st.sampled_from(KINDS).flatmap(lambda kind: arrays.arrays(kind, st.integers(0, 20))), step=st.sampled_from([1, 2, -1])
)
def test_numbers_are_the_same_on_both_sides(numbers: np.ndarray, step: int) -> None:
    numbers = numbers[::step]
    assert is_plain(numbers)
    array = array_of(numbers)
    array.validate(full=True)
    assert type_of_numbers(array.type) == numbers.dtype
    assert array.equals(pa.array(numbers)) or np.isnan(numbers).any()
    for begin in (0, len(numbers) // 2, len(numbers)):
        found = numbers_of(array.slice(begin))
        assert found is not None
        assert found.dtype == numbers.dtype
        assert found.tobytes() == numbers[begin:].tobytes()
        assert not found.flags.writeable


def test_nothing_is_copied_that_lies_side_by_side() -> None:
    numbers = np.arange(10.0)
    array = array_of(numbers[2:])
    assert array.buffers()[1].address == numbers[2:].ctypes.data
    assert np.shares_memory(numbers_of(array), numbers)


@pytest.mark.parametrize(
    "array",
    [pa.array([1.0, None]), pa.array([True]), pa.array(["a"]), pa.array([1], pa.timestamp("s")), pa.array([1.0], pa.float16())],
    ids=lambda array: str(array.type),
)
def test_what_has_gaps_or_is_no_number_is_not_taken(array: pa.Array) -> None:
    assert numbers_of(array) is None


def test_a_slice_without_the_gaps_is_taken() -> None:
    found = numbers_of(pa.array([None, 1.0, 2.0]).slice(1))
    assert found is not None
    assert found.tolist() == [1.0, 2.0]
    assert numbers_of(pa.nulls(0, pa.float64())) is not None


def test_a_table_has_the_columns_in_their_order() -> None:
    columns = {"b": np.arange(3), "a": np.ones(3, "f4")}
    assert table_of(columns).equals(pa.table(columns))


@pytest.mark.parametrize("values", [[1.0], np.ones((2, 2)), np.array(["a"]), np.ones(2, ">f8"), np.ones(2, bool)])
def test_others_are_not_plain(values: object) -> None:
    assert not is_plain(values)


def test_pandas_and_the_functions_of_arrow_are_left_alone() -> None:
    code = (
        "import sys, numpy as np; from modelwire_runners.frames import *; from modelwire_runners.numbers import *;"
        "table = table_of({'a': np.arange(3.0), 'b': np.arange(3)});"
        "TableFrame(table).matrix(), to_columns(table), to_table(np.arange(3)), to_table({'p': np.arange(3)});"
        "assert not {'pandas', 'pyarrow.compute'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_functions_of_arrow_are_those_of_pyarrow() -> None:
    assert arrow_functions.year is pc.year
    with pytest.raises(AttributeError, match="no_such_function"):
        arrow_functions.no_such_function  # noqa: B018
