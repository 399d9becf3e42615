"""What the server tells, as plain dataclasses. Times are aware UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from modelwire.events import JobStatus, reason_name, status_of
from modelwire.v1 import job_service_pb2, runner_service_pb2
from modelwire.values import from_struct, from_value

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from modelwire.v1 import artifact_pb2, config_pb2

MODEL_TYPE = "ml_training"
ARROW_STREAM = "application/vnd.apache.arrow.stream"


class HealthStatus(StrEnum):
    """What a server says of itself, or of one of its services."""

    UNKNOWN = "unknown"
    SERVING = "serving"
    NOT_SERVING = "not_serving"

    def __repr__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What one training or prediction asks for beyond its config."""

    prediction_periods: int | None = None
    additional_continuous_covariates: tuple[str, ...] = ()
    future_covariate_origin: str | None = None


@dataclass(frozen=True, kw_only=True)
class ConfigRecord:
    """Named, validated parameters for a runner; `data` has all defaults filled in."""

    id: str
    name: str
    data: dict[str, Any]
    runner_id: str
    tags: tuple[str, ...]
    created_at: datetime = field(repr=False)
    updated_at: datetime = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ArtifactInput:
    """Something that went into an artifact: a config, a job, a model, or data of which only the digest is known."""

    role: str
    id: str = ""
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class ArtifactRecord:
    """A node in the tree of everything that was made.

    `content_size` is in bytes, None without content; `content` is small JSON content, read by `artifacts.get` only.
    """

    id: str
    type: str
    level: int
    parent_id: str | None
    tags: tuple[str, ...]
    runner_id: str
    content_type: str
    content_size: int | None
    digest: str = field(repr=False)
    metadata: dict[str, Any] = field(repr=False)
    content: Any = field(repr=False)
    inputs: tuple[ArtifactInput, ...] = field(repr=False)
    created_at: datetime = field(repr=False)
    updated_at: datetime = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ArtifactNode(ArtifactRecord):
    """An artifact at its place in the tree, with its descendants; `expand` leaves the children out."""

    level_label: str
    hierarchy: str
    children: tuple[ArtifactNode, ...] = field(repr=False)


