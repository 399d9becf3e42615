"""Tables in files."""

import gzip
import io
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelwire.cli.ends import Stop
from modelwire.cli.frames import Format, cell, format_of, read_frame, write_frame

TABLE = pa.table(
    {
        "code": ["007", "11", None],
        "count": pa.array([1, None, 3], pa.int64()),
        "share": [0.5, 1.5, float("-inf")],
        "day": [date(2024, 1, 1), None, date(2024, 1, 3)],
        "text": ['a "quoted", text', "two\nlines", "æøå"],
    }
)


def csv(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_codes_with_leading_zeros_stay_text(tmp_path: Path) -> None:
    table = read_frame(csv(tmp_path, "a,b,c,d\n001,10,0.5,-07\n012,20,0,1\n"))
    assert table.to_pydict() == {"a": ["001", "012"], "b": [10, 20], "c": [0.5, 0.0], "d": ["-07", "1"]}


def test_a_leading_zero_far_down_counts_too(tmp_path: Path) -> None:
    rows = "\n".join(str(number) for number in range(1, 200_000))
    table = read_frame(csv(tmp_path, f"code\n{rows}\n007\n"))
    assert table["code"][-1].as_py() == "007"
    assert table["code"][0].as_py() == "1"


def test_an_empty_cell_is_missing_and_na_is_text_among_texts(tmp_path: Path) -> None:
    table = read_frame(csv(tmp_path, "country,n,x\nNA,1,\n,2,NA\nNO,,1.5\n"))
    assert table.to_pydict() == {"country": ["NA", None, "NO"], "n": [1, 2, None], "x": [None, None, 1.5]}


def test_repeated_column_names_are_kept_for_the_server_to_refuse(tmp_path: Path) -> None:
    assert read_frame(csv(tmp_path, "a,a\n01,2\n")).column_names == ["a", "a"]


@pytest.mark.parametrize("extension", ["parquet", "arrow", "arrows", "feather"])
def test_binary_formats_keep_everything(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"table.{extension}"
    write_frame(TABLE, path)
    assert read_frame(path).equals(TABLE)


@pytest.mark.parametrize("extension", ["csv", "tsv"])
def test_text_formats_keep_values(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"table.{extension}"
    write_frame(TABLE, path)
    assert read_frame(path).to_pydict() == TABLE.to_pydict()


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    write_frame(TABLE.drop_columns("day"), path)
    expected = [{**row, "share": None if row["share"] == float("-inf") else row["share"]} for row in TABLE.to_pylist()]
    assert read_frame(path).to_pylist() == [{k: v for k, v in row.items() if k != "day"} for row in expected]


def test_compressed_files(tmp_path: Path) -> None:
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(b"a\n01\n02\n"))
    assert read_frame(path).to_pydict() == {"a": ["01", "02"]}


def test_a_given_format_wins_over_the_extension(tmp_path: Path) -> None:
    path = tmp_path / "table.dat"
    pq.write_table(TABLE, path)
    assert read_frame(path, Format.PARQUET).equals(TABLE)


def test_standard_input_is_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\n1\n")))
    assert read_frame(Path("-")).to_pydict() == {"a": [1]}


@pytest.mark.parametrize("name", ["table", "table.xlsx", "table.gz"])
def test_unknown_formats_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(Stop) as stopped:
        format_of(Path(name))
    assert ".parquet" in stopped.value.hint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b"a,b\n1\n"),
        ("t.csv", b""),
        ("t.parquet", b"no parquet"),
        ("t.arrow", b"no arrow"),
        ("t.jsonl", b"{"),
        ("t.csv.gz", b"x"),
    ],
)
def test_unreadable_files_are_said_to_be_so(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(Stop, match="read"):
        read_frame(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(Stop, match="there is no file"):
        read_frame(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(Stop, match="cannot be read"):
        read_frame(tmp_path / "folder.csv")


def test_what_csv_cannot_hold_leaves_no_file_behind(tmp_path: Path) -> None:
    path = tmp_path / "nested.csv"
    with pytest.raises(Stop, match="cannot be stored as CSV"):
        write_frame(pa.table({"a": [[1, 2]]}), path)
    assert not path.exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(Stop, match="cannot be written"):
        write_frame(TABLE, tmp_path / "none" / "table.csv")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "True"),
        (1234567, "1234567"),
        (0.1 + 0.2, "0.3"),
        ([1, 2], "[1, 2]"),
        (datetime(2024, 1, 1, tzinfo=UTC), "2024-01-01 00:00:00+00:00"),
    ],
)
def test_cells(value: object, text: str) -> None:
    assert cell(value) == text
