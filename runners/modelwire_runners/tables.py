"""Tables as files that a script reads and writes: CSV and Arrow. What CSV forgets, the types, is known from elsewhere."""

import base64
import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from . import arrow_functions as pc
from .mixed import is_mixed, mixed_values

_ROWS_AT_ONCE = 1 << 16
_LARGEST_BLOCK = 1 << 30
# How programs spell that there is no number.
_NO_VALUE = ("", "NA", "N/A", "#N/A", "<NA>", "null", "NULL", "None")
_NEEDS_QUOTES = '[",\r\n]|^$|^\\s|\\s$'
_LEADING_ZERO = r"^[+-]?0\d"


class TableError(Exception):
    """A file is no table; the message says why."""


def write_arrow(table: pa.Table, path: Path) -> None:
    """Writes an Arrow IPC file, also known as Feather."""
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def write_csv(table: pa.Table, path: Path) -> None:
    """Writes a header and a line per row. Text is quoted where it must be, and where it is empty: a missing value is nothing at all.
    Numbers have all their digits, times are ISO 8601, lists and structs JSON, bytes Base64, durations whole numbers of their unit."""
    with path.open("wb") as file:
        file.write(_header(table.column_names))
        for start in range(0, table.num_rows, _ROWS_AT_ONCE):
            lines = _lines(table.slice(start, _ROWS_AT_ONCE).combine_chunks())
            file.write(("\n".join(lines.to_pylist()) + "\n").encode())


def read_arrow(path: Path) -> pa.Table:
    """Reads an Arrow IPC file or stream. Raises TableError."""
    try:
        with path.open("rb") as file:
            is_file = file.read(6) == b"ARROW1"
        with pa.OSFile(str(path)) as source:
            return (pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)).read_all()
    except pa.ArrowException as error:
        raise TableError(f"it is no Arrow file: {error}") from error


def read_csv(path: Path, known: pa.Schema) -> pa.Table:
    """Reads a table whose columns have the types that are known by their names, as far as the values can have them. Types of other
    columns are found from the values; digits after a leading zero stay text. Raises TableError."""
    names = _names(path)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise TableError(f"column names repeat: {', '.join(repeated)}")
    texts = _read(path, names, pa.string())
    columns = {name: _restored(texts[name], known.field(name).type) for name in names if known.names.count(name) == 1}
    guessed = [name for name in names if columns.get(name) is None]
    if guessed:
        found = _read(path, guessed, None)
        columns |= {name: _unless_code(found[name], texts[name]) for name in guessed}
    return pa.table({name: columns[name] for name in names})


