"""Frames in JSON, to Arrow and back."""

import csv
import io
import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelwire_server.errors import FrameTooLarge, InvalidFrame
from modelwire_server.frames import FrameLimits, read_frame, write_frame
from modelwire_server.gateway.frames import (
    MAX_ERRORS,
    InvalidJsonFrame,
    frame_from_json,
    frame_to_csv,
    frame_to_json,
    records_json,
    schema_fields,
)
from modelwire_server.gateway.json_text import parse_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAME = TEXT.filter(lambda name: "\0" not in name)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = [INTEGERS, st.integers(0, 2**64 - 1), st.integers(), FLOATS, st.booleans(), TEXT, st.none()]
NESTED = st.recursive(
    st.one_of(*SCALARS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
# Columns of one kind with and without nulls, of two kinds, and of anything.
COLUMN = st.sampled_from([*SCALARS, *(kind | st.none() for kind in SCALARS), INTEGERS | TEXT, st.booleans() | INTEGERS, NESTED])


@st.composite
def frames(draw: st.DrawFn) -> dict[str, Any]:
    """Frames without columns of integers and floats, which have tests of their own."""
    names = draw(st.lists(NAME, max_size=5, unique=True))
    kinds = [draw(COLUMN) for _ in names]
    data = [[draw(kind) for kind in kinds] for _ in range(draw(st.integers(0, 5)))]
    return {"columns": names, "data": data}


def column(values: list[Any], kind: str = "") -> pa.ChunkedArray:
    return table_of(values, kind).column("x")


def table_of(values: list[Any], kind: str = "") -> pa.Table:
    schema = {"fields": [{"name": "x", "type": kind}]} if kind else None
    return frame_from_json({"columns": ["x"], "data": [[value] for value in values], "schema": schema})


def written(table: pa.Table) -> Any:
    return json.loads(frame_to_json(table))


def data(table: pa.Table) -> list[Any]:
    return [row[0] for row in written(table)["data"]]


def through_arrow(table: pa.Table) -> pa.Table:
    """As services and the store hand it on."""
    return read_frame(write_frame(table), FrameLimits(), "data")


@settings(max_examples=400, deadline=None)
@given(frames())
@example({"columns": [], "data": [[], []]})
@example({"columns": ["a"], "data": []})
@example({"columns": ["a"], "data": [[{"\0": 1}]]})
@example({"columns": ["a", "b"], "data": [[2**60, {"x": 1}], [None, {"y": [None]}]]})
def test_a_frame_comes_back_as_it_was(frame: dict[str, Any]) -> None:
    table = frame_from_json(parse_json(json.dumps(frame).encode()))
    again = written(through_arrow(table))
    assert again["columns"] == frame["columns"]
    assert again["data"] == frame["data"]
    assert [field["name"] for field in again["schema"]["fields"]] == frame["columns"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(*SCALARS), max_size=8))
def test_values_keep_their_very_spelling_unless_whole_floats_stand_among_integers(values: list[Any]) -> None:
    again = data(table_of(values))
    assert again == values
    kinds = {type(value) for value in values if value is not None}
    if kinds != {int, float} or not any(isinstance(value, float) and value.is_integer() for value in values):
        assert list(map(repr, again)) == list(map(repr, values))


TYPED: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int64(), INTEGERS),
    (pa.float64(), FLOATS),
    (pa.bool_(), st.booleans()),
    (pa.string(), TEXT),
    (pa.list_(pa.float64()), st.lists(FLOATS, min_size=1, max_size=3)),
    (pa.struct([("a", pa.int64()), ("b", pa.string())]), st.fixed_dictionaries({"a": st.integers(-9, 9), "b": TEXT})),
]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_tables_come_back_with_their_types(drawn: st.DataObject) -> None:
    rows = drawn.draw(st.integers(1, 5))
    columns = {}
    for number, (kind, values) in enumerate(drawn.draw(st.lists(st.sampled_from(TYPED), min_size=1, max_size=4))):
        first = drawn.draw(values)
        columns[f"c{number}"] = pa.array([first, *drawn.draw(st.lists(st.none() | values, min_size=rows, max_size=rows))], kind)
    table = pa.table(columns)
    assert frame_from_json(orjson.loads(frame_to_json(table))).equals(table)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], pa.int64()),
        ([1, None], pa.int64()),
        ([2**60, 2**63 - 1, -(2**63)], pa.int64()),
        ([2**64 - 1, None], pa.uint64()),
        ([2**64], pa.json_()),
        ([-1, 2**63], pa.json_()),
        ([1.0, None], pa.float64()),
        ([1, 2.5], pa.float64()),
        ([1, 2.0, None], pa.float64()),
        ([2**53 + 1, 0.5], pa.json_()),
        ([True, None], pa.bool_()),
        ([True, 1], pa.json_()),
        (["a", None], pa.string()),
        (["a", 1, 2.5, True, None], pa.json_()),
        ([None], pa.null()),
        ([], pa.null()),
        ([[1, 2], None, []], pa.list_(pa.int64())),
        ([[1, 2.5], [3]], pa.list_(pa.float64())),
        ([[1], ["a"]], pa.json_()),
        ([[1], 1], pa.json_()),
        ([{"a": 1}, {"a": 2}], pa.struct([("a", pa.int64())])),
        ([{"a": 1}, {"b": 2}], pa.json_()),
        ([{"a": 2**70}], pa.json_()),
        ([{}], pa.struct([])),
    ],
)
def test_types_follow_the_values(values: list[Any], kind: pa.DataType) -> None:
    table = table_of(values)
    assert table.schema.field("x").type == kind
    assert data(table) == values


