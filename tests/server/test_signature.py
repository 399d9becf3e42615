"""What a training knew of its columns, and what the frame of a prediction is held against."""

import datetime as dt
import json
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire_runners.mixed import mixed_array
from modelwire_server.casts import type_named
from modelwire_server.columns import MAX_CATEGORIES, SchemaPolicy
from modelwire_server.errors import SchemaViolation
from modelwire_server.signature import MAX_BYTES, Signature

moment = dt.datetime
STRICT, SAFE, OFF = SchemaPolicy.STRICT, SchemaPolicy.SAFE, SchemaPolicy.OFF
PARIS = "Europe/Paris"
COLORS = pa.array(["red", "green", "blue"]).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))


def trained_on(*, targets: tuple[str, ...] = (), **columns: Any) -> Signature:
    """The signature as it comes back from where it was stored."""
    return Signature.from_json(json.loads(json.dumps(Signature.of(pa.table(columns), targets).to_json())))


def adapted(signature: Signature, table: pa.Table, policy: SchemaPolicy = SAFE) -> pa.Table:
    return signature.adaptation(table.schema, policy).apply(table)


def one(trained: Any, came: Any, policy: SchemaPolicy = SAFE) -> pa.ChunkedArray:
    return adapted(trained_on(x=trained), pa.table({"x": came}), policy).column("x")


def wrong(trained: Any, came: Any, policy: SchemaPolicy = SAFE) -> str:
    """What is told of the only column."""
    with pytest.raises(SchemaViolation) as raised:
        one(trained, came, policy)
    assert [violation.field for violation in raised.value.violations] == ["future.x"]
    return raised.value.violations[0].description


def test_a_training_is_recorded() -> None:
    table = pa.table({"n": pa.array([1, None]), "color": COLORS[:2], "js": pa.array(["a", "b"]).dictionary_encode(), "y": [0.5, 1]})
    predictions = pa.schema([("p", pa.float32())])
    assert Signature.of(table, ["y"], predictions).to_json() == {
        "inputs": [
            {"name": "n", "type": "int64", "nullable": True},
            {
                "name": "color",
                "type": "dictionary<values=string, indices=int8, ordered=0>",
                "nullable": False,
                "categories": ["red", "green", "blue"],
            },
            {
                "name": "js",
                "type": "dictionary<values=string, indices=int32, ordered=0>",
                "nullable": False,
                "categories": ["a", "b"],
                "open": True,
            },
        ],
        "outputs": [{"name": "p", "type": "float"}],
        "targets": ["y"],
    }


def test_many_categories_are_not_recorded_but_said() -> None:
    many = pd.Series([f"c{n}" for n in range(MAX_CATEGORIES + 1)], dtype="category")
    signature = trained_on(x=pa.Array.from_pandas(many))
    assert signature.inputs[0].categories is None
    assert signature.inputs[0].note == f"{MAX_CATEGORIES + 1} categories are too many to be recorded"
    assert adapted(signature, pa.table({"x": ["other", None]})).column("x").to_pylist() == ["other", None]
    other = pa.array(["other"], pa.large_string()).dictionary_encode()
    assert adapted(signature, pa.table({"x": other}), STRICT).column("x").to_pylist() == ["other"]


def test_categories_give_way_before_columns_do() -> None:
    colors = pa.array([f"category number {n}" for n in range(400)]).dictionary_encode()
    document = Signature.of(pa.table({f"x{n}": colors for n in range(100)}), ()).to_json()
    assert len(json.dumps(document)) < MAX_BYTES
    assert document["inputs"][99]["note"] == "400 categories are too many to be recorded"


def test_a_frame_of_very_many_columns_is_not_recorded_but_said() -> None:
    document = Signature.of(pa.table({f"column {n}": [1.0] for n in range(3000)}), ()).to_json()
    assert document == {"note": "3000 columns are too many to be recorded; predictions are not held against them"}
    assert Signature.from_metadata({"signature": document}) is None


