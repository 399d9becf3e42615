"""Columns of values that have no type in common, on their way through runners."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire_runners.frames import FrameLibrary, TableFrame, to_library, to_table
from modelwire_runners.mixed import MIXED, mixed_array, mixed_values
from modelwire_runners.tables import read_csv, write_csv

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
VALUES: list[Any] = [1, "a,b", None, [True, {"x": 2**70}], 2.5, 2**70, "ü"]
TABLE = pa.table({"n": range(7), "mixed": mixed_array(VALUES)})


@given(st.lists(PLAIN, max_size=6))
def test_values_come_back_as_they_were(values: list[Any]) -> None:
    array = mixed_array(values)
    assert array.type == MIXED
    array.validate(full=True)
    assert repr(mixed_values(array)) == repr(values)


def test_numbers_that_json_does_not_know_are_missing() -> None:
    values = [math.nan, "a", math.inf, [1, math.nan, {"x": -math.inf}], np.array([1.5, np.nan]), np.int64(3)]
    assert mixed_values(mixed_array(values)) == [None, "a", None, [1, None, {"x": None}], [1.5, None], 3]


@pytest.mark.parametrize("value", [object(), b"bytes", [{1, 2}], pd.Timestamp("2020-01-01")])
def test_what_json_does_not_know_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="not known to JSON"):
        mixed_array([1, value])


def test_a_text_of_others_that_is_no_json_stays_a_text() -> None:
    others = pa.ExtensionArray.from_storage(MIXED, pa.array(["{", "1", None]))
    assert mixed_values(others) == ["{", 1, None]


def test_pandas_has_the_values_and_gives_them_back() -> None:
    frame = to_library(TableFrame(TABLE), FrameLibrary.PANDAS)
    assert frame["mixed"].tolist() == VALUES
    assert list(map(type, frame["mixed"])) == list(map(type, VALUES))
    again = to_table(frame[frame["n"] > 1])
    assert again.column("mixed").type == MIXED
    assert mixed_values(again.column("mixed")) == VALUES[2:]
    assert again.column_names[:2] == ["n", "mixed"]


@pytest.mark.parametrize("library", [FrameLibrary.PYARROW, FrameLibrary.POLARS])
def test_other_libraries_pass_the_column_on(library: FrameLibrary) -> None:
    again = to_table(to_library(TableFrame(TABLE), library))
    assert mixed_values(again.column("mixed")) == VALUES


def test_objects_of_pandas_that_are_no_plain_values_are_refused_by_the_name_of_their_column() -> None:
    frame = pd.DataFrame({"good": pd.Series([1, "a"], dtype=object), "wrong": pd.Series([1, object()], dtype=object)})
    with pytest.raises(pa.ArrowException, match="wrong"):
        to_table(frame)


def test_scripts_find_text_as_it_is_and_the_rest_as_json(tmp_path: Path) -> None:
    write_csv(TABLE.select(["mixed"]).slice(0, 5), tmp_path / "data.csv")
    assert (tmp_path / "data.csv").read_text().splitlines() == [
        "mixed",
        "1",
        '"a,b"',
        '""',
        '"[true, {""x"": 1180591620717411303424}]"',
        "2.5",
    ]
    assert read_csv(tmp_path / "data.csv", TABLE.schema).column("mixed").to_pylist()[:2] == ["1", "a,b"]
