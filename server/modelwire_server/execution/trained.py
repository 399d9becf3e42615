"""What becomes known at the end of a training, in the process of its job: the columns, and whether the model can be compiled.

Nothing here fails the training: what goes wrong is left out, and the metadata of the model says why.
"""

import contextlib
import io
import logging
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from modelwire_runners import BaseModelRunner, RunContext
from modelwire_runners.invoke import run_predict

from ..columns import SchemaPolicy
from ..compiled.stand_ins import Graph
from ..compiled.trial import ENGINE, Compiled, compile_model
from ..signature import Signature
from .content import HashedFile
from .interface import JobSpec

Runner = BaseModelRunner[Any]

# A model that takes longer to compile stays as it is.
_MAX_SECONDS = 60.0
# With less time than this before the job is ended, nothing is tried.
_LEAST_SECONDS = 1.0
# From so many rows are the columns of the predictions known.
_ROWS = 32


class OutOfTime(BaseException):
    """What is tried takes too long. No error, so that nobody on the way takes it for one of his own."""


@dataclass(slots=True)
class Known:
    """What goes into the metadata of the model, and the files beside it."""

    metadata: dict[str, Any] = field(default_factory=dict)
    parts: list[dict[str, Any]] = field(default_factory=list)


def look_at(spec: JobSpec, runner: Runner, model: Any, data: pa.Table, context: RunContext, stage: Callable[[str], None]) -> Known:
    """Records the columns of the training, predicts a few of its rows, and compiles the model if that is wanted and possible."""
    if not runner.independent_rows:
        return Known({"signature": signature_of(data, runner)})

    def predict(some_model: Any, table: pa.Table) -> pa.Table:
        quiet = RunContext(job_id=spec.job_id, run_info=spec.run_info, folder=context.folder, is_canceled=context.is_canceled)
        return run_predict(runner, spec.config, some_model, table.slice(0, 0), table, None, quiet)

    rows = data.select([name for name in data.column_names if name not in runner.target_columns])
    predictions = _attempt(lambda: predict(model, rows.slice(0, _ROWS)).schema, _seconds_left(runner, context))
    outputs = predictions if isinstance(predictions, pa.Schema) else None
    known = Known({"signature": signature_of(data, runner, outputs)})
    if spec.compile and runner.compile:
        stage("compiling")
        report, known.parts = _compiled(spec, lambda: compile_model(model, predict, rows), _seconds_left(runner, context))
        known.metadata["compiled"] = report
        _tell(report, context)
    return known


def signature_of(data: pa.Table, runner: Runner, predictions: pa.Schema | None = None) -> dict[str, Any]:
    """What goes into the metadata of the model."""
    try:
        return Signature.of(data, runner.target_columns, predictions).to_json()
    except Exception as error:
        return {"note": f"the columns could not be recorded: {type(error).__name__}: {error}"}


def as_trained(spec: JobSpec, future: pa.Table) -> pa.Table:
    """The frame of a prediction with the columns of the training. Raises SchemaViolation."""
    if spec.signature is None:
        return future
    return Signature.from_json(spec.signature).adaptation(future.schema, SchemaPolicy(spec.schema_policy)).apply(future)


def _compiled(spec: JobSpec, work: Callable[[], Compiled], seconds: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The report on what was tried, and the files if it went well."""

    def compile_and_write() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        found = work()
        parts = [_written(spec.folder / f"compiled-{number}.onnx", graph) for number, graph in enumerate(found.graphs)]
        report = dict(found.report)
        if parts:
            told = zip(report["methods"], parts, strict=True)
            report["methods"] = [{**entry, "digest": part["digest"], "size": part["size"]} for entry, part in told]
        return report, parts

    found = _attempt(compile_and_write, seconds)
    return ({"engine": ENGINE, "passed": False, "reason": found}, []) if isinstance(found, str) else found


def _written(path: Path, graph: Graph) -> dict[str, Any]:
    with HashedFile(path) as file:
        file.write(graph.content)
    return {"file": path.name, "digest": file.blob.digest, "size": file.blob.size}


def _tell(report: dict[str, Any], context: RunContext) -> None:
    if report["passed"]:
        context.log(f"compiled: predictions differ by {report['max_difference']:g} at most on {report['rows']} rows")
    else:
        context.log(f"not compiled, the model predicts as it was trained: {report['reason']}")


def _seconds_left(runner: Runner, context: RunContext) -> float:
    """How long may be tried: at most half of the time that the job still has."""
    remaining, limit = context.remaining(), runner.limits.cpu_seconds
    left = [_MAX_SECONDS]
    if remaining is not None:
        left.append(remaining / 2)
    if limit is not None:
        left.append((limit - time.process_time()) / 2)
    return min(left)


def _attempt(work: Callable[[], Any], seconds: float) -> Any:
    """What comes out, or a text that says why nothing does."""
    if seconds < _LEAST_SECONDS:
        return "there is no time left before the job is ended"
    try:
        with _in_silence(), _within(seconds):
            return work()
    except OutOfTime:
        return f"it takes longer than {seconds:.0f} s"
    except MemoryError:
        return "there is not enough memory"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raises OutOfTime in the midst of what takes longer."""

    def stop(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """What a predict function writes while it is only tried is of no interest to anybody."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
