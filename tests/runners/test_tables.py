"""Tables that go through files and come back as they were."""

import datetime as dt
import decimal
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwire_runners.tables import TableError, read_arrow, read_csv, write_arrow, write_csv

moment = dt.datetime.fromisoformat
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12)
MICROSECOND = st.datetimes(moment("1700-01-01"), moment("2200-01-01"))
VALUES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), TEXT),
    (pa.large_string(), TEXT),
    (pa.bool_(), st.booleans()),
    (pa.int8(), st.integers(-128, 127)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.float32(), st.floats(width=32, allow_nan=False)),
    (pa.float16(), st.floats(width=16, allow_nan=False)),
    (pa.decimal128(20, 4), st.decimals(-(10**9), 10**9, places=4)),
    (pa.date32(), st.dates(dt.date(1700, 1, 1), dt.date(2200, 1, 1))),
    (pa.timestamp("us"), MICROSECOND),
    (pa.timestamp("ms", "UTC"), MICROSECOND.map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000))),
    (pa.timestamp("us", "Europe/Oslo"), st.datetimes(moment("1990-01-01"), moment("2030-01-01"))),
    (pa.time64("us"), st.times()),
    (pa.duration("us"), st.timedeltas(dt.timedelta(-1000), dt.timedelta(1000))),
    (pa.binary(), st.binary(max_size=8)),
    (pa.dictionary(pa.int32(), pa.string()), TEXT),
    (pa.list_(pa.int64()), st.lists(st.integers(-9, 9), max_size=3)),
    (pa.struct([("a", pa.int64()), ("b", pa.string())]), st.fixed_dictionaries({"a": st.integers(-9, 9), "b": TEXT})),
    (pa.null(), st.none()),
]


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(0, 5))
    chosen = draw(st.lists(st.sampled_from(VALUES), min_size=2, max_size=5))
    names = draw(st.lists(TEXT.filter(lambda name: "\r" not in name), min_size=len(chosen), max_size=len(chosen), unique=True))
    columns = [pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), kind) for kind, values in chosen]
    return pa.table(dict(zip(names, columns, strict=True)))


@settings(max_examples=150, deadline=None)
@given(tables())
def test_what_is_written_as_csv_comes_back_with_its_types(table: pa.Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_csv(table, Path(folder) / "data.csv")
        again = read_csv(Path(folder) / "data.csv", table.schema)
    assert again.schema == table.schema
    assert again.to_pydict() == table.to_pydict()


@settings(max_examples=30, deadline=None)
@given(tables())
def test_what_is_written_as_arrow_comes_back(table: pa.Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_arrow(table, Path(folder) / "data.arrow")
        assert read_arrow(Path(folder) / "data.arrow").equals(table)


def written(table: pa.Table, folder: Path) -> str:
    write_csv(table, folder / "data.csv")
    return (folder / "data.csv").read_text()


def test_scripts_find_plain_csv(tmp_path: Path) -> None:
    table = pa.table(
        {
            "code": ["001", "a,b", "", None],
            "n": [1, 2, 3, None],
            "x": [1.0, float("nan"), float("inf"), None],
            "day": [dt.date(2024, 1, 31)] * 4,
            "ok": [True, False, None, True],
            "price": pa.array([decimal.Decimal("1.50")] * 4),
            "list": [[1, 2], [], None, [3]],
        }
    )
    assert written(table, tmp_path).splitlines() == [
        "code,n,x,day,ok,price,list",
        '001,1,1,2024-01-31,true,1.50,"[1, 2]"',
        '"a,b",2,NaN,2024-01-31,false,1.50,[]',
        '"",3,Inf,2024-01-31,,1.50,',
        ",,,2024-01-31,true,1.50,[3]",
    ]


def test_a_missing_value_alone_in_its_row_is_no_empty_line(tmp_path: Path) -> None:
    assert written(pa.table({"x": [1, None, 3]}), tmp_path) == 'x\n1\n""\n3\n'
    assert read_csv(tmp_path / "data.csv", pa.schema([("x", pa.int64())])).to_pydict() == {"x": [1, None, 3]}


def test_large_tables_are_written_in_pieces(tmp_path: Path) -> None:
    table = pa.table({"n": range(200_001), "text": [f"row {n}" for n in range(200_001)]})
    write_csv(table, tmp_path / "data.csv")
    assert read_csv(tmp_path / "data.csv", table.schema).equals(table)


KNOWN = pa.schema([("code", pa.string()), ("n", pa.int64()), ("x", pa.float64()), ("flag", pa.bool_()), ("day", pa.date32())])


def read(text: str | bytes, folder: Path, known: pa.Schema = KNOWN) -> pa.Table:
    (folder / "predictions.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return read_csv(folder / "predictions.csv", known)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("n\n1.0\n3.0\n", {"n": [1, 3]}),
        ("n\n1.5\n", {"n": [1.5]}),
        ("n\nmany\n", {"n": ["many"]}),
        ("x,n\nNA,NA\n1,2\n", {"x": [None, 1.0], "n": [None, 2]}),
        ('"code","n"\n"NA",1\n', {"code": ["NA"], "n": [1]}),
        ("flag,n\nTRUE,1\nFalse,2\n", {"flag": [True, False], "n": [1, 2]}),
        ("day,n\n2024-02-29,1\n", {"day": [dt.date(2024, 2, 29)], "n": [1]}),
        ("day,n\n29.2.2024,1\n", {"day": ["29.2.2024"], "n": [1]}),
        ("new,n\n007,1\n010,2\n", {"new": ["007", "010"], "n": [1, 2]}),
        ("new,n\n7,1\n0,2\n", {"new": [7, 0], "n": [1, 2]}),
        ("\N{ZERO WIDTH NO-BREAK SPACE}n,x\r\n1,2\r\n", {"n": [1], "x": [2.0]}),
        ("code,n\n 1 , 2 \n", {"code": [" 1 "], "n": [2]}),
        ('"","n"\n"1",5\n', {"": [1], "n": [5]}),
        ("n,x\n", {"n": [], "x": []}),
    ],
)
def test_what_scripts_write_gets_the_types_that_are_known(text: str, values: dict[str, Any], tmp_path: Path) -> None:
    table = read(text, tmp_path)
    assert table.to_pydict() == values
    for name in KNOWN.names:
        if name in values and not values[name]:
            assert table.schema.field(name).type == KNOWN.field(name).type


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("n,n\n1,2\n", "column names repeat: n"),
        ("n,x\n1\n", "it is no CSV file"),
        (b"n\n\xff\n", "it is no CSV file"),
        (b"\xff\n1\n", "it is no CSV file"),
    ],
)
def test_files_that_are_no_tables_say_why(text: str | bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=words):
        read(text, tmp_path)


def test_arrow_streams_are_read_too_and_other_files_refused(tmp_path: Path) -> None:
    table = pa.table({"x": [1, 2]})
    with pa.ipc.new_stream(tmp_path / "stream", table.schema) as writer:
        writer.write_table(table)
    assert read_arrow(tmp_path / "stream").equals(table)
    (tmp_path / "text").write_text("x,y\n1,2\n")
    with pytest.raises(TableError, match="it is no Arrow file"):
        read_arrow(tmp_path / "text")
