"""Is this input good for that runner? Rules that submissions keep, and the dry check that tells all findings at once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from modelwire_runners import RunnerInfo, Severity, ValidationDiagnostic
from modelwire_runners.invoke import run_validate_predict, run_validate_train

from .artifacts.tree import ArtifactTree
from .configs.catalog import ConfigCatalog
from .errors import (
    ArtifactNotFound,
    ConfigNotFound,
    ContentCorrupted,
    ContentMissing,
    FailedTraining,
    FieldViolation,
    HorizonOutOfBounds,
    InvalidGeo,
    MissingColumns,
    ModelNotFound,
    ModelNotLoadable,
    ModelwireError,
    NotFound,
    PreconditionFailed,
    UntrustedContent,
)
from .inference.models import LoadedModel, ModelCache
from .runners import Runner, RunnerRegistry


def check_columns(schema: pa.Schema, required: Sequence[str], frame: str) -> None:
    """Raises MissingColumns if a frame lacks columns that the runner needs."""
    missing = [name for name in required if name not in schema.names]
    if missing:
        has = f"the frame has: {', '.join(schema.names[:50]) or 'no columns'}"
        message = f"{frame} lacks the columns {', '.join(missing)}; {has}"
        violations = [FieldViolation(frame, f"lacks the column {name!r}") for name in missing]
        raise MissingColumns(message, violations=violations, columns=",".join(missing))


def require_geo(info: RunnerInfo, geo: object) -> None:
    """Raises InvalidGeo if the runner cannot do without GeoJSON and there is none."""
    if info.requires_geo and geo is None:
        message = f"the runner {info.id} needs a GeoJSON FeatureCollection"
        raise InvalidGeo(message, violations=[FieldViolation("geo", message)], field="geo")


def resolve_horizon(run_info: dict[str, Any], periods: int | None, config: dict[str, Any], info: RunnerInfo) -> int:
    """How many periods a run predicts: what the run says, else what the future frame spans, else what the config says. Raises
    HorizonOutOfBounds."""
    sources = {"run_info": run_info.get("prediction_periods"), "future": periods, "config": config.get("prediction_periods", 3)}
    source, horizon = next((name, int(value)) for name, value in sources.items() if value is not None)
    least, most = info.min_prediction_periods, info.max_prediction_periods
    if least <= horizon <= most:
        return horizon
    bound = f"exceeds the maximum allowed value ({most})" if horizon > most else f"is below the minimum allowed value ({least})"
    message = f"prediction_periods ({horizon}, from {source}) {bound}"
    place = {"run_info": "run_info.prediction_periods", "future": "future", "config": "config.prediction_periods"}[source]
    raise HorizonOutOfBounds(message, violations=[FieldViolation(place, message)], periods=horizon, minimum=least, maximum=most)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainInput:
    """The input of a training, to be checked."""

    config_id: str
    data: pa.Table
    geo: dict[str, Any] | None = None
    run_info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictInput:
    """The input of a prediction, to be checked. `periods` is what the future frame spans."""

    artifact_id: str
    historic: pa.Table
    future: pa.Table
    periods: int | None = None
    geo: dict[str, Any] | None = None
    run_info: dict[str, Any] = field(default_factory=dict)


class Validator:
    """Checks input without running it. Findings are returned, not raised; the runner's own checks come last."""

    def __init__(self, *, runners: RunnerRegistry, configs: ConfigCatalog, tree: ArtifactTree, models: ModelCache) -> None:
        self._runners = runners
        self._configs = configs
        self._tree = tree
        self._models = models

    async def validate_train(self, given: TrainInput) -> list[ValidationDiagnostic]:
        try:
            config = await self._configs.get(given.config_id)
        except ConfigNotFound as error:
            return [finding("config_not_found", error.message, "config_id")]
        runner = self._runners.served(config.runner_id)
        found = [
            *horizon_findings(given.run_info, None, config.data, runner.info),
            *empty(data=given.data),
            *columns(runner, data=given.data),
            *places(runner, given.geo),
        ]
        if found:
            return found
        return await own_checks(run_validate_train, runner, config.data, given.data, given.geo)

    async def validate_predict(self, given: PredictInput) -> list[ValidationDiagnostic]:
        model = await self._model(given.artifact_id)
        if isinstance(model, ValidationDiagnostic):
            return [model]
        found = [
            *horizon_findings(given.run_info, given.periods, model.config, model.runner.info),
            *empty(historic=given.historic, future=given.future),
            *columns(model.runner, future=given.future),
            *places(model.runner, given.geo),
            *await self._config_findings(model),
        ]
        if any(one.severity is Severity.ERROR for one in found):
            return found
        own = await own_checks(run_validate_predict, model.runner, model.config, given.historic, given.future, given.geo)
        return [*found, *own]

    async def _model(self, artifact_id: str) -> LoadedModel | ValidationDiagnostic:
        try:
            model = await self._models.get(artifact_id)
        except (NotFound, PreconditionFailed, UntrustedContent, ContentCorrupted, ModelNotLoadable) as error:
            return finding(code_of(error), error.message, "artifact_id")
        try:
            await self._models.verify(model)
        except ContentCorrupted as error:
            return finding("training_workspace_corrupted", error.message, "artifact_id")
        return model

    async def _config_findings(self, model: LoadedModel) -> list[ValidationDiagnostic]:
        """Predictions go on with what the model was trained with; whoever deleted its config may want to know."""
        config_id = (await self._tree.get(model.artifact_id)).metadata.get("config_id")
        try:
            if config_id:
                await self._configs.get(config_id)
        except ConfigNotFound:
            message = "the model's config is gone; predictions use the data that the model was trained with"
            return [finding("config_not_found", message, "artifact_id", Severity.WARNING)]
        return []


