"""Tables in files and in the terminal. The extension tells the format, `--format` overrules it."""

import re
import sys
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from modelwire.cli.ends import Stop

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import RenderableType

SHOWN_ROWS = 20
STDIN = "-"


class Format(StrEnum):
    """How a table is stored."""

    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"
    ARROW = "arrow"
    ARROWS = "arrows"
    JSONL = "jsonl"


EXTENSIONS = {
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
    ".arrow": Format.ARROW,
    ".feather": Format.ARROW,
    ".ipc": Format.ARROW,
    ".arrows": Format.ARROWS,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
}

FormatOption = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="The format of the files that are read. Default: by extension.", show_default=False),
]

LEADING_ZERO = r"^[+-]?0\d"


def format_of(path: Path, given: Format | None = None) -> Format:
    """The format of a file by its extension. A further .gz is left to the reader."""
    if given is not None:
        return given
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    found = EXTENSIONS.get(suffixes[-1].lower()) if suffixes else None
    if found is None:
        known = ", ".join(sorted(EXTENSIONS))
        raise Stop(f"the format of {path} cannot be told from its name", hint=f"Known extensions: {known}; --format says it.")
    return found


def read_frame(path: Path, given: Format | None = None) -> "pa.Table":
    """The table in a file; `-` is standard input. Codes with leading zeros stay text. Raises Stop."""
    import pyarrow as pa

    form = format_of(Path("-.csv") if str(path) == STDIN else path, given)
    try:
        return _read(form, path)
    except FileNotFoundError:
        raise Stop(f"there is no file {path}") from None
    except OSError as error:
        raise Stop(f"{path} cannot be read: {error.strerror or error}") from None
    except (pa.ArrowException, ValueError) as error:
        raise Stop(f"{path} is no readable {form.upper()} file: {error}", hint="--format names another format.") from None


def _read(form: Format, path: Path) -> "pa.Table":
    source = _open(path)
    match form:
        case Format.CSV:
            return read_csv(source)
        case Format.TSV:
            return read_csv(source, delimiter="\t")
        case Format.PARQUET:
            import pyarrow.parquet as pq

            return pq.read_table(source)
        case Format.JSONL:
            import pyarrow.json

            return pyarrow.json.read_json(source)
        case _:
            return _read_arrow(source)


def _open(path: Path) -> Any:
    """A seekable file. Standard input is read whole; .gz is unpacked."""
    import pyarrow as pa

    if str(path) == STDIN:
        return pa.BufferReader(sys.stdin.buffer.read())
    if path.suffix == ".gz":
        with pa.input_stream(path) as stream:
            return pa.BufferReader(stream.read())
    return pa.OSFile(str(path))


def _read_arrow(source: Any) -> "pa.Table":
    """The file format or the stream format, whichever it is."""
    import pyarrow as pa

    is_file = source.read(6) == b"ARROW1"
    source.seek(0)
    return pa.ipc.open_file(source).read_all() if is_file else pa.ipc.open_stream(source).read_all()


def read_csv(source: Any, delimiter: str = ",") -> "pa.Table":
    """A CSV table with inferred types, where `007` is text and an empty cell is a missing value."""
    import pyarrow as pa
    import pyarrow.csv as pc

    parsing = pc.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    table = pc.read_csv(source, parse_options=parsing)
    numeric = [f.name for f in table.schema if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)]
    codes = _columns_of_codes(source, parsing, numeric)
    if codes:
        source.seek(0)
        texts = pc.read_csv(source, parse_options=parsing, convert_options=_as_text(codes))
        for name in codes:
            table = table.set_column(table.schema.get_field_index(name), name, texts[name])
    return _empty_is_missing(table)


def _as_text(columns: list[str]) -> Any:
    import pyarrow as pa
    import pyarrow.csv as pc

    return pc.ConvertOptions(include_columns=columns, column_types=dict.fromkeys(columns, pa.string()))


def _columns_of_codes(source: Any, parsing: Any, numeric: list[str]) -> list[str]:
    """Those of the columns that hold codes such as `007`: numbers would lose the zeros. Reads the file batch by batch."""
    import pyarrow.csv as pc
    from pyarrow import compute

    codes: set[str] = set()
    unique = [name for name in numeric if numeric.count(name) == 1]
    if not unique:
        return []
    source.seek(0)
    for batch in pc.open_csv(source, parse_options=parsing, convert_options=_as_text(unique)):
        for name in set(unique) - codes:
            if compute.any(compute.match_substring_regex(batch[name], LEADING_ZERO)).as_py():
                codes.add(name)
    return [name for name in unique if name in codes]


def _empty_is_missing(table: "pa.Table") -> "pa.Table":
    import pyarrow as pa
    from pyarrow import compute

    for index, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            column = table.column(index)
            missing = compute.if_else(compute.equal(column, ""), pa.scalar(None, pa.string()), column)
            table = table.set_column(index, field.name, missing)
    return table


def write_frame(table: "pa.Table", path: Path) -> None:
    """Stores a table; `-` writes CSV to standard output. Raises Stop."""
    import pyarrow as pa

    if str(path) == STDIN:
        _write(table, Format.CSV, sys.stdout.buffer)
        return
    form = format_of(path)
    try:
        with path.open("wb") as file:
            _write(table, form, file)
    except OSError as error:
        raise Stop(f"{path} cannot be written: {error.strerror}") from None
    except pa.ArrowException as error:
        path.unlink(missing_ok=True)
        raise Stop(
            f"this table cannot be stored as {form.upper()}: {error}", hint="Parquet and Arrow can hold any table."
        ) from None


def _write(table: "pa.Table", form: Format, file: BinaryIO) -> None:
    import pyarrow as pa

    match form:
        case Format.CSV | Format.TSV:
            import pyarrow.csv as pc

            pc.write_csv(table, file, pc.WriteOptions(delimiter="\t" if form is Format.TSV else ",", quoting_style="needed"))
        case Format.PARQUET:
            import pyarrow.parquet as pq

            pq.write_table(table, file)
        case Format.JSONL:
            _write_jsonl(table, file)
        case _:
            opened = pa.ipc.new_stream if form is Format.ARROWS else pa.ipc.new_file
            with opened(file, table.schema) as writer:
                writer.write_table(table)


def _write_jsonl(table: "pa.Table", file: BinaryIO) -> None:
    import json

    from modelwire.cli.output import plain

    for batch in table.to_batches():
        file.writelines(json.dumps(plain(row), ensure_ascii=False).encode() + b"\n" for row in batch.to_pylist())


def frame_table(table: "pa.Table", known: Collection[str] = (), limit: int = SHOWN_ROWS) -> "RenderableType":
    """The first rows for the terminal; columns beyond the known ones stand out."""
    import pyarrow as pa

    from modelwire.cli.output import Column, styled
    from modelwire.cli.output import table as grid

    columns = [Column(f.name, flush=pa.types.is_integer(f.type) or pa.types.is_floating(f.type)) for f in table.schema]
    rows = (
        [styled(cell(value), "" if name in known else "bold") for name, value in row.items()]
        for row in table.slice(0, limit).to_pylist()
    )
    return grid(*columns, rows=rows)


def cell(value: Any) -> str:
    """One value of a table, as short as it is still true."""
    from modelwire.cli.output import compact

    match value:
        case None:
            return ""
        case float():
            return f"{value:.6g}"
        case list() | dict():
            return compact(value)
    return re.sub(r"\s+", " ", str(value))
