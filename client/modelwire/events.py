"""The events of a job.

Event
├── StateEvent       the job changed its state
├── StageEvent       the work entered another stage
├── ProgressEvent    the runner tells how far it is
├── LogEvent         the work wrote a line
├── MetricEvent      the runner measured something
└── ArtifactEvent    an artifact was made
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from modelwire.v1 import error_pb2, job_service_pb2

if TYPE_CHECKING:
    from datetime import datetime


class JobStatus(StrEnum):
    """The states of a job: pending -> running -> completed, failed or canceled; running -> pending for another attempt."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    def __repr__(self) -> str:
        return repr(self.value)

    @property
    def is_final(self) -> bool:
        """Whether a job in this state has ended."""
        return self not in (JobStatus.PENDING, JobStatus.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry in a job's log. Sequences run 1, 2, 3 ... without gaps; `time` is aware UTC."""

    job_id: str
    sequence: int
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StateEvent(Event):
    """The job changed its state. `reason` and `message` say why it failed or was canceled."""

    status: JobStatus
    reason: str
    message: str
    stage: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEvent(Event):
    """The work entered another stage: starting, loading, training, predicting, saving."""

    stage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressEvent(Event):
    """The runner tells how far it is: `fraction` is 0 to 1."""

    fraction: float
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent(Event):
    """The work wrote a line. `source` is stdout, stderr or logging; `level` and `logger` are empty for output."""

    source: str
    level: str
    logger: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricEvent(Event):
    """The runner measured something."""

    name: str
    value: float
    step: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactEvent(Event):
    """An artifact was made; `content_size` is in bytes."""

    artifact_id: str
    type: str
    content_size: int


def reason_name(reason: error_pb2.ErrorReason.ValueType) -> str:
    """A reason without its prefix; empty if there is none."""
    return error_pb2.ErrorReason.Name(reason).removeprefix("ERROR_REASON_") if reason else ""


def status_of(status: job_service_pb2.JobStatus.ValueType) -> JobStatus:
    """The state that a number of the contract stands for."""
    return JobStatus(job_service_pb2.JobStatus.Name(status).removeprefix("JOB_STATUS_").lower())


def event_of(event: job_service_pb2.JobEvent) -> Event | None:
    """The typed event; None for heartbeats, and for kinds that this client is too old to know."""
    common: dict[str, Any] = {"job_id": event.job_id, "sequence": event.sequence, "time": event.time.ToDatetime(UTC)}
    match event.WhichOneof("payload"):
        case "state":
            return _state(event.state, common)
        case "stage":
            return StageEvent(stage=event.stage.stage, **common)
        case "progress":
            return ProgressEvent(fraction=event.progress.fraction, message=event.progress.message, **common)
        case "log":
            return _log(event.log, common)
        case "metric":
            step = event.metric.step if event.metric.HasField("step") else None
            return MetricEvent(name=event.metric.name, value=event.metric.value, step=step, **common)
        case "artifact":
            made = event.artifact
            return ArtifactEvent(artifact_id=made.artifact_id, type=made.type, content_size=made.content_size, **common)
        case _:
            return None


def _state(state: job_service_pb2.StateChanged, common: dict[str, Any]) -> StateEvent:
    return StateEvent(
        status=status_of(state.status),
        reason=reason_name(state.reason),
        message=state.message,
        stage=state.stage,
        attempt=state.attempt,
        **common,
    )


def _log(line: job_service_pb2.LogLine, common: dict[str, Any]) -> LogEvent:
    source = job_service_pb2.LogSource.Name(line.source).removeprefix("LOG_SOURCE_").lower()
    return LogEvent(source=source, level=line.level, logger=line.logger, text=line.text, **common)
