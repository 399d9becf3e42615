"""How many periods a frame spans: the horizon of a prediction whose caller does not give one."""

import pyarrow as pa

from modelwire_runners import arrow_functions as pc

PERIOD, LOCATION = "time_period", "location"
# Beyond so many pairs of location and period the count is given up rather than kept in memory.
_MAX_PAIRS = 1_000_000


class PeriodCounter:
    """Counts the distinct values of `time_period`: the most that any one `location` has, or over all rows without such a column."""

    def __init__(self) -> None:
        self._pairs: list[pa.Table] = []
        self._known = True

    @property
    def count(self) -> int | None:
        """None if no frame had periods, or if there were too many to count."""
        if not self._known or not self._pairs:
            return None
        self._merge()
        (pairs,) = self._pairs
        if LOCATION in pairs.column_names:
            pairs = pairs.group_by(LOCATION).aggregate([(PERIOD, "count")]).column(f"{PERIOD}_count")
            return pc.max(pairs).as_py() or None
        return pc.count(pairs.column(PERIOD)).as_py() or None

    def add(self, batch: pa.RecordBatch | pa.Table) -> None:
        names = batch.schema.names
        if PERIOD not in names or not self._known:
            return
        keys = [name for name in (LOCATION, PERIOD) if name in names]
        try:
            self._pairs.append(_distinct(pa.table({name: _plain(batch.column(name)) for name in keys})))
            if sum(table.num_rows for table in self._pairs) > _MAX_PAIRS:
                self._merge()
        except pa.ArrowNotImplementedError:  # a column of lists or the like: no periods
            self._known = False
            return
        self._known = sum(table.num_rows for table in self._pairs) <= _MAX_PAIRS

    def _merge(self) -> None:
        if len(self._pairs) > 1:
            self._pairs = [_distinct(pa.concat_tables(self._pairs))]


def _distinct(pairs: pa.Table) -> pa.Table:
    return pairs.group_by(pairs.column_names).aggregate([])


def _plain(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Each batch may have dictionaries of its own."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def count_periods(table: pa.Table) -> int | None:
    """How many periods a table spans; None if it has none."""
    counter = PeriodCounter()
    counter.add(table)
    return counter.count
