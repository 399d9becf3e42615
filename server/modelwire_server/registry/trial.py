"""Trying a version out on golden rows before an alias is pointed to it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from modelwire_runners import arrow_functions as pc

from .gate import Finding, GoldenRows

# The shortest of so many tries tells how long a version takes: the first one pays for what is not warm yet.
TRIES = 5


@dataclass(frozen=True, slots=True)
class Trial:
    """What a version predicted for the golden rows, and in how many seconds."""

    predictions: pa.Table
    seconds: float


def findings(rules: GoldenRows, new: Trial, old: Trial | None) -> Iterator[Finding]:
    """What the rules say of a trial, and of how it differs from that of the version before."""
    yield _finite(new.predictions)
    if rules.max_seconds is not None:
        message = f"the golden rows took {new.seconds:.4g} s, and may take {rules.max_seconds:g} s"
        yield Finding("golden.max_seconds", new.seconds <= rules.max_seconds, message)
    if old is None:
        return
    if rules.max_slowdown is not None:
        message = (
            f"the golden rows took {new.seconds:.4g} s, after {old.seconds:.4g} s: {rules.max_slowdown:g} times as long is allowed"
        )
        yield Finding("golden.max_slowdown", new.seconds <= rules.max_slowdown * old.seconds, message)
    if rules.max_difference is not None:
        yield _difference(rules.max_difference, new.predictions, old.predictions)


def _finite(predictions: pa.Table) -> Finding:
    for name, column in zip(predictions.column_names, predictions.columns, strict=True):
        if pa.types.is_floating(column.type) and not pc.all(pc.is_finite(column.drop_null())).as_py():
            return Finding("golden", False, f"the predictions hold NaN or infinities in the column {name!r}")
        if column.null_count:
            return Finding("golden", False, f"the predictions hold nulls in the column {name!r}")
    return Finding("golden", True, f"{predictions.num_rows:,} golden rows are predicted")


def _difference(most: float, new: pa.Table, old: pa.Table) -> Finding:
    rule = "golden.max_difference"
    if new.num_rows != old.num_rows:
        return Finding(rule, False, f"there are {new.num_rows:,} predictions, after {old.num_rows:,}")
    if missing := [name for name in old.column_names if name not in new.column_names]:
        return Finding(rule, False, f"the predictions have no column {missing[0]!r} any more")
    worst, where = max(((_distance(new.column(name), old.column(name)), name) for name in old.column_names), default=(0.0, ""))
    message = f"the predictions differ by up to {worst:g} in the column {where!r}, and may differ by {most:g}"
    return Finding(rule, worst <= most, message)


def _distance(new: pa.ChunkedArray, old: pa.ChunkedArray) -> float:
    """The largest difference of two columns; of such as are no numbers 0 if they are equal, else infinite."""
    try:
        apart = pc.max(pc.abs(pc.subtract(new.cast(pa.float64()), old.cast(pa.float64())))).as_py()
    except pa.ArrowException:
        return 0.0 if new.equals(old) else float("inf")
    return float(apart or 0.0)
