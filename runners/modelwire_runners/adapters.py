"""Columns that a script wants under other names, or made of the period."""

from collections.abc import Callable, Mapping

import pyarrow as pa

from . import arrow_functions as pc

PERIOD = "time_period"


def adapt(table: pa.Table, adapters: Mapping[str, str]) -> pa.Table:
    """The table with a new column for each adapter whose source it has."""
    for name, source in adapters.items():
        column = _column(table, source)
        if column is not None:
            table = _with(table, name, column)
    return table


def _column(table: pa.Table, source: str) -> pa.ChunkedArray | None:
    if source in table.column_names:
        return table.column(source)
    if source in _PARTS and PERIOD in table.column_names:
        return _part(table.column(PERIOD), source)
    return None


def _with(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, column)
    return table.append_column(name, column)


def _part(periods: pa.ChunkedArray, part: str) -> pa.ChunkedArray:
    """The part of dates, and of texts such as 2024, 2024-05, 2024-05-31, 202405, 2024W05 and 2024-W05; missing where there is none."""
    pattern, of_dates = _PARTS[part]
    if pa.types.is_date(periods.type) or pa.types.is_timestamp(periods.type):
        return of_dates(periods)
    texts = periods.cast(pa.string())
    return pc.struct_field(pc.extract_regex(texts, pattern), "part").cast(pa.int64())


_PARTS: dict[str, tuple[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]]] = {
    "year": (r"^(?P<part>\d{4})", lambda dates: pc.year(dates)),
    "month": (r"^\d{4}-?(?P<part>\d{2})", lambda dates: pc.month(dates)),
    "week": (r"^\d{4}-?W(?P<part>\d{1,2})", lambda dates: pc.iso_week(dates)),
}