def code_of(error: ModelwireError) -> str:
    """What a diagnostic calls the reason why a model cannot be had."""
    match error:
        case ModelNotFound() | ArtifactNotFound():
            return "training_artifact_not_found"
        case FailedTraining():
            return "training_artifact_failed"
        case ContentMissing():
            return "model_pickle_missing"
        case ContentCorrupted() | ModelNotLoadable():
            return "model_pickle_corrupted"
        case _:
            return "invalid_training_artifact"


def finding(code: str, message: str, place: str, severity: Severity = Severity.ERROR) -> ValidationDiagnostic:
    return ValidationDiagnostic(severity=severity, code=code, message=message[:2048], field=place)


def horizon_findings(
    run_info: dict[str, Any], periods: int | None, config: dict[str, Any], info: RunnerInfo
) -> list[ValidationDiagnostic]:
    """Whether the horizon is within bounds, and whether the run and the frame mean the same one."""
    try:
        horizon = resolve_horizon(run_info, periods, config, info)
    except HorizonOutOfBounds as error:
        return [finding("prediction_periods_out_of_bounds", error.message, error.violations[0].field)]
    if periods is not None and periods != horizon:
        message = f"run_info asks for {horizon} periods, but the future frame spans {periods}"
        return [finding("prediction_periods_mismatch", message, "future", Severity.WARNING)]
    return []


def empty(**frames: pa.Table) -> list[ValidationDiagnostic]:
    names = {"data": "Training data", "historic": "Historic data", "future": "Future data"}
    return [finding(f"{role}_empty", f"{names[role]} is empty", role) for role, table in frames.items() if table.num_rows == 0]


def columns(runner: Runner, **frames: pa.Table) -> list[ValidationDiagnostic]:
    found = []
    for role, table in frames.items():
        try:
            check_columns(table.schema, runner.info.required_covariates, role)
        except MissingColumns as error:
            found.append(finding("missing_columns", error.message, role))
    return found


def places(runner: Runner, geo: object) -> list[ValidationDiagnostic]:
    try:
        require_geo(runner.info, geo)
    except InvalidGeo as error:
        return [finding("geo_missing", error.message, "geo")]
    return []


async def own_checks(check: Any, *arguments: Any) -> list[ValidationDiagnostic]:
    """The findings of the runner's own hook; one that raises is a finding itself."""
    try:
        findings: list[ValidationDiagnostic] = await asyncio.to_thread(check, *arguments)
    except Exception as error:
        return [finding("validation_failed", f"the runner's validation raised {type(error).__name__}: {error}", "")]
    return findings