@pytest.mark.parametrize(
    ("values", "declared", "kind"),
    [
        ([1, 2], "number", pa.float64()),
        ([2**53 + 1], "number", pa.int64()),
        ([None, None], "number", pa.float64()),
        ([None], "string", pa.string()),
        ([None], "any", pa.null()),
        ([], "boolean", pa.bool_()),
        ([1, "a"], "integer", pa.json_()),
        (["a"], "number", pa.string()),
        ([2.5], "integer", pa.float64()),
    ],
)
def test_the_schema_is_a_hint_that_changes_no_value(values: list[Any], declared: str, kind: pa.DataType) -> None:
    table = table_of(values, declared)
    assert table.schema.field("x").type == kind
    assert list(map(repr, data(table))) == list(map(repr, values))


def test_numbers_of_both_kinds_are_spelled_as_they_came() -> None:
    assert repr(data(table_of([1, 2.5, None]))) == "[1, 2.5, None]"
    assert repr(data(table_of([1, 2.0, 2.5]))) == "[1.0, 2.0, 2.5]"
    assert repr(data(table_of([1, -0.0]))) == "[1.0, -0.0]"


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [24, 25, 64, 200])
def test_deeply_nested_values_pass(levels: int) -> None:
    assert data(through_arrow(table_of([nested(levels)]))) == [nested(levels)]


def test_values_nested_beyond_all_measure_are_refused() -> None:
    with pytest.raises(InvalidJsonFrame, match="nested too deeply"):
        table_of([nested(1010)])


def test_objects_with_keys_of_their_own_take_no_space_for_the_keys_of_others() -> None:
    values = [[{f"key {number}": number}] for number in range(20_000)]
    table = table_of(values)
    assert table.nbytes < 1_000_000
    assert data(table) == values


def test_titles_and_descriptions_come_back() -> None:
    fields = [{"name": "a", "type": "integer", "title": "A", "description": "The first"}, {"name": "b", "type": "string"}]
    schema = {"fields": [fields[0], {**fields[1], "title": None}, {"name": "not there", "type": "any"}]}
    table = frame_from_json({"columns": ["a", "b"], "data": [[1, "x"]], "schema": schema, "index": [0], "column_types": {}})
    assert written(table)["schema"] == {"fields": fields}


