"""How many periods a frame spans: the horizon of a prediction whose caller does not give one."""

import pyarrow as pa

PERIOD, LOCATION = "time_period", "location"
# Beyond so many pairs of location and period the count is given up rather than kept in memory.
_MAX_PAIRS = 1_000_000


class PeriodCounter:
    """Counts the distinct values of `time_period`: the most that any one `location` has, or over all rows without such a column."""

    def __init__(self) -> None:
        self._pairs: set[tuple[object, object]] = set()
        self._known = True

    @property
    def count(self) -> int | None:
        """None if no frame had periods, or if there were too many to count."""
        if not self._known or not self._pairs:
            return None
        counts: dict[object, int] = {}
        for location, _ in self._pairs:
            counts[location] = counts.get(location, 0) + 1
        return max(counts.values())

    def add(self, batch: pa.RecordBatch | pa.Table) -> None:
        names = batch.schema.names
        if PERIOD not in names or not self._known:
            return
        keys = [name for name in (LOCATION, PERIOD) if name in names]
        try:
            distinct = pa.table({name: batch.column(name) for name in keys}).group_by(keys).aggregate([])
        except pa.ArrowNotImplementedError:  # a column of lists or the like: no periods
            self._known = False
            return
        periods = distinct.column(PERIOD).to_pylist()
        locations = distinct.column(LOCATION).to_pylist() if LOCATION in keys else [None] * len(periods)
        self._pairs.update((location, period) for location, period in zip(locations, periods, strict=True) if period is not None)
        self._known = len(self._pairs) <= _MAX_PAIRS


def count_periods(table: pa.Table) -> int | None:
    """How many periods a table spans; None if it has none."""
    counter = PeriodCounter()
    counter.add(table)
    return counter.count