@pytest.mark.parametrize(
    "metadata", [{}, {"signature": None}, {"signature": 1}, {"signature": {"inputs": [3]}}, {"signature": "x"}]
)
def test_a_model_without_a_signature_is_not_checked(metadata: dict[str, Any]) -> None:
    assert Signature.from_metadata(metadata) is None


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(),
        pa.float16(),
        pa.timestamp("us", PARIS),
        pa.timestamp("ns"),
        pa.date64(),
        pa.decimal128(10, -2),
        pa.list_(pa.large_list(pa.float32())),
        pa.dictionary(pa.uint32(), pa.large_string(), ordered=True),
        pa.time64("us"),
        pa.string_view(),
    ],
    ids=str,
)
def test_the_names_of_types_can_be_read_back(kind: pa.DataType) -> None:
    assert type_named(str(kind)) == kind


@pytest.mark.parametrize("kind", [pa.struct([("a", pa.int64())]), pa.map_(pa.string(), pa.int8())], ids=str)
def test_types_without_a_readable_name_must_be_the_same(kind: pa.DataType) -> None:
    assert type_named(str(kind)) is None
    column = pa.nulls(2, kind)
    assert one(column, column).equals(pa.chunked_array([column]))
    assert wrong(column, pa.array([1])) == f"was {kind} in the training and is int64 here: send it as {kind}"


@pytest.mark.parametrize(
    ("trained", "came"),
    [
        (pa.array([1.5]), pa.array([1, None, 2**53])),
        (pa.array([1.5]), pa.array([True])),
        (pa.array([1.5]), pa.array([1.5], pa.float32())),
        (pa.array([1.5], pa.float32()), pa.array([7], pa.int8())),
        (pa.array([1]), pa.array([1], pa.int8())),
        (pa.array([1], pa.int8()), pa.array([127])),
        (pa.array([1], pa.uint8()), pa.array([255])),
        (pa.array(["a"]), pa.array(["b"], pa.large_string())),
        (pa.array(["a"]), pa.array(["b", None]).dictionary_encode()),
        (pa.array(["a"], pa.large_string()), pa.array(["b"], pa.string_view())),
        (pa.array([b"a"]), pa.array([b"b"], pa.binary(1))),
        (pa.array([moment(2024, 1, 1)], pa.timestamp("ns")), pa.array([moment(2024, 1, 1, 5)], pa.timestamp("us"))),
        (pa.array([0], pa.timestamp("s")), pa.array([2000], pa.timestamp("ms"))),
        (pa.array([0], pa.timestamp("s", PARIS)), pa.array([2000], pa.timestamp("ms", "UTC"))),
        (pa.array([0], pa.time32("s")), pa.array([2_000_000], pa.time64("us"))),
        (pa.array([0], pa.duration("s")), pa.array([2000], pa.duration("ms"))),
        (pa.array([[1.5]]), pa.array([[1, 2], None])),
        (pa.array([1], pa.decimal128(10, 4)), pa.array([1], pa.decimal128(5, 2))),
        (pa.array([1]), pa.nulls(2)),
        (pa.array(["a"]), pa.nulls(2)),
        (pa.array(["a"]).dictionary_encode(), pa.nulls(2)),
    ],
    ids=str,
)
def test_what_loses_nothing_is_converted(trained: pa.Array, came: pa.Array) -> None:
    column = one(trained, came)
    assert column.type == trained.type
    assert column.to_pylist() == came.to_pylist()
    if came.null_count < len(came):
        assert (
            wrong(trained, came, STRICT) == f"was {trained.type} in the training and is {came.type} here: send it as {trained.type}"
        )


@pytest.mark.parametrize(
    ("trained", "came", "told"),
    [
        (pa.array([1.5]), pa.array([0, 2**53 + 1]), "holds 9007199254740993 here, which double cannot hold"),
        (pa.array([1.5], pa.float16()), pa.array([2049]), "holds 2049 here, which halffloat cannot hold"),
        (pa.array([1], pa.int8()), pa.array([127, 128]), "holds 128 here, which int8 cannot hold"),
        (pa.array([1]), pa.array(["1"]), "was int64 in the training and is string here: send it as int64"),
        (pa.array(["1"]), pa.array([1]), "was string in the training and is int64 here"),
        (pa.array([True]), pa.array([1]), "was bool in the training and is int64 here"),
        (pa.array([0], pa.timestamp("s")), pa.array([1500], pa.timestamp("ms")), "which timestamp[s] cannot hold"),
        (pa.array([0], pa.timestamp("s")), pa.array([0], pa.timestamp("s", "UTC")), "and is timestamp[s, tz=UTC] here"),
        (pa.array([0], pa.date32()), pa.array([1], pa.timestamp("s")), "which date32[day] cannot hold"),
        (pa.array([0], pa.date32()), pa.array(["soon"]), "holds 'soon' here"),
        (pa.array([1], pa.decimal128(5, 2)), pa.array(["0.001"]).cast(pa.decimal128(9, 4)), "holds 0.0010 here"),
        (
            COLORS,
            pa.array(["red", "purple"]),
            "holds 'purple', which is none of the 3 categories of the training: send one of 'red'",
        ),
    ],
    ids=str,
)
def test_what_would_lose_something_is_told(trained: pa.Array, came: pa.Array, told: str) -> None:
    assert told in wrong(trained, came)


