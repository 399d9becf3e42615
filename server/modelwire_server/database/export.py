"""All rows of all tables as JSON, the same whichever database they are in."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa

from .engine import Transaction
from .tables import UtcTime, artifacts, metadata

# So many rows are read or written at once.
AT_ONCE = 1000

# Names of columns with values as JSON has them; times are ISO 8601 in UTC.
Row = dict[str, Any]


def table_names() -> list[str]:
    """All tables, each after those that its rows refer to."""
    return [table.name for table in metadata.sorted_tables]


def rows_of(tx: Transaction, name: str) -> Iterator[Row]:
    """The rows of a table, each after those of the same table that it refers to."""
    table = metadata.tables[name]
    # A node's path begins with its parent's.
    order = [artifacts.c.path] if table is artifacts else list(table.primary_key)
    for row in tx.execute(sa.select(table).order_by(*order).execution_options(yield_per=AT_ONCE)).mappings():
        yield {column: value.isoformat() if isinstance(value, datetime) else value for column, value in row.items()}


def insert_rows(tx: Transaction, name: str, rows: Iterable[Row]) -> int:
    """Inserts rows that rows_of() gave; returns how many."""
    table = metadata.tables[name]
    times = [column.name for column in table.c if isinstance(column.type, UtcTime)]
    count, rest = 0, iter(rows)
    while batch := list(islice(rest, AT_ONCE)):
        tx.execute(sa.insert(table), [_with_times(row, times) for row in batch])
        count += len(batch)
    return count


def is_empty(tx: Transaction) -> bool:
    """Whether there is no row in any table."""
    return all(tx.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is None for table in metadata.sorted_tables)


def _with_times(row: Row, times: Iterable[str]) -> Row:
    return {**row, **{name: datetime.fromisoformat(row[name]) for name in times if row.get(name)}}
