"""Columns and rows to Arrow and back."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from modelwire_server.errors import FrameTooLarge, InvalidFrame
from modelwire_server.rows import ColumnInfo, rows_from_table, table_from_rows


def column(values: list[Any], kind: str = "") -> pa.ChunkedArray:
    schema = [ColumnInfo("x", kind)] if kind else []
    return table_from_rows(["x"], [[value] for value in values], schema).column("x")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.0, 2.0], pa.int64()),
        ([1.0, None], pa.int64()),
        ([float(2**53), -float(2**53)], pa.int64()),
        ([1.0, 2.5], pa.float64()),
        ([float(2**54)], pa.float64()),
        ([float("nan"), 1.0], pa.float64()),
        ([float("inf")], pa.float64()),
        ([True, None], pa.bool_()),
        (["a", None], pa.string()),
        ([None, None], pa.null()),
        ([], pa.null()),
        ([[1.0, 2.0], None, []], pa.list_(pa.int64())),
        ([[1.0, 2.5]], pa.list_(pa.float64())),
        ([{"a": 1.0, "b": [2.5]}, None], pa.struct([("a", pa.int64()), ("b", pa.list_(pa.float64()))])),
        ([{}], pa.struct([])),
    ],
)
def test_types_are_inferred(values: list[Any], kind: pa.DataType) -> None:
    array = column(values)
    assert array.type == kind
    if "nan" not in str(values):
        assert array.to_pylist() == values


@pytest.mark.parametrize(
    ("values", "declared", "kind"),
    [
        ([1.0, 2.0], "number", pa.float64()),
        ([1.0, None], "integer", pa.int64()),
        ([None], "string", pa.string()),
        ([], "boolean", pa.bool_()),
        ([1.0], "any", pa.int64()),
        ([2**60, 1], "integer", pa.int64()),
    ],
)
def test_types_can_be_declared(values: list[Any], declared: str, kind: pa.DataType) -> None:
    array = column(values, declared)
    assert array.type == kind
    assert array.to_pylist() == values


@pytest.mark.parametrize(
    ("values", "declared", "words"),
    [
        ([1.0, 2.5], "integer", r"row 2, column 'x': 2.5 is no integer"),
        ([True], "number", "row 1, column 'x': True is no number"),
        ([1.0], "string", "1.0 is no string"),
        (["a"], "boolean", "'a' is no boolean"),
        ([float("nan")], "integer", "nan is no integer"),
        ([2**64], "integer", "column 'x'"),
        ([1.0, "a"], "", "row 2, column 'x': text after a number"),
        ([None, True, None, 1.0], "", "row 4, column 'x': a number after a boolean"),
        ([[1.0], ["a"]], "", "column 'x'"),
    ],
)
def test_values_of_another_type_are_refused(values: list[Any], declared: str, words: str) -> None:
    with pytest.raises(InvalidFrame, match=words) as caught:
        column(values, declared)
    assert caught.value.metadata["field"].startswith("frame")


@pytest.mark.parametrize(
    ("columns", "rows", "schema", "field", "words"),
    [
        (["a", "b", "c"], [[1.0] * 3, [1.0] * 3, [1.0] * 2], [], "data.data[2]", "row 3 has 2 values for 3 columns"),
        (["a"], [[1.0, 2.0]], [], "data.data[0]", "row 1 has 2 values for 1 column$"),
        (["a", "a"], [], [], "data.columns", "'a' is there more than once"),
        (["a"], [], [ColumnInfo("b")], "data.schema.fields[0].name", "there is no column 'b'"),
        (["a"], [], [ColumnInfo("a", "float")], "data.schema.fields[0].type", "'float' is none of"),
        (["a"], [], [ColumnInfo("a"), ColumnInfo("a")], "data.schema", "described more than once"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    columns: list[str], rows: list[list[Any]], schema: list[ColumnInfo], field: str, words: str
) -> None:
    with pytest.raises(InvalidFrame, match=words) as caught:
        table_from_rows(columns, rows, schema, "data")
    assert caught.value.violations[0].field == field


def test_columns_come_back_with_their_description() -> None:
    schema = [ColumnInfo("a", "number", "A", "The first")]
    table = table_from_rows(["a", "b"], [[1.0, "x"], [None, None]], schema)
    assert rows_from_table(table) == (
        ["a", "b"],
        [[1.0, "x"], [None, None]],
        [ColumnInfo("a", "number", "A", "The first"), ColumnInfo("b", "string")],
    )


def test_a_column_declared_as_any_holds_values_of_any_kind() -> None:
    rows: list[list[Any]] = [[True], [1.0], [None], ["a"], [[1.0, {"b": 2.5}]]]
    table = table_from_rows(["x"], rows, [ColumnInfo("x", "any")])
    assert table.schema.field("x").type == pa.json_()
    assert table.column("x").to_pylist() == ["true", "1", None, '"a"', '[1,{"b":2.5}]']
    assert rows_from_table(table) == (["x"], rows, [ColumnInfo("x", "any")])


@pytest.mark.parametrize(
    "values",
    [
        [{"a": 1.0}, {"b": 2.5}],
        [[{"a": 1.0}], [{"a": 1.0, "b": 2.0}]],
        [{"a": {"b": True}}, {"a": {"c": None}}],
        [{"a\0": 1.0}],
    ],
)
def test_what_arrow_has_no_types_for_is_kept_as_it_is(values: list[Any]) -> None:
    array = column(values)
    assert array.type == pa.json_()
    assert rows_from_table(pa.table({"x": array}))[1] == [[value] for value in values]


def test_rows_without_columns_stay_rows() -> None:
    assert rows_from_table(pa.table({"a": [1, 2]}).select([])) == ([], [[], []], [])


@pytest.mark.parametrize(
    ("array", "kind", "values"),
    [
        (pa.array([1, None], pa.int8()), "integer", [1, None]),
        (pa.array([2**53 + 1, 1]), "string", ["9007199254740993", "1"]),
        (pa.array([1.5, float("nan"), float("-inf")]), "number", [1.5, None, None]),
        (pa.array([Decimal("1.5")]), "number", [1.5]),
        (pa.array(["a", "b"]).dictionary_encode(), "string", ["a", "b"]),
        (pa.array([b"\xff"]), "any", ["/w=="]),
        (pa.array([datetime(2020, 1, 2, tzinfo=UTC)]), "any", ["2020-01-02T00:00:00+00:00"]),
        (pa.array([timedelta(seconds=1.5)]), "any", [1.5]),
        (pa.array([{"a": [float("nan"), 1.0]}]), "any", [{"a": [None, 1.0]}]),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "any", [[["k", 1]]]),
        (pa.nulls(2), "any", [None, None]),
        (pa.array([True]), "boolean", [True]),
    ],
)
def test_values_are_such_as_json_knows(array: pa.Array, kind: str, values: list[Any]) -> None:
    _, rows, schema = rows_from_table(pa.table({"x": array}))
    assert schema == [ColumnInfo("x", kind)]
    assert [row[0] for row in rows] == values


@pytest.mark.parametrize(
    "array",
    [
        pa.array([2**62]).cast(pa.timestamp("s")),
        pa.array([2**62]).cast(pa.duration("s")),
        pa.array([2**30], pa.int32()).cast(pa.date32()),
    ],
)
def test_times_out_of_reach_can_only_be_had_as_arrow(array: pa.Array) -> None:
    with pytest.raises(InvalidFrame, match="ask for Arrow"):
        rows_from_table(pa.table({"x": array}))


def test_a_long_text_repeated_by_a_dictionary_is_not_written_out() -> None:
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int8()), pa.array(["x" * 10_000]))
    with pytest.raises(FrameTooLarge, match="ask for Arrow"):
        rows_from_table(pa.table({"x": text}))