def test_text_becomes_times() -> None:
    column = one(pa.array([0], pa.date32()), pa.array(["2024-02-29", None]))
    assert column.to_pylist() == [dt.date(2024, 2, 29), None]
    column = one(pa.array([0], pa.timestamp("us")), pa.array(["2024-02-29T12:00:00.5"]))
    assert column.to_pylist() == [moment(2024, 2, 29, 12, 0, 0, 500_000)]


@pytest.mark.parametrize("trained", [pa.array([1.5], pa.float32()), pa.array([1]), pa.array([1], pa.uint8())])
def test_floats_stay_what_they_are_where_there_were_fewer_numbers(trained: pa.Array) -> None:
    came = pa.array([0.1, 2.0, None])
    assert one(trained, came) == pa.chunked_array([came])


@pytest.mark.parametrize("policy", [SAFE, STRICT])
def test_categories_get_the_numbers_of_the_training(policy: SchemaPolicy) -> None:
    came = pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.int32()), ["green", "blue"])
    assert came.type != COLORS.type
    column = one(pa.concat_arrays([COLORS, pa.nulls(1, COLORS.type)]), came, policy)
    assert column.type == COLORS.type
    assert column.to_pylist() == ["blue", None, "green"]
    assert column.chunk(0).indices.to_pylist() == [2, None, 1]
    assert "purple" in wrong(COLORS, pa.array(["purple"]).dictionary_encode(), policy)


def test_the_categories_of_the_training_stay_as_they_are() -> None:
    signature, table = trained_on(x=COLORS), pa.table({"x": COLORS})
    assert adapted(signature, table).column("x").chunk(0).dictionary.equals(COLORS.dictionary)


def test_text_that_is_only_encoded_may_hold_anything() -> None:
    trained = pa.array(["a", "b"]).dictionary_encode()
    column = one(trained, pa.array(["c", "b", "c"]).dictionary_encode())
    assert column.to_pylist() == ["c", "b", "c"]
    assert column.chunk(0).indices.to_pylist() == [2, 1, 2]
    assert one(trained, pa.array(["c"])).to_pylist() == ["c"]
    assert "holds 'c', which is none of the 2 categories" in wrong(trained, pa.array(["c"]).dictionary_encode(), STRICT)


def test_a_mixed_column_takes_what_the_training_took() -> None:
    trained = mixed_array([1, "a"])
    for came in mixed_array([None, [1]]), pa.array([1, 2]), pa.array(["a"]):
        assert one(trained, came).chunk(0).equals(came)
    assert one(pa.nulls(2), pa.array([1.5])).to_pylist() == [1.5]


def test_nulls_are_wrong_under_the_strict_policy_only() -> None:
    came = pa.array([1, None, 3])
    assert one(pa.array([1]), came).to_pylist() == [1, None, 3]
    assert one(pa.array([1, None]), came, STRICT).to_pylist() == [1, None, 3]
    assert wrong(pa.array([1]), came, STRICT) == "has nulls in 1 of 3 rows and had none in the training: fill them"


def test_columns_come_in_the_order_of_the_training() -> None:
    signature = trained_on(a=[1], b=["x"], c=[1.5])
    table = pa.table({"extra": [0], "c": [2.5], "b": ["y"], "a": [2]}).replace_schema_metadata({"key": "value"})
    found = adapted(signature, table)
    assert found.column_names == ["a", "b", "c", "extra"]
    assert found.schema.metadata == {b"key": b"value"}
    with pytest.raises(SchemaViolation, match="'extra' is no column of the training: leave it out"):
        adapted(signature, table, STRICT)


