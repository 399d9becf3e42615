"""Compiles a model for the way in which the runner's own predict function uses it, and compares what comes out."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from modelwire_runners import arrow_functions as pc

from .conversion import TOLERANCE, convert, differs
from .layouts import NotSupported
from .originals import Original
from .places import METHODS, Place, estimators_of, replaced
from .stand_ins import CompiledMethod, Graph, StandIn, compiled, fallbacks, open_session

ENGINE = "onnx"
# More estimators than these in one model are left as they are.
MAX_ESTIMATORS = 50
# So many rows of the training are predicted both ways, and so many that are made up of the ends of its columns.
ROWS, EDGE_ROWS = 400, 64

# So often a call is timed at least; one that is short for longer, since anything else on the machine would decide.
_TIMES, _TIMED_SECONDS = 3, 0.005
# A stand-in that is faster with one row may be so much slower with many: many are predicted rarely.
_LEAST_GAIN_ALL_ROWS = 0.5

Predict = Callable[[Any, pa.Table], pa.Table]


@dataclass(frozen=True, slots=True)
class Call:
    """The first call of a method: with which rows, and what it returned."""

    rows: Any
    result: Any


@dataclass(frozen=True, slots=True)
class Compiled:
    """What became of it: the graphs, if all is well, and the report for the metadata of the model."""

    graphs: Sequence[Graph] = ()
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gain:
    """How many times faster something is with one row, and with all that were tried."""

    one_row: float
    all_rows: float

    @property
    def is_worth_it(self) -> bool:
        return self.one_row >= 1 and self.all_rows >= _LEAST_GAIN_ALL_ROWS

    def to_json(self) -> dict[str, float]:
        return {"one_row": round(self.one_row, 2), "all_rows": round(self.all_rows, 2)}


def compile_model(model: Any, predict: Predict, data: pa.Table) -> Compiled:
    """The graphs that stand in for the model's estimators in `predict`, checked on rows of `data`. Never raises but for MemoryError: what
    goes wrong is the reason in the report."""
    began = time.monotonic()
    try:
        graphs, report = _compile(model, predict, data)
    except MemoryError:
        raise
    except NotSupported as error:
        graphs, report = [], _failed(str(error))
    except Exception as error:
        graphs, report = [], _failed(f"{type(error).__name__}: {error}")
    return Compiled(graphs, {**report, "seconds": round(time.monotonic() - began, 3)})


def _failed(reason: str, **known: Any) -> dict[str, Any]:
    return {"engine": ENGINE, "passed": False, "reason": reason[:1000], **known}


def _compile(model: Any, predict: Predict, data: pa.Table) -> tuple[Sequence[Graph], dict[str, Any]]:
    estimators = estimators_of(model)
    if not estimators:
        raise NotSupported("the model neither is a scikit-learn estimator nor holds one as an item or attribute")
    if len(estimators) > MAX_ESTIMATORS:
        raise NotSupported(f"the model holds {len(estimators)} estimators, more than {MAX_ESTIMATORS}")
    if not data.num_rows:
        raise NotSupported("the training frame has no rows")
    rows = sample_of(data)
    calls = _calls(model, estimators, predict, rows)
    graphs, gains = [], []
    for place, known in calls.items():
        for method, call in known.items():
            graph = convert(place, estimators[place], method, call.rows, call.result)
            session = open_session(graph.content)
            graphs.append((graph, session))
            gains.append(_gain(graph, session, getattr(estimators[place], method), call.rows))
    count, difference = _compare(model, compiled(Original.known(model), graphs), predict, rows)
    measured = {"tolerance": TOLERANCE, "max_difference": difference, "rows": count}
    if not difference <= TOLERANCE:
        is_other = difference == np.inf
        told = "types or values that are no floats differ" if is_other else f"predictions differ by {difference:g}"
        return [], _failed(told, **{**measured, "max_difference": None if is_other else difference})
    methods = [
        {"place": str(graph.place), "type": type(estimators[graph.place]).__name__, "method": graph.method, "gain": gain.to_json()}
        for (graph, _), gain in zip(graphs, gains, strict=True)
    ]
    if not all(gain.is_worth_it for gain in gains):
        return [], _failed("it would be slower", **measured, methods=methods)
    return [graph for graph, _ in graphs], {"engine": ENGINE, "passed": True, **measured, "methods": methods}


def sample_of(data: pa.Table) -> pa.Table:
    """Rows from all over the frame, complete ones if there are any: a compiled form is given no others. Raises NotSupported if there are
    none at all."""
    if not data.num_rows:
        raise NotSupported("the training frame has no rows")
    missing = [pc.is_null(column, nan_is_null=pa.types.is_floating(column.type)) for column in data.columns]
    complete = data.filter(pc.invert(functools.reduce(pc.or_, missing))) if missing else data
    chosen = complete if complete.num_rows else data
    return chosen.take(np.linspace(0, chosen.num_rows - 1, min(ROWS, chosen.num_rows), dtype="i8"))


def _gain(graph: Graph, session: Any, original: Callable[..., Any], rows: Any) -> Gain:
    """How much faster the graph is, for one row and for all of these."""
    method = CompiledMethod(graph, session, original)
    one = rows.iloc[:1] if hasattr(rows, "iloc") else rows[:1]
    return Gain(_seconds(original, one) / _seconds(method, one), _seconds(original, rows) / _seconds(method, rows))


def _seconds(method: Callable[..., Any], rows: Any) -> float:
    """How long the fastest of some calls takes."""
    taken: list[float] = []
    while len(taken) < _TIMES or sum(taken) < _TIMED_SECONDS:
        began = time.perf_counter()
        method(rows)
        taken.append(time.perf_counter() - began)
    return min(taken)


def _calls(model: Any, estimators: Mapping[Place, Any], predict: Predict, rows: pa.Table) -> dict[Place, dict[str, Call]]:
    """What the predict function calls of which estimator."""
    calls: dict[Place, dict[str, Call]] = {place: {} for place in estimators}

    def recorded(place: Place, name: str) -> Callable[..., Any]:
        method = getattr(estimators[place], name)

        def call(*arguments: Any, **options: Any) -> Any:
            result = method(*arguments, **options)
            if len(arguments) == 1 and not options:
                calls[place].setdefault(name, Call(arguments[0], result))
            return result

        return call

    watched = {
        place: StandIn(Original.known(original), {name: recorded(place, name) for name in METHODS if hasattr(original, name)})
        for place, original in estimators.items()
    }
    predict(replaced(model, watched), rows)
    if not any(calls.values()):
        raise NotSupported(f"predict calls none of {', '.join(METHODS)} of an estimator with rows alone")
    return calls


def _compare(model: Any, stand_in: Any, predict: Predict, rows: pa.Table) -> tuple[int, float]:
    """How many rows were predicted both ways - these, the first alone, and some that are made up - and the largest difference."""
    difference, fallen_back = 0.0, fallbacks.count
    for table in (rows, rows.slice(0, 1)):
        difference = max(difference, difference_of(predict(model, table), predict(stand_in, table)))
    if fallbacks.count > fallen_back:
        raise NotSupported("the compiled form does not take the rows of the training")
    edges = edges_of(rows)
    try:
        expected = predict(model, edges)
    except Exception:
        # Rows that are made up may be refused.
        return rows.num_rows, difference
    return rows.num_rows + edges.num_rows, max(difference, difference_of(expected, predict(stand_in, edges)))


def difference_of(expected: pa.Table, found: pa.Table) -> float:
    """The largest difference of two predictions; infinite if they differ in anything but floats."""
    if not expected.schema.equals(found.schema) or expected.num_rows != found.num_rows:
        return np.inf
    return max((_column_difference(expected.column(name), found.column(name)) for name in expected.column_names), default=0.0)


def _column_difference(expected: pa.ChunkedArray, found: pa.ChunkedArray) -> float:
    kind = expected.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        same = pc.list_value_length(expected).equals(pc.list_value_length(found))
        return _column_difference(pc.list_flatten(expected), pc.list_flatten(found)) if same else np.inf
    if not pa.types.is_floating(kind):
        return 0.0 if expected.equals(found) else np.inf
    if not pc.is_null(expected).equals(pc.is_null(found)):
        return np.inf
    return differs(_floats(expected), _floats(found))


def _floats(column: pa.Array | pa.ChunkedArray) -> Any:
    return column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)


def edges_of(rows: pa.Table) -> pa.Table:
    """Rows that are made up: numbers of columns at their ends, beyond, and at zero, in all mixtures; the rest as it is."""
    random = np.random.default_rng(0)
    edges = rows.take(random.integers(0, rows.num_rows, EDGE_ROWS))
    for place, column in enumerate(rows.columns):
        if (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)) and column.null_count < len(column):
            values = column.drop_null().to_numpy().astype("f8")
            low, high = np.nanmin(values), np.nanmax(values)
            beyond = high - low if pa.types.is_floating(column.type) else 0
            ends = np.array([low, high, np.nanmean(values), low - beyond, high + beyond, 0.0])
            chosen = np.concatenate([ends, random.choice(ends, EDGE_ROWS - len(ends))])
            edge = pa.array(chosen.astype(column.type.to_pandas_dtype()))
            edges = edges.set_column(place, rows.schema.field(place), edge)
    return edges