@pytest.mark.parametrize(
    ("frame", "errors"),
    [
        (None, [("model_attributes_type", "data", None)]),
        ([{"a": 1}], [("model_attributes_type", "data", [{"a": 1}])]),
        ({}, [("missing", "data.columns", {}), ("missing", "data.data", {})]),
        ({"columns": ["a", 1], "data": [[1], 2]}, [("string_type", "data.columns[1]", 1), ("list_type", "data.data[1]", 2)]),
        ({"columns": ["a"], "data": [{"a": 1}]}, [("list_type", "data.data[0]", {"a": 1})]),
        ({"columns": ["a"], "data": {"a": [1]}}, [("list_type", "data.data", {"a": [1]})]),
        ({"columns": ["a", "b", "a"], "data": []}, [("value_error", "data.columns[2]", "a")]),
        ({"columns": ["a\0"], "data": []}, [("value_error", "data.columns[0]", "a\0")]),
        (
            {"columns": ["a"], "data": [], "schema": {"fields": [{"name": 1, "type": "float"}]}},
            [("string_type", "data.schema.fields[0].name", 1), ("literal_error", "data.schema.fields[0].type", "float")],
        ),
        ({"columns": ["a"], "data": [], "schema": {}}, [("missing", "data.schema.fields", {})]),
    ],
)
def test_what_is_no_frame_is_refused_by_field(frame: Any, errors: list[tuple[str, str, Any]]) -> None:
    with pytest.raises(InvalidJsonFrame) as caught:
        frame_from_json(frame)
    found = caught.value
    assert [
        (error["type"], violation.field, error["input"]) for error, violation in zip(found.errors, found.violations, strict=True)
    ] == errors
    assert found.message.startswith(errors[0][1])


@pytest.mark.parametrize(
    ("rows", "number", "text"),
    [
        ([[1, 2]] * 17 + [[1]] + [[1, 2]], 17, "row 18 has 1 value for 2 columns"),
        ([[1, 2], []], 1, "row 2 has 0 values for 2 columns"),
        ([[1, 2, 3]], 0, "row 1 has 3 values for 2 columns"),
        # As many values as there should be, in the wrong rows.
        ([[1, 2, 3], [4]], 0, "row 1 has 3 values for 2 columns"),
    ],
)
def test_ragged_rows_are_refused_by_number(rows: list[list[int]], number: int, text: str) -> None:
    with pytest.raises(InvalidJsonFrame, match=text) as caught:
        frame_from_json({"columns": ["a", "b"], "data": rows}, "historic")
    assert caught.value.violations[0].field == f"historic.data[{number}]"
    assert caught.value.errors[0]["loc"] == ("data", number)


def test_not_every_wrong_row_is_told() -> None:
    with pytest.raises(InvalidJsonFrame) as caught:
        frame_from_json({"columns": ["a"], "data": [1] * 1000})
    assert len(caught.value.errors) == len(caught.value.violations) == MAX_ERRORS


@pytest.mark.parametrize(
    ("array", "kind", "values"),
    [
        (pa.array([1, None], pa.int8()), "integer", [1, None]),
        (pa.array([2**63 + 1], pa.uint64()), "integer", [2**63 + 1]),
        (pa.array([1.5, float("nan"), float("-inf"), None]), "number", [1.5, None, None, None]),
        (pa.array([0.5, None], pa.float16()), "number", [0.5, None]),
        (pa.array([0.1], pa.float32()), "number", [0.10000000149011612]),
        (pa.array([Decimal("1.5"), None]), "number", [1.5, None]),
        (pa.array([True, None]), "boolean", [True, None]),
        (pa.array(["a", None, "b"]).dictionary_encode(), "string", ["a", None, "b"]),
        (pa.array([3, None, 4]).dictionary_encode(), "integer", [3, None, 4]),
        (pa.array(["a", None], pa.large_string()), "string", ["a", None]),
        (pa.array(["a", None], pa.string_view()), "string", ["a", None]),
        (pa.array([b"\xff", None]), "any", ["/w==", None]),
        (pa.array([date(2020, 1, 2), None]), "any", ["2020-01-02", None]),
        (pa.array([time(1, 2, 3)]), "any", ["01:02:03"]),
        (pa.array([datetime(2020, 1, 2)]), "any", ["2020-01-02T00:00:00"]),  # noqa: DTZ001
        (pa.array([datetime(2020, 1, 2, 3, 4, 5, 6, UTC)]), "any", ["2020-01-02T03:04:05.000006+00:00"]),
        (pa.array([1], pa.timestamp("ns")), "any", ["1970-01-01T00:00:00.000000001"]),
        (pa.array([timedelta(seconds=1.5)]), "any", [1.5]),
        (pa.array([{"a": [float("nan"), 1.0], "b": date(2020, 1, 2)}]), "any", [{"a": [None, 1.0], "b": "2020-01-02"}]),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "any", [[["k", 1]]]),
        (pa.nulls(2), "any", [None, None]),
    ],
)
def test_values_are_written_as_json_knows_them(array: pa.Array, kind: str, values: list[Any]) -> None:
    table = pa.table({"x": array})
    assert schema_fields(table) == [{"name": "x", "type": kind}]
    assert data(table) == values
    assert json.loads(records_json(table)) == [{"x": value} for value in values]
    in_chunks = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert data(in_chunks) == values