def _header(names: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(names)
    return text.getvalue().encode()


def _lines(table: pa.Table) -> pa.Array:
    """The rows as lines. A row of one missing value must not be an empty line, which many programs leave out."""
    missing = '""' if table.num_columns == 1 else ""
    cells = [pc.fill_null(_cells(column), missing).cast(pa.large_string()) for column in table.columns]
    joined = pc.binary_join_element_wise(*cells, pa.scalar(",", pa.large_string()))
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def _cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if is_mixed(kind):
        return _quoted(_texts(column))
    if isinstance(kind, pa.BaseExtensionType):
        return _cells(pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type))
    if pa.types.is_dictionary(kind):
        return _cells(column.cast(kind.value_type))
    if _is_text(kind):
        return _quoted(column.cast(pa.large_string()))
    if pa.types.is_floating(kind):
        return _numbers(column)
    if pa.types.is_duration(kind):
        return column.cast(pa.int64()).cast(pa.string())
    if pa.types.is_null(kind) or _is_plain(kind):
        return column.cast(pa.string())
    if _is_bytes(kind):
        return _quoted(_each(column, lambda value: base64.b64encode(value).decode()).cast(pa.large_string()))
    return _quoted(_each(column, lambda value: json.dumps(value, ensure_ascii=False, default=str)).cast(pa.large_string()))


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Mixed values: text as it is, everything else as in JSON."""
    values = mixed_values(column)
    texts = [value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values]
    return pa.chunked_array([pa.array(texts, pa.large_string())])


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    return pc.replace_substring(pc.replace_substring(column.cast(pa.string()), "nan", "NaN"), "inf", "Inf")


def _quoted(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    needs = pc.match_substring_regex(texts, _NEEDS_QUOTES)
    quote = pa.scalar('"', pa.large_string())
    quoted = pc.binary_join_element_wise(quote, pc.replace_substring(texts, '"', '""'), quote, pa.scalar("", pa.large_string()))
    return pc.if_else(needs, quoted, texts)


def _names(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"it is no CSV file: {error}") from error
    if not names:
        raise TableError("it is empty; a header is needed")
    return names


def _read(path: Path, names: list[str], kind: pa.DataType | None) -> dict[str, pa.ChunkedArray]:
    """Columns of one type, or of types that fit the values."""
    texts = kind is not None
    spellings = {"null_values": [""]} if texts else {}
    options = pa_csv.ConvertOptions(
        include_columns=names,
        column_types=dict.fromkeys(names, kind) if texts else None,
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        **spellings,
    )
    # A row must fit into a block.
    block = max(1, min(path.stat().st_size, _LARGEST_BLOCK))
    try:
        table = pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=block),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=options,
        )
    except pa.ArrowException as error:
        raise TableError(f"it is no CSV file: {error}") from error
    return dict(zip(table.column_names, table.columns, strict=True))


def _restored(texts: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | None:
    """The values in their type; None if they do not have it."""
    if isinstance(kind, pa.BaseExtensionType):
        return None
    if pa.types.is_dictionary(kind):
        values = _restored(texts, kind.value_type)
        return None if values is None else _first(lambda: values.dictionary_encode().cast(kind))
    if _is_text(kind):
        return texts.cast(kind)
    if _is_bytes(kind):
        return _first(lambda: _each(texts, base64.b64decode, kind))
    bare = pc.utf8_trim_whitespace(texts)
    bare = pc.if_else(pc.is_in(bare, pa.array(_NO_VALUE)), pa.scalar(None, pa.string()), bare)
    return _first(*_ways(bare, kind))


def _ways(bare: pa.ChunkedArray, kind: pa.DataType) -> Iterator[Callable[[], pa.ChunkedArray]]:
    """How texts may become values of a type."""
    if pa.types.is_null(kind):
        yield lambda: bare.cast(kind)
    elif pa.types.is_integer(kind):
        yield lambda: bare.cast(kind)
        # What was an integer comes back as 3.0 from programs whose integers cannot be missing.
        yield lambda: bare.cast(pa.float64()).cast(kind)
    elif pa.types.is_float16(kind):
        yield lambda: bare.cast(pa.float32()).cast(kind, safe=False)
    elif pa.types.is_duration(kind):
        yield lambda: bare.cast(pa.int64()).cast(kind)
    elif pa.types.is_time(kind):
        yield lambda: _each(bare, time.fromisoformat, kind)
    elif _is_plain(kind):
        yield lambda: bare.cast(kind)
    else:
        yield lambda: _each(bare, json.loads, kind)


def _first(*ways: Callable[[], pa.ChunkedArray]) -> pa.ChunkedArray | None:
    for way in ways:
        try:
            return way()
        except (pa.ArrowException, ValueError, TypeError):
            continue
    return None


def _unless_code(found: pa.ChunkedArray, texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """What looks like numbers, unless a leading zero says that it is not one."""
    if pa.types.is_integer(found.type) and pc.any(pc.match_substring_regex(texts, _LEADING_ZERO)).as_py():
        return texts
    return found


def _each(column: pa.ChunkedArray, function: Callable[[Any], Any], kind: pa.DataType | None = None) -> pa.ChunkedArray:
    values = [None if value is None else function(value) for value in column.to_pylist()]
    return pa.chunked_array([pa.array(values, kind or pa.string())])


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _is_plain(kind: pa.DataType) -> bool:
    """Whether a value and its text can be cast into each other, and the text needs no quotes."""
    tests = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_temporal)
    return any(test(kind) for test in tests)
