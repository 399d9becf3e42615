"""What is ordered of a model, and how it fits: checked once for all orders whose frames have the same layout."""

import inspect
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from modelwire_runners.frames import Frame, TableFrame

from ..columns import SchemaPolicy
from ..layouts import NoRows, PlainFrame, PlainFrames
from ..periods import count_periods
from ..signature import Signature
from ..validation import check_columns, require_geo, resolve_horizon
from .models import LoadedModel

# Takes a function to be called once an answer has left.
WhenSent = Callable[[Callable[..., None]], None]


@dataclass(eq=False, slots=True, kw_only=True)
class PredictOrder:
    """A prediction to be answered at once. `historic` defaults to an empty frame with the columns of `future`.

    `schema_policy` is `strict`, `safe`, `off`, or empty for the server's setting; `engine` is one of the model's, or empty for its best.
    `when_sent` is given a function, to be called once the answer has left; without it the answer has left when it is returned. Who is
    still to be answered cannot ask again, so that is how it is known whether there are others to share a call with. `is_piece` is
    whether `future` is a piece of a frame that arrives meanwhile.
    """

    model: str
    future: pa.Table | PlainFrame
    historic: pa.Table | PlainFrame | None = None
    geo: dict[str, Any] | None = None
    run_info: dict[str, Any] = field(default_factory=dict)
    schema_policy: str = ""
    engine: str = ""
    when_sent: WhenSent | None = None
    is_piece: bool = False


class NotTogether(Exception):
    """Several frames were to be predicted as one by a model that must see each by itself."""


class Fitted(NamedTuple):
    """An order as the model takes it. Orders of one `group`, if it is not None, may share a call."""

    future: Frame
    historic: Frame
    horizon: int
    group: Hashable | None


@dataclass(frozen=True, slots=True)
class Fit:
    """What holds for all frames of a layout: how many columns its matrix has, and the rest as in Fitted."""

    width: int | None
    nothing: NoRows
    horizon: int
    group: Hashable | None


class Fitting:
    """Holds orders against what their models were trained with."""

    def __init__(self, policy: SchemaPolicy) -> None:
        self._policy = policy

    def fitted(self, model: LoadedModel, order: PredictOrder) -> Fitted:
        """Raises MissingColumns, SchemaViolation, InvalidGeo, HorizonOutOfBounds; NotTogether only for PlainFrames."""
        fitted = self._fitted(model, order)
        if fitted.group is None and isinstance(order.future, PlainFrames):
            raise NotTogether
        return fitted

    def _fitted(self, model: LoadedModel, order: PredictOrder) -> Fitted:
        future = order.future
        if isinstance(future, pa.Table) or order.run_info or order.geo is not None or order.historic is not None:
            return self._adapted(model, order)
        fit = model.fits.get((future.layout, order.schema_policy))
        if fit is None and (fit := self._fit(model, order, future)) is None:
            return self._adapted(model, order)
        return Fitted(future.of_width(fit.width), fit.nothing, fit.horizon, fit.group)

    def _fit(self, model: LoadedModel, order: PredictOrder, future: PlainFrame) -> Fit | None:
        """What holds for all frames of this layout; None if something is to be done with each. Raises as fitted() does."""
        inputs = None
        check_columns(future.schema, model.runner.info.required_covariates, "future")
        require_geo(model.runner.info, order.geo)
        if (policy := self._policy_of(order)) is not SchemaPolicy.OFF and model.signature is not None:
            adaptation = model.signature.adaptation(future.schema, policy)
            if not adaptation.is_identity:
                return None
            inputs = _inputs(model.signature, future.schema.names)
        horizon = resolve_horizon({}, None, model.config, model.runner.info)
        nothing = NoRows(future.schema, inputs)
        fit = Fit(None if inputs is None else len(inputs), nothing, horizon, _group(model, order, future.schema, horizon))
        model.fits.keep((future.layout, order.schema_policy), fit)
        return fit

    def _adapted(self, model: LoadedModel, order: PredictOrder) -> Fitted:
        table, inputs = _table(order.future), None
        check_columns(table.schema, model.runner.info.required_covariates, "future")
        require_geo(model.runner.info, order.geo)
        if (policy := self._policy_of(order)) is not SchemaPolicy.OFF and model.signature is not None:
            table = model.signature.adaptation(table.schema, policy).apply(table)
            inputs = _inputs(model.signature, table.column_names)
        horizon = resolve_horizon(order.run_info, count_periods(table), model.config, model.runner.info)
        historic = NoRows(table.schema, inputs) if order.historic is None else TableFrame(_table(order.historic))
        return Fitted(TableFrame(table, inputs), historic, horizon, _group(model, order, table.schema, horizon))

    def _policy_of(self, order: PredictOrder) -> SchemaPolicy:
        return SchemaPolicy(order.schema_policy or self._policy)


def _table(frame: pa.Table | PlainFrame) -> pa.Table:
    return frame if isinstance(frame, pa.Table) else frame.table()


def _inputs(signature: Signature, names: Sequence[str]) -> list[str]:
    """The columns of the training that a frame has."""
    return [column.name for column in signature.inputs if column.name in names]


def _group(model: LoadedModel, order: PredictOrder, schema: pa.Schema, horizon: int) -> Hashable | None:
    """What must be equal for two orders to share a call; None if this one may not."""
    runner = model.runner
    if not (runner.independent_rows and runner.same_rows) or order.geo is not None or order.historic is not None:
        return None
    if inspect.iscoroutinefunction(runner.function("on_predict")):
        return None  # it waits for something, and waits for several at once
    return schema.serialize().to_pybytes(), horizon, repr(order.run_info) if order.run_info else ""