def test_types_of_columns_may_be_known_by_their_names() -> None:
    table = frame_from_json({"columns": ["population", "disease_cases", "rainfall", "x", "y"], "data": [[1.5, 1, None, 1, 1]]})
    types = {field["name"]: field["type"] for field in schema_fields(table, {"x": "number", "rainfall": "any"})}
    assert types == {"population": "integer", "disease_cases": "number", "rainfall": "number", "x": "number", "y": "integer"}


@pytest.mark.parametrize(
    ("values", "kind"), [([2**70, 1, None], "integer"), ([2**70, 2.5], "number"), ([2**70, True], "any"), (["a", 1], "any")]
)
def test_types_of_mixed_columns_follow_the_values(values: list[Any], kind: str) -> None:
    assert schema_fields(table_of(values)) == [{"name": "x", "type": kind}]


def test_records_are_objects() -> None:
    frame = {"columns": ["a", "b"], "data": [[1, "x"], [None, 2**70]]}
    assert json.loads(records_json(frame_from_json(frame))) == [{"a": 1, "b": "x"}, {"a": None, "b": 2**70}]
    assert records_json(frame_from_json({"columns": ["a"], "data": []})) == b"[]"


def test_what_others_pass_for_json_breaks_no_answer() -> None:
    texts = ['{"a":\n1}', "[1", "1 2", None, "NaN"]
    table = pa.table({"x": pa.ExtensionArray.from_storage(pa.json_(), pa.array(texts))})
    answer = frame_to_json(table)
    assert b"\n" not in answer
    assert data(table) == [{"a": 1}, "[1", "1 2", None, "NaN"]
    assert orjson.loads(answer)


@pytest.mark.parametrize("array", [pa.array([2**62]).cast(pa.timestamp("s")), pa.array([2**30], pa.int32()).cast(pa.date32())])
def test_times_out_of_reach_can_only_be_had_as_arrow(array: pa.Array) -> None:
    for write in (frame_to_json, records_json, frame_to_csv):
        with pytest.raises(InvalidFrame, match="column 'x' cannot be written"):
            write(pa.table({"x": array}))


def test_a_long_text_repeated_by_a_dictionary_is_not_written_out() -> None:
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int8()), pa.array(["x" * 10_000]))
    for write in (frame_to_json, records_json, frame_to_csv):
        with pytest.raises(FrameTooLarge, match="ask for Arrow"):
            write(pa.table({"x": text}))


def test_csv_has_crlf_empty_cells_and_values_as_they_are() -> None:
    rows = [["001", 1, 2.5, True, None, [1, {"b": None}], 3], ['a,"b"\n', None, 3, False, None, None, "x"]]
    table = frame_from_json({"columns": ["t", "i", "f", "b", "n", "l", "m"], "data": rows})
    assert frame_to_csv(table).decode().split("\r\n") == [
        "t,i,f,b,n,l,m",
        '001,1,2.5,True,,"[1,{""b"":null}]",3',
        '"a,""b""\n",,3,False,,,x',
        "",
    ]


def test_csv_has_times_bytes_and_numbers_that_are_none() -> None:
    table = pa.table(
        {
            "d": [date(2020, 1, 2)],
            "b": [b"\xff"],
            "f": [math.nan],
            "t": [datetime(2020, 1, 2, tzinfo=UTC)],
            "u": pa.array([2**63], pa.uint64()),
        }
    )
    rows = list(csv.reader(io.StringIO(frame_to_csv(table).decode(), newline="")))
    assert rows[1] == ["2020-01-02", "/w==", "nan", "2020-01-02T00:00:00+00:00", "9223372036854775808"]
