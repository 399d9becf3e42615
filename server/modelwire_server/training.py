"""What happens on train: check, accept a job, and keep the model that it makes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .artifacts.blobs.interface import BlobStore
from .artifacts.model import MODEL_TYPE, TRAINING_WORKSPACE_TYPE, Artifact, ArtifactInput, Blob
from .artifacts.tree import ArtifactTree
from .clock import new_id
from .configs.catalog import ConfigCatalog
from .database.engine import Transaction
from .errors import ModelwireError
from .execution.interface import Completed, JobSpec, Made
from .frames import StoredFrame
from .jobs.model import Job, JobKind, NewEvent
from .jobs.submission import JobQueue, Submission, new_job
from .making import artifact_made, fingerprint_of, inputs_of, made_by, require_geo
from .runners import RunnerRegistry
from .validation import check_columns, resolve_horizon


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOrder:
    """A training that a caller asks for. The frame and the GeoJSON are stored already; `timeout` is in seconds."""

    config_id: str
    data: StoredFrame
    geo: Blob | None = None
    run_info: dict[str, Any] = field(default_factory=dict)
    request_id: str = ""
    timeout: float | None = None
    tags: tuple[str, ...] = ()
    model_id: str = ""
    priority: int = 0


class Training:
    """Turns orders into jobs, and the outcome of jobs into models."""

    def __init__(
        self,
        *,
        runners: RunnerRegistry,
        configs: ConfigCatalog,
        tree: ArtifactTree,
        blobs: BlobStore,
        queue: JobQueue,
        timeout: float | None = None,
    ) -> None:
        self._runners = runners
        self._configs = configs
        self._tree = tree
        self._blobs = blobs
        self._queue = queue
        self._timeout = timeout

    async def submit(self, order: TrainingOrder) -> Submission:
        """Accepts a training. Raises ConfigNotFound, RunnerNotServed, MissingColumns, InvalidGeo, HorizonOutOfBounds,
        AlreadyExists, RequestIdReused, Overloaded, ShuttingDown."""
        config = await self._configs.get(order.config_id)
        runner = self._runners.served(config.runner_id)
        check_columns(order.data.schema, runner.info.required_covariates, "data")
        require_geo(runner.info, order.geo)
        horizon = resolve_horizon(order.run_info, None, config.data, runner.info)
        job = new_job(
            kind=JobKind.TRAIN,
            runner_id=runner.info.id,
            config_id=config.id,
            artifact_id=order.model_id or new_id(),
            timeout=order.timeout or self._timeout,
            priority=order.priority,
            input={
                "frames": {"data": order.data.blob.digest},
                "geo": order.geo and order.geo.digest,
                "config": {**config.data, "prediction_periods": horizon},
                "run_info": order.run_info,
                "tags": list(order.tags),
            },
        )
        return await self._queue.submit(
            job,
            request_id=order.request_id,
            fingerprint=fingerprint_of(job, order.model_id),
            check=lambda tx: self._tree.require_free(tx, job.artifact_id),
        )

    async def prepare(self, job: Job, folder: Path) -> JobSpec:
        """Gathers the files that a training needs."""
        geo = job.input.get("geo")
        return JobSpec(
            job_id=job.id,
            attempt=job.attempt,
            kind=job.kind,
            runner_id=job.runner_id,
            config=job.input["config"],
            frames={role: await self._blobs.local_path(digest) for role, digest in job.input["frames"].items()},
            geo=await self._blobs.local_path(geo) if geo else None,
            run_info=job.input["run_info"],
            artifact_id=job.artifact_id,
            folder=folder,
            timeout=job.timeout,
        )

    def complete(self, tx: Transaction, job: Job, done: Completed) -> Sequence[NewEvent]:
        """Stores the model, links it to its config, and returns the event that tells of it."""
        model = Artifact(
            id=job.artifact_id,
            type=MODEL_TYPE,
            inputs=(ArtifactInput("config", job.config_id), *inputs_of(job)),
            # Kept with the model: a prediction works with what the model was trained with, whatever becomes of the config.
            **made_by(job, done.made, config=job.input["config"]),
        )
        self._tree.insert_made(tx, model)
        self._configs.link_made(tx, job.config_id, model.id)
        return [artifact_made(model)]

    def keep_diagnostic(self, tx: Transaction, job: Job, left: Made, error: ModelwireError) -> Sequence[NewEvent]:
        """Stores the workspace of a training that failed, and returns the event that tells of it."""
        workspace = Artifact(
            id=job.artifact_id,
            type=TRAINING_WORKSPACE_TYPE,
            inputs=(ArtifactInput("config", job.config_id), *inputs_of(job)),
            **made_by(job, left, status="failed", error=error.message),
        )
        self._tree.insert_made(tx, workspace)
        self._configs.link_made(tx, job.config_id, workspace.id)
        return [artifact_made(workspace)]
