"""Running one job, wherever that is."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from ..artifacts.model import Blob, Origin
from ..errors import ModelwireError
from ..jobs.model import JobKind, NewEvent

# Takes what a job reports while it runs, in order; several at once when they come fast. Awaited before more is read from the job.
Report = Callable[[Sequence[NewEvent]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """All that the work needs, as data: no connection, no open file.

    `frames` are Arrow IPC stream files by role: `data` for a training, `historic` and `future` for a prediction. `config` is the
    validated config data. `model` is the model's file and the digest that it must have; if it is a workspace, its files are in the
    folder `parts`, by their digests. `folder` is a scratch folder that belongs to the attempt alone: the result is written there.
    `artifact_id` is the artifact that is to be made, and that holds the workspace of work that fails; without one no workspace is kept.
    A model that was made elsewhere has the content type `model_type` and an origin; all else are our own pickles and workspaces.
    A training may `compile` its model. The frame of a prediction is held against the `signature` of the model under `schema_policy`.
    """

    job_id: str
    attempt: int
    kind: JobKind
    runner_id: str
    config: dict[str, Any]
    frames: dict[str, Path]
    geo: Path | None = None
    run_info: dict[str, Any] = field(default_factory=dict)
    model: Path | None = None
    model_blob: Blob | None = None
    model_type: str = ""
    model_origin: Origin = Origin.TRAINED
    parts: Path | None = None
    artifact_id: str = ""
    compile: bool = False
    signature: dict[str, Any] | None = None
    schema_policy: str = ""
    folder: Path
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """Content that the work made, not yet adopted by the blob store: `path` holds it. `parts` are files that it is a list of, or
    that belong beside it, each with its own place in the store."""

    path: Path
    blob: Blob
    content_type: str
    metadata: dict[str, Any] = field(default_factory=dict)
    parts: Sequence[tuple[Path, Blob]] = ()


@dataclass(frozen=True, slots=True)
class Completed:
    """The work is done: `made` is the model or the predictions. `workspace` is the folder that the work was done in, where it is kept
    beside them."""

    made: Made
    workspace: Made | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The work ended with an error: RunnerFailed, RunnerExited, RunnerKilled, MemoryLimit, DeadlineExceeded, ... `diagnostic` is what is
    left to look at, kept under the id that was announced for the result."""

    error: ModelwireError
    diagnostic: Made | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """The work was stopped on request; none of its processes is left."""


Outcome = Completed | Failed | Stopped


class StopReason(StrEnum):
    CANCELED = "canceled"
    SHUTDOWN = "shutdown"
    LOST = "lost"  # another worker has the job by now


class StopSignal:
    """Asks running work to stop. Once set it stays set."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.reason: StopReason | None = None

    def set(self, reason: StopReason) -> None:
        if self.reason is None:
            self.reason = reason
            self._event.set()

    async def wait(self) -> None:
        await self._event.wait()


class Executor(Protocol):
    """Runs jobs. One method, so that a remote engine is another implementation."""

    async def run(self, spec: JobSpec, report: Report, stop: StopSignal) -> Outcome:
        """Runs one job to its end and returns how it ended; no process of it is left when this returns, also when this is
        canceled. A worker that is lost is Failed(WorkerLost)."""
