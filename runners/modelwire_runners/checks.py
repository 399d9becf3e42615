"""The contract of runners and predictors as a check that authors can run on theirs."""

import pickle
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from .context import RunContext
from .diagnostics import Severity, ValidationDiagnostic
from .invoke import PredictionError, Runner, run_predict, run_train
from .predictor import Predictor
from .runner import check_signature
from .scripts import ScriptError


def check_runner(
    runner: Runner,
    data: pa.Table | None = None,
    future: pa.Table | None = None,
    *,
    config: dict[str, Any] | None = None,
    geo: dict[str, Any] | None = None,
) -> list[ValidationDiagnostic]:
    """What is wrong with a runner; empty when all is well.

    Looks at signatures and at the config schema. With `data` it trains, stores and loads the model, and with `future` it predicts.
    """
    findings = [*_signatures(runner), *_schema(runner)]
    if data is None or any(finding.severity is Severity.ERROR for finding in findings):
        return findings
    return [*findings, *_run(runner, config or {}, data, future, geo)]


def check_predictor(predictor: Predictor) -> list[ValidationDiagnostic]:
    """What is wrong with a predictor; empty when it can predict and score on its test inputs."""
    try:
        predictor.self_test()
    except Exception as error:
        return [_error("self_test", str(error), "self_test")]
    return []


def _error(code: str, message: str, field: str | None = None) -> ValidationDiagnostic:
    return ValidationDiagnostic(severity=Severity.ERROR, code=code, message=message[:2048], field=field)


def _signatures(runner: Runner) -> list[ValidationDiagnostic]:
    expected = {"on_train": ("config", "data"), "on_predict": ("config", "model", "historic", "future")}
    if runner.overrides("on_score"):
        expected["on_score"] = ("config", "model", "data")
    findings = []
    for hook, arguments in expected.items():
        try:
            check_signature(runner.function(hook), hook, arguments)
        except TypeError as error:
            findings.append(_error("signature", str(error), hook))
    return findings


def _schema(runner: Runner) -> list[ValidationDiagnostic]:
    try:
        runner.config_schema.model_json_schema()
    except Exception as error:
        return [_error("config_schema", f"the config schema has no JSON schema: {error}", "config_schema")]
    required = [name for name, field in runner.config_schema.model_fields.items() if field.is_required()]
    if not required:
        return []
    message = f"a config without data will be refused, since these have no default: {', '.join(required)}"
    return [ValidationDiagnostic(severity=Severity.INFO, code="config_required", message=message, field=required[0])]


def _run(
    runner: Runner, config: dict[str, Any], data: pa.Table, future: pa.Table | None, geo: dict[str, Any] | None
) -> list[ValidationDiagnostic]:
    with tempfile.TemporaryDirectory() as folder:
        return _run_in(Path(folder), runner, config, data, future, geo)


def _run_in(
    folder: Path, runner: Runner, config: dict[str, Any], data: pa.Table, future: pa.Table | None, geo: dict[str, Any] | None
) -> list[ValidationDiagnostic]:
    import cloudpickle

    context = RunContext(folder=folder)
    try:
        model = run_train(runner, config, data, geo, context)
    except Exception as error:
        return [_error("train_failed", _told("on_train", error), "on_train")]
    try:
        model = pickle.loads(cloudpickle.dumps(model))
    except Exception as error:
        return [_error("model_not_serializable", f"the model cannot be stored and loaded again: {error}", "on_train")]
    if future is None:
        return []
    try:
        run_predict(runner, config, model, future.slice(0, 0), future, geo, context)
    except PredictionError as error:
        return [_error(f"prediction_{error.rule}", str(error), "on_predict")]
    except Exception as error:
        return [_error("predict_failed", _told("on_predict", error), "on_predict")]
    return []


def _told(hook: str, error: Exception) -> str:
    """Scripts do not raise: what they are known to have done is told as it is."""
    return str(error) if isinstance(error, ScriptError) else f"{hook} raised {type(error).__name__}: {error}"
