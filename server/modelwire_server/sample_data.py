"""Made-up input that a runner accepts: for trying a service out and for tests."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from modelwire_runners import PeriodType, RunnerInfo

from .errors import FieldViolation, InvalidField

FIRST_YEAR = 2020
WEEKS_A_YEAR = 52
# Columns that have a meaning of their own; whatever else a runner requires is made as a number between 0 and 100.
KNOWN = ("time_period", "location", "disease_cases", "population", "rainfall", "mean_temperature")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOrder:
    """What to make. A negative seed means a fresh one; `covariates` are columns beyond those that the runner requires."""

    predict: bool = False
    locations: int = 5
    periods: int = 50
    features: int = 3
    period_type: PeriodType = PeriodType.MONTHLY
    points: bool = False
    with_geo: bool = False
    seed: int = -1
    horizon: int = 3
    covariates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        bounds = {
            "num_locations": (self.locations, 1, 1000),
            "num_periods": (self.periods, 1, 10_000),
            "num_features": (self.features, 0, 1000),
        }
        wrong = [
            FieldViolation(name, f"must be from {least} to {most}, not {value}")
            for name, (value, least, most) in bounds.items()
            if not least <= value <= most
        ]
        if self.locations * self.periods * (self.features + len(KNOWN)) > 20_000_000:
            wrong.append(FieldViolation("num_periods", "asks for more than 20 million values in all"))
        if wrong:
            raise InvalidField.of(*wrong)


@dataclass(frozen=True, slots=True)
class SampleData:
    """Frames by role (`data`, or `historic` and `future`) and GeoJSON."""

    frames: dict[str, pa.Table] = field(default_factory=dict)
    geo: dict[str, Any] | None = None


def generate_sample(order: SampleOrder, info: RunnerInfo) -> SampleData:
    """The same order and seed give the same data. Rows run by period, then location; the future follows the past and has no target."""
    random = np.random.default_rng(order.seed if order.seed >= 0 else None)
    extra = [name for name in dict.fromkeys([*info.required_covariates, *order.covariates]) if name not in KNOWN]
    frames = {"historic" if order.predict else "data": frame(order, random, 0, order.periods, extra)}
    if order.predict:
        horizon = min(max(order.horizon, info.min_prediction_periods, 1), max(info.max_prediction_periods, 1))
        frames["future"] = frame(order, random, order.periods, horizon, extra, known_target=False)
    return SampleData(frames, geo_of(order) if order.with_geo else None)


def frame(
    order: SampleOrder, random: "np.random.Generator", first: int, periods: int, extra: list[str], *, known_target: bool = True
) -> pa.Table:
    """`periods` periods of every location, beginning with period number `first`."""
    rows = periods * order.locations
    labels = [period_label(order.period_type, first + number) for number in range(periods)]
    cases = pa.array(random.poisson(40, rows).astype(float))
    columns: dict[str, Any] = {
        "time_period": [label for label in labels for _ in range(order.locations)],
        "location": [f"location_{number}" for number in range(order.locations)] * periods,
        "disease_cases": cases if known_target else pa.nulls(rows, pa.float64()),
        "population": np.tile(random.integers(1_000, 1_000_000, order.locations), periods),
        "rainfall": random.gamma(2.0, 50.0, rows).round(2),
        "mean_temperature": random.normal(25.0, 4.0, rows).round(2),
    }
    for name in [*(f"feature_{number}" for number in range(order.features)), *extra]:
        columns[name] = random.uniform(0.0, 100.0, rows).round(3)
    return pa.table(columns)


def period_label(kind: PeriodType, number: int) -> str:
    """The name of the period that comes `number` periods after the first: `2020-01` or `2020-W01`."""
    if kind is PeriodType.WEEKLY:
        return f"{FIRST_YEAR + number // WEEKS_A_YEAR}-W{number % WEEKS_A_YEAR + 1:02d}"
    return f"{FIRST_YEAR + number // 12}-{number % 12 + 1:02d}"


def geo_of(order: SampleOrder) -> dict[str, Any]:
    """A FeatureCollection with a place for each location, side by side."""
    return {"type": "FeatureCollection", "features": [feature(number, points=order.points) for number in range(order.locations)]}


def feature(number: int, *, points: bool) -> dict[str, Any]:
    west, south = -170.0 + 2.0 * (number % 170), -80.0 + 2.0 * (number // 170)
    corners = [[west, south], [west + 1, south], [west + 1, south + 1], [west, south + 1], [west, south]]
    geometry: dict[str, Any] = (
        {"type": "Point", "coordinates": [west, south]} if points else {"type": "Polygon", "coordinates": [corners]}
    )
    name = f"location_{number}"
    return {"type": "Feature", "id": name, "properties": {"id": name, "name": name}, "geometry": geometry}