@dataclass(kw_only=True)
class JobRecord:
    """One piece of asynchronous work. `progress` is 0 to 1 or unknown; `timeout` is in seconds of running time."""

    id: str
    kind: str
    status: JobStatus = JobStatus.PENDING
    stage: str = ""
    progress: float | None = None
    artifact_id: str
    runner_id: str = field(default="", repr=False)
    config_id: str = field(default="", repr=False)
    model_id: str = field(default="", repr=False)
    attempt: int = field(default=0, repr=False)
    error: str = ""
    reason: str = ""
    traceback: str = field(default="", repr=False)
    timeout: float | None = field(default=None, repr=False)
    cancel_requested: bool = field(default=False, repr=False)
    last_sequence: int = field(default=0, repr=False)
    priority: int = field(default=0, repr=False)
    not_before: datetime | None = field(default=None, repr=False)
    submitted_at: datetime | None = field(default=None, repr=False)
    started_at: datetime | None = field(default=None, repr=False)
    finished_at: datetime | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """Who made a runner's model, and how far it may be trusted."""

    author: str | None = None
    author_note: str | None = None
    author_assessed_status: str = ""
    contact_email: str | None = None
    organization: str | None = None
    organization_logo_url: str | None = None
    citation_info: str | None = None
    repository_url: str | None = None
    documentation_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunnerInfo:
    """A runner's info card."""

    id: str
    display_name: str
    version: str
    description: str | None
    period_type: str
    min_prediction_periods: int
    max_prediction_periods: int
    required_covariates: tuple[str, ...]
    allow_free_additional_continuous_covariates: bool = field(repr=False)
    requires_geo: bool
    model_metadata: ModelMetadata = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Runner(RunnerInfo):
    """One runner, described: its card, the JSON schema of its configs, the labels of its tree and what it can do.

    `frame_library` is pandas, pyarrow or polars.
    """

    config_schema: dict[str, Any] = field(repr=False)
    hierarchy: str
    level_labels: dict[int, str]
    frame_library: str
    validates_training: bool
    validates_prediction: bool
    reports_progress: bool
    independent_rows: bool


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """One finding of a validation. `severity` is error, warning or info."""

    severity: str
    code: str
    message: str
    field: str | None


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The findings of a validation; true if it found no error."""

    valid: bool
    diagnostics: tuple[Diagnostic, ...]

    def __bool__(self) -> bool:
        return self.valid


@dataclass(frozen=True, kw_only=True)
class SampleData:
    """Input that a runner accepts: `data` for a training, `historic` and `future` for a prediction."""

    data: Any = None
    historic: Any = None
    future: Any = None
    geo: dict[str, Any] | None = None
    config_id: str | None = None


def _time(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)


def config_fields(config: config_pb2.Config) -> dict[str, Any]:
    """The fields of a ConfigRecord."""
    return {
        "id": config.id,
        "name": config.name,
        "data": from_struct(config.data),
        "runner_id": config.runner_id,
        "tags": tuple(config.tags),
        "created_at": _time(config.created_at),
        "updated_at": _time(config.updated_at),
    }


def artifact_fields(artifact: artifact_pb2.Artifact | artifact_pb2.ArtifactNode) -> dict[str, Any]:
    """The fields of an ArtifactRecord."""
    data = artifact.data
    return {
        "id": artifact.id,
        "type": data.type,
        "level": artifact.level,
        "parent_id": artifact.parent_id if artifact.HasField("parent_id") else None,
        "tags": tuple(artifact.tags),
        "runner_id": artifact.runner_id,
        "content_type": data.content_type,
        "content_size": data.content_size if data.HasField("content_size") else None,
        "digest": data.digest,
        "metadata": from_struct(data.metadata),
        "content": from_value(data.content),
        "inputs": tuple(ArtifactInput(role=i.role, id=i.id, digest=i.digest) for i in artifact.inputs),
        "created_at": _time(artifact.created_at),
        "updated_at": _time(artifact.updated_at),
    }


def node_of(node: artifact_pb2.ArtifactNode) -> ArtifactNode:
    """An artifact with its descendants. Trees are at most 64 deep."""
    return ArtifactNode(
        **artifact_fields(node),
        level_label=node.level_label,
        hierarchy=node.hierarchy,
        children=tuple(node_of(child) for child in node.children),
    )


def job_fields(job: job_service_pb2.Job) -> dict[str, Any]:
    """The fields of a JobRecord."""
    return {
        "id": job.id,
        "kind": job_service_pb2.JobKind.Name(job.kind).removeprefix("JOB_KIND_").lower(),
        "status": status_of(job.status),
        "stage": job.stage,
        "progress": job.progress if job.HasField("progress") else None,
        "artifact_id": job.artifact_id,
        "runner_id": job.runner_id,
        "config_id": job.config_id,
        "model_id": job.model_id,
        "attempt": job.attempt,
        "error": job.error,
        "reason": reason_name(job.error_reason),
        "traceback": job.error_traceback,
        "timeout": job.timeout.ToTimedelta().total_seconds() if job.HasField("timeout") else None,
        "cancel_requested": job.cancel_requested,
        "last_sequence": job.last_sequence,
        "priority": job.priority,
        **{name: _time(getattr(job, name)) if job.HasField(name) else None for name in _JOB_TIMES},
    }


JobTime = Literal["submitted_at", "started_at", "finished_at", "not_before"]
_JOB_TIMES: tuple[JobTime, ...] = ("submitted_at", "started_at", "finished_at", "not_before")
_METADATA_TEXTS = tuple(f.name for f in runner_service_pb2.ModelMetadata.DESCRIPTOR.fields if f.name != "author_assessed_status")


def _metadata(metadata: runner_service_pb2.ModelMetadata) -> ModelMetadata:
    present = {descriptor.name: value for descriptor, value in metadata.ListFields()}
    texts = {name: present.get(name) for name in _METADATA_TEXTS}
    status = runner_service_pb2.AssessedStatus.Name(metadata.author_assessed_status).removeprefix("ASSESSED_STATUS_").lower()
    return ModelMetadata(author_assessed_status="" if status == "unspecified" else status, **texts)


def info_fields(info: runner_service_pb2.RunnerInfo) -> dict[str, Any]:
    """The fields of a RunnerInfo."""
    return {
        "id": info.id,
        "display_name": info.display_name,
        "version": info.version,
        "description": info.description if info.HasField("description") else None,
        "period_type": runner_service_pb2.PeriodType.Name(info.period_type).removeprefix("PERIOD_TYPE_").lower(),
        "min_prediction_periods": info.min_prediction_periods,
        "max_prediction_periods": info.max_prediction_periods,
        "required_covariates": tuple(info.required_covariates),
        "allow_free_additional_continuous_covariates": info.allow_free_additional_continuous_covariates,
        "requires_geo": info.requires_geo,
        "model_metadata": _metadata(info.model_metadata),
    }


def runner_of(answer: runner_service_pb2.GetRunnerResponse) -> Runner:
    """A runner, described."""
    can = answer.capabilities
    return Runner(
        **info_fields(answer.info),
        config_schema=from_struct(answer.config_schema),
        hierarchy=answer.hierarchy.name,
        level_labels=dict(sorted(answer.hierarchy.level_labels.items())),
        frame_library=can.frame_library,
        validates_training=can.validates_training,
        validates_prediction=can.validates_prediction,
        reports_progress=can.reports_progress,
        independent_rows=can.independent_rows,
    )


def validation_of(answer: runner_service_pb2.ValidateInputResponse) -> Validation:
    """The findings of a validation."""
    return Validation(valid=answer.valid, diagnostics=tuple(_diagnostic(found) for found in answer.diagnostics))


def _diagnostic(found: runner_service_pb2.ValidationDiagnostic) -> Diagnostic:
    return Diagnostic(
        severity=runner_service_pb2.ValidationSeverity.Name(found.severity).removeprefix("VALIDATION_SEVERITY_").lower(),
        code=found.code,
        message=found.message,
        field=found.field if found.HasField("field") else None,
    )
