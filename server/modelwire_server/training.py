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
from .jobs.submission import JobQueue, Submission, failed_job, new_job
from .making import MISTAKES, artifact_made, compiled_of, fingerprint_of, inputs_of, made_by
from .runners import RunnerRegistry
from .validation import check_columns, require_geo, resolve_horizon


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOrder:
    """A training that a caller asks for. The frame and the GeoJSON are stored already; `timeout` is in seconds. With `errors_in_job` what
    is wrong with it fails its job instead of its submission."""

    config_id: str
    data: StoredFrame
    geo: Blob | None = None
    run_info: dict[str, Any] = field(default_factory=dict)
    request_id: str = ""
    timeout: float | None = None
    tags: tuple[str, ...] = ()
    model_id: str = ""
    priority: int = 0
    errors_in_job: bool = False


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
        compile: bool = False,
    ) -> None:
        self._runners = runners
        self._configs = configs
        self._tree = tree
        self._blobs = blobs
        self._queue = queue
        self._timeout = timeout
        self._compile = compile

    async def submit(self, order: TrainingOrder) -> Submission:
        """Accepts a training. Raises ConfigNotFound, RunnerNotServed, MissingColumns, InvalidGeo, HorizonOutOfBounds,
        AlreadyExists, RequestIdReused, Overloaded, ShuttingDown."""
        job = await self._job(order)
        return await self._queue.submit(
            job,
            request_id=order.request_id,
            fingerprint=fingerprint_of(job, order.model_id),
            check=lambda tx: self._tree.check_chosen(tx, order.model_id),
        )

    async def _job(self, order: TrainingOrder) -> Job:
        asked: dict[str, Any] = {
            "kind": JobKind.TRAIN,
            "config_id": order.config_id,
            "artifact_id": order.model_id or new_id(),
            "timeout": order.timeout or self._timeout,
            "priority": order.priority,
        }
        given = {
            "frames": {"data": order.data.blob.digest},
            "geo": order.geo and order.geo.digest,
            "run_info": order.run_info,
            "tags": list(order.tags),
        }
        try:
            runner_id, config = await self._checked(order)
        except MISTAKES as error:
            if not order.errors_in_job:
                raise
            return failed_job(error, runner_id="", input=given, **asked)
        return new_job(runner_id=runner_id, input={**given, "config": config}, **asked)

    async def _checked(self, order: TrainingOrder) -> tuple[str, dict[str, Any]]:
        """The id of the runner that is to train, and the config's data with the horizon of this run."""
        config = await self._configs.get(order.config_id)
        runner = self._runners.served(config.runner_id)
        check_columns(order.data.schema, runner.info.required_covariates, "data")
        require_geo(runner.info, order.geo)
        horizon = resolve_horizon(order.run_info, None, config.data, runner.info)
        return runner.info.id, {**config.data, "prediction_periods": horizon}

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
            compile=self._compile,
            folder=folder,
            timeout=job.timeout,
        )

    def complete(self, tx: Transaction, job: Job, done: Completed) -> Sequence[NewEvent]:
        """Stores the model, links it to its config, and returns the event that tells of it."""
        model = Artifact(
            id=job.artifact_id,
            type=MODEL_TYPE,
            inputs=(ArtifactInput("config", job.config_id), *inputs_of(job), *compiled_of(done.made)),
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
