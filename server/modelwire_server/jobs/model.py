"""Jobs and their events, as the domain sees them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class JobStatus(StrEnum):
    """The states of a job: pending -> running -> completed, failed or canceled; running -> pending for another attempt."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        return self not in (JobStatus.PENDING, JobStatus.RUNNING)


class JobKind(StrEnum):
    """What a job does."""

    TRAIN = "train"
    PREDICT = "predict"


class EventKind(StrEnum):
    """What an event tells. Beside each the keys of its data."""

    STATE = "state"  # status, reason?, message?, stage, attempt
    STAGE = "stage"  # stage
    PROGRESS = "progress"  # fraction, message?
    LOG = "log"  # source (stdout, stderr, logging), text, level?, logger?
    METRIC = "metric"  # name, value, step?
    ARTIFACT = "artifact"  # artifact_id, type, content_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One piece of asynchronous work. Times are aware UTC; `timeout` is in seconds of running time. Of pending jobs, those with a higher
    `priority` begin first, none before its `not_before`. `attempt` counts beginnings, `failures` those that ended badly.

    `input` is the JSON document of what to work with: digests of the frames and of the GeoJSON by role, the run info, the config's
    data at the time of submission, tags of the artifact.
    """

    id: str
    kind: JobKind
    status: JobStatus = JobStatus.PENDING
    runner_id: str
    config_id: str = ""
    model_id: str = ""
    artifact_id: str
    input: dict[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    submitted_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None
    error_traceback: str | None = None
    error_reason: str | None = None
    stage: str = "queued"
    progress: float | None = None
    attempt: int = 0
    failures: int = 0
    priority: int = 0
    not_before: datetime | None = None
    last_sequence: int = 0
    cancel_requested: bool = False
    cancel_message: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a job and to tell of it: one worker has it, for one attempt, until its lease is over."""

    worker_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event before it has a sequence."""

    kind: EventKind
    data: dict[str, Any]
    time: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """One entry in a job's log. Sequences run 1, 2, 3 ... without gaps."""

    job_id: str
    sequence: int
    kind: EventKind
    data: dict[str, Any]
    time: datetime