def test_missing_columns_are_wrong_where_the_targets_are_known() -> None:
    table = pa.table({"a": [1]})
    assert adapted(trained_on(a=[1], b=[2], y=[3]), table).equals(table)
    with pytest.raises(SchemaViolation) as raised:
        adapted(trained_on(a=[1], b=[2], y=[3], targets=("y",)), table)
    assert [violation.field for violation in raised.value.violations] == ["future.b"]
    assert raised.value.violations[0].description == "is missing, it was int64 in the training: send it"


def test_all_that_is_wrong_is_told_at_once() -> None:
    signature = trained_on(a=[1], b=["x"], c=[1.5], d=COLORS[:1], y=[0], targets=("y",))
    table = pa.table({"a": ["1"], "b": [3], "d": ["purple"]})
    with pytest.raises(SchemaViolation) as raised:
        adapted(signature, table)
    assert {violation.field for violation in raised.value.violations} == {"future.a", "future.b", "future.c", "future.d"}
    assert raised.value.metadata == {"columns": "a,b,c,d", "policy": "safe"}
    assert "and 1 more column" in raised.value.message
    adaptation = signature.adaptation(table.schema, SAFE)
    assert not adaptation.is_identity
    with pytest.raises(SchemaViolation, match="'a' was int64"):
        adaptation.check()


def test_nothing_is_to_be_done_where_nothing_differs() -> None:
    table = pa.table({"a": [1], "b": ["x"]})
    signature = trained_on(a=[1], b=["x"], y=[0], targets=("y",))
    for policy in SAFE, OFF:
        adaptation = signature.adaptation(table.schema, policy)
        assert adaptation.is_identity
        assert adaptation.apply(table) is table
    assert signature.adaptation(pa.schema([("b", pa.string())]), OFF).is_identity
    adapted(signature, table, STRICT)


def test_pandas_forgets_what_it_knew_of_changed_columns() -> None:
    frame = pd.DataFrame({"x": pd.array([1, 2], dtype="Int64"), "y": pd.array([1, None], dtype="Int64")}, index=["a", "b"])
    table = pa.Table.from_pandas(frame)
    found = adapted(trained_on(x=[1.5], y=[1]), table).to_pandas()
    assert found["x"].dtype == "float64"
    assert found["y"].dtype == "Int64"
    assert list(found.index) == ["a", "b"]


NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans(), st.integers(-200, 300))
TIMES = st.datetimes(moment(1800, 1, 1), moment(2200, 1, 1))
KINDS = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64(), pa.bool_()),
    *(pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())),
    *(pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("ms", PARIS)),
    *(pa.list_(pa.int64()), pa.list_(pa.float64())),
]


@st.composite
def arrays(draw: st.DrawFn) -> pa.Array:
    """A column of some type with values that the type can hold."""
    kind = draw(st.sampled_from(KINDS))
    values: Any = st.text(max_size=3)
    if pa.types.is_temporal(kind):
        values = TIMES
    elif pa.types.is_list(kind):
        values = st.lists(NUMBERS, max_size=3)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        values = NUMBERS
    found = []
    for value in draw(st.lists(st.one_of(st.none(), values), max_size=5)):
        try:
            found.append(pa.scalar(value).cast(kind) if pa.types.is_temporal(kind) and value else pa.scalar(value, kind))
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            found.append(pa.scalar(None, kind) if not pa.types.is_dictionary(kind) else pa.scalar(None, pa.string()))
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    array = pa.array([one.as_py() if one.is_valid else None for one in found], plain)
    return array.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else array


@given(trained=arrays(), came=arrays(), policy=st.sampled_from([STRICT, SAFE]))
def test_values_stay_equal_or_a_violation_is_told(trained: pa.Array, came: pa.Array, policy: SchemaPolicy) -> None:
    signature, table = trained_on(x=trained), pa.table({"extra": came, "x": came}).select(["x"])
    try:
        column = adapted(signature, table, policy).column("x")
    except SchemaViolation:
        return
    assert list(map(comparable, column.to_pylist())) == list(map(comparable, came.to_pylist()))
    wider_float = pa.types.is_floating(column.type) and (pa.types.is_floating(trained.type) or pa.types.is_integer(trained.type))
    assert column.type == trained.type or wider_float


def comparable(value: Any) -> Any:
    """Dates as the midnights that they begin at."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return moment(value.year, value.month, value.day)
    return value.to_pydatetime(warn=False) if isinstance(value, pd.Timestamp) and value.nanosecond == 0 else value
