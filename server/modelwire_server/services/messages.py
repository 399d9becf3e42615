"""Domain objects as messages of the contract."""

import json
from datetime import datetime
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from modelwire.v1 import (
    artifact_pb2,
    config_pb2,
    error_pb2,
    job_service_pb2,
    predict_service_pb2,
    run_info_pb2,
    runner_service_pb2,
)
from modelwire_runners import RunnerInfo, ValidationDiagnostic

from ..artifacts.model import Artifact, ArtifactInput, ArtifactNode
from ..configs.model import Config
from ..inference.predictor import Predicted
from ..jobs.model import Event, EventKind, Job, JobKind, JobStatus
from .values import fill_value, fits_value, has_large_integers, struct_of

pb = job_service_pb2

# How a request names the policies of the domain.
POLICIES: dict[int, str] = {
    predict_service_pb2.SCHEMA_POLICY_UNSPECIFIED: "",
    predict_service_pb2.SCHEMA_POLICY_STRICT: "strict",
    predict_service_pb2.SCHEMA_POLICY_SAFE: "safe",
    predict_service_pb2.SCHEMA_POLICY_OFF: "off",
}


def timestamp(time: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(time)
    return message


def duration(seconds: float) -> Duration:
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def run_info_of(message: run_info_pb2.RunInfo) -> dict[str, Any]:
    """What the run says; what it does not say is left out."""
    info: dict[str, Any] = {}
    if message.HasField("prediction_periods"):
        info["prediction_periods"] = message.prediction_periods
    if message.additional_continuous_covariates:
        info["additional_continuous_covariates"] = list(message.additional_continuous_covariates)
    if message.HasField("future_covariate_origin"):
        info["future_covariate_origin"] = message.future_covariate_origin
    return info


def config_message(config: Config) -> config_pb2.Config:
    return config_pb2.Config(
        id=config.id,
        created_at=timestamp(config.created_at),
        updated_at=timestamp(config.updated_at),
        tags=config.tags,
        name=config.name,
        data=struct_of(config.data),
        runner_id=config.runner_id,
        data_json=json.dumps(config.data) if has_large_integers(config.data) else "",
    )


def artifact_message(artifact: Artifact, content: Any = None) -> artifact_pb2.Artifact:
    return artifact_pb2.Artifact(
        id=artifact.id,
        created_at=timestamp(artifact.created_at),
        updated_at=timestamp(artifact.updated_at),
        tags=artifact.tags,
        data=artifact_data(artifact, content),
        parent_id=artifact.parent_id,
        level=artifact.level,
        inputs=[_input(edge) for edge in artifact.inputs],
        runner_id=artifact.runner_id,
    )


def artifact_data(artifact: Artifact, content: Any = None) -> artifact_pb2.ArtifactData:
    data = artifact_pb2.ArtifactData(
        type=artifact.type,
        metadata=struct_of(artifact.metadata),
        content_type=artifact.content_type,
        content_size=artifact.blob.size if artifact.blob else None,
        digest=artifact.blob.digest if artifact.blob else "",
    )
    if content is not None and fits_value(content):
        fill_value(data.content, content)
    return data


def _input(edge: ArtifactInput) -> artifact_pb2.ArtifactInput:
    return artifact_pb2.ArtifactInput(role=edge.role, id=edge.id, digest=edge.digest)


def node_message(node: ArtifactNode, content: Any = None) -> artifact_pb2.ArtifactNode:
    """The node with all that hangs beneath it."""
    artifact = node.artifact
    return artifact_pb2.ArtifactNode(
        id=artifact.id,
        created_at=timestamp(artifact.created_at),
        updated_at=timestamp(artifact.updated_at),
        tags=artifact.tags,
        data=artifact_data(artifact, content),
        parent_id=artifact.parent_id,
        level=artifact.level,
        level_label=node.level_label,
        hierarchy=node.hierarchy,
        children=[node_message(child) for child in node.children],
        inputs=[_input(edge) for edge in artifact.inputs],
        runner_id=artifact.runner_id,
    )


STATUSES = {status: pb.JobStatus.Value(f"JOB_STATUS_{status.upper()}") for status in JobStatus}
KINDS = {kind: pb.JobKind.Value(f"JOB_KIND_{kind.upper()}") for kind in JobKind}
_SOURCES = {name: pb.LogSource.Value(f"LOG_SOURCE_{name.upper()}") for name in ("stdout", "stderr", "logging")}


def reason_number(reason: str | None) -> "error_pb2.ErrorReason.ValueType":
    return error_pb2.ErrorReason.Value(f"ERROR_REASON_{reason or 'UNSPECIFIED'}")


def job_message(job: Job) -> job_service_pb2.Job:
    return job_service_pb2.Job(
        id=job.id,
        status=STATUSES[job.status],
        submitted_at=timestamp(job.submitted_at),
        started_at=timestamp(job.started_at) if job.started_at else None,
        finished_at=timestamp(job.finished_at) if job.finished_at else None,
        error=job.error,
        error_traceback=job.error_traceback,
        artifact_id=job.artifact_id,
        kind=KINDS[job.kind],
        runner_id=job.runner_id,
        config_id=job.config_id,
        model_id=job.model_id,
        error_reason=reason_number(job.error_reason),
        stage=job.stage,
        progress=job.progress,
        attempt=job.attempt,
        last_sequence=job.last_sequence,
        timeout=None if job.timeout is None else duration(job.timeout),
        cancel_requested=job.cancel_requested,
        priority=job.priority,
        not_before=timestamp(job.not_before) if job.not_before else None,
    )


def event_message(event: Event) -> job_service_pb2.JobEvent:
    message = job_service_pb2.JobEvent(job_id=event.job_id, sequence=event.sequence, time=timestamp(event.time))
    data = event.data
    match event.kind:
        case EventKind.STATE:
            message.state.CopyFrom(_state_changed(data))
        case EventKind.STAGE:
            message.stage.stage = data["stage"]
        case EventKind.PROGRESS:
            message.progress.fraction, message.progress.message = data["fraction"], data.get("message") or ""
        case EventKind.LOG:
            message.log.CopyFrom(_log_line(data))
        case EventKind.METRIC:
            message.metric.CopyFrom(pb.MetricReported(name=data["name"], value=float(data["value"]), step=data.get("step")))
        case EventKind.ARTIFACT:
            made = pb.ArtifactMade(artifact_id=data["artifact_id"], type=data["type"], content_size=data["content_size"])
            message.artifact.CopyFrom(made)
    return message


def _state_changed(data: dict[str, Any]) -> pb.StateChanged:
    return pb.StateChanged(
        status=STATUSES[JobStatus(data["status"])],
        reason=reason_number(data.get("reason")),
        message=data.get("message") or "",
        stage=data.get("stage") or "",
        attempt=data.get("attempt") or 0,
    )


def _log_line(data: dict[str, Any]) -> pb.LogLine:
    source = _SOURCES.get(data["source"], pb.LOG_SOURCE_UNSPECIFIED)
    return pb.LogLine(source=source, level=data.get("level") or "", logger=data.get("logger") or "", text=data["text"])


def heartbeat(job_id: str, sequence: int, time: datetime) -> job_service_pb2.JobEvent:
    return job_service_pb2.JobEvent(job_id=job_id, sequence=sequence, time=timestamp(time), heartbeat=pb.Heartbeat())


def runner_message(info: RunnerInfo) -> runner_service_pb2.RunnerInfo:
    rpb, metadata = runner_service_pb2, info.model_metadata
    status = metadata.author_assessed_status
    described = metadata.model_dump(exclude={"author_assessed_status"}, exclude_none=True)
    return rpb.RunnerInfo(
        id=info.id,
        display_name=info.display_name,
        version=info.version,
        description=info.description,
        model_metadata=rpb.ModelMetadata(
            author_assessed_status=rpb.AssessedStatus.Value(f"ASSESSED_STATUS_{status.upper() if status else 'UNSPECIFIED'}"),
            **described,
        ),
        period_type=rpb.PeriodType.Value(f"PERIOD_TYPE_{info.period_type.upper()}"),
        min_prediction_periods=info.min_prediction_periods,
        max_prediction_periods=info.max_prediction_periods,
        allow_free_additional_continuous_covariates=info.allow_free_additional_continuous_covariates,
        required_covariates=info.required_covariates,
        requires_geo=info.requires_geo,
    )


def diagnostic_message(found: ValidationDiagnostic) -> runner_service_pb2.ValidationDiagnostic:
    severity = runner_service_pb2.ValidationSeverity.Value(f"VALIDATION_SEVERITY_{found.severity.upper()}")
    return runner_service_pb2.ValidationDiagnostic(
        severity=severity, code=found.code, message=found.message, field=found.field or None
    )


def fill_timing(timing: predict_service_pb2.PredictTiming, predicted: Predicted, total_seconds: float) -> None:
    timing.queue_us = round(predicted.queue_seconds * 1e6)
    timing.compute_us = round(predicted.compute_seconds * 1e6)
    timing.total_us = round(total_seconds * 1e6)
