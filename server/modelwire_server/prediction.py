"""What happens on predict: at once in this process, or as a job whose result is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from .artifacts.blobs.interface import BlobStore
from .artifacts.model import (
    PREDICTION_TYPE,
    PREDICTION_WORKSPACE_TYPE,
    WORKSPACE,
    Artifact,
    ArtifactInput,
    Blob,
    Origin,
    origin_of,
)
from .artifacts.tree import ArtifactTree
from .clock import new_id
from .columns import SchemaPolicy
from .database.engine import Transaction
from .errors import ArtifactNotFound, ModelwireError
from .execution.interface import Completed, JobSpec, Made
from .frames import StoredFrame
from .inference.models import LoadedModel, ModelCache, find_model
from .inference.orders import Fitting, PredictOrder
from .inference.predictor import Predicted, Predictor
from .inference.workspaces import fetch_workspace
from .jobs.model import Job, JobKind, NewEvent
from .jobs.submission import JobQueue, Submission, failed_job, new_job
from .making import MISTAKES, artifact_made, fingerprint_of, inputs_of, made_by, model_blob
from .registry.following import Following
from .registry.model import Resolved
from .runners import RunnerRegistry
from .signature import Signature
from .validation import check_columns, require_geo, resolve_horizon

__all__ = ["PredictOrder", "Prediction", "PredictionOrder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionOrder:
    """A prediction to be done as a job. Frames and GeoJSON are stored already; `timeout` is in seconds, `schema_policy` as in
    PredictOrder. With `errors_in_job` what is wrong with it fails its job instead of its submission."""

    model_id: str
    historic: StoredFrame
    future: StoredFrame
    geo: Blob | None = None
    run_info: dict[str, Any] = field(default_factory=dict)
    request_id: str = ""
    timeout: float | None = None
    tags: tuple[str, ...] = ()
    prediction_id: str = ""
    priority: int = 0
    errors_in_job: bool = False
    schema_policy: str = ""


class Prediction:
    """Answers predictions, turns orders into jobs, and the outcome of jobs into artifacts."""

    def __init__(
        self,
        *,
        runners: RunnerRegistry,
        tree: ArtifactTree,
        blobs: BlobStore,
        queue: JobQueue,
        models: ModelCache,
        names: Following,
        predictor: Predictor,
        timeout: float | None = None,
        schema_policy: SchemaPolicy = SchemaPolicy.SAFE,
    ) -> None:
        self._runners = runners
        self._tree = tree
        self._blobs = blobs
        self._queue = queue
        self._models = models
        self._names = names
        self._predictor = predictor
        self._timeout = timeout
        self._schema_policy = schema_policy
        self._fitting = Fitting(schema_policy)

    async def predict(self, order: PredictOrder) -> Predicted:
        """Predicts now; nothing is stored. Raises ModelNotFound, NotAModel, RunnerNotServed, MissingColumns, SchemaViolation, InvalidGeo,
        HorizonOutOfBounds, RunnerFailed, InvalidPrediction, ModelNotLoadable, Overloaded, DeadlineExceeded."""
        leave = self._names.enter()
        try:
            named = await self._names.resolve(order.model)
            try:
                model = await self._models.get(named.artifact_id)
            except ModelwireError as error:
                named = await self._names.instead(order.model, named, error)
                model = await self._models.get(named.artifact_id)
            fitted = self._fitting.fitted(model, order)
            predicted = await self._predictor.predict(
                model,
                engine=order.engine,
                horizon=fitted.horizon,
                historic=fitted.historic,
                future=fitted.future,
                geo=order.geo,
                run_info=order.run_info,
                group=fitted.group,
                when_sent=order.when_sent,
                is_piece=order.is_piece,
            )
        finally:
            leave()
        return replace(predicted, version=named.version) if named.version else predicted

    async def try_out(self, model: LoadedModel, rows: pa.Table) -> Predicted:
        """Predicts rows that no caller sent; whoever moves a name does not wait for it. Raises as predict() does."""
        fitted = self._fitting.fitted(model, PredictOrder(model=model.artifact_id, future=rows))
        return await self._predictor.predict(
            model,
            engine="",
            horizon=fitted.horizon,
            historic=fitted.historic,
            future=fitted.future,
            geo=None,
            run_info={},
            group=None,
            when_sent=None,
        )

    async def verify(self, model: LoadedModel) -> None:
        """Reads what the model still needs of what is stored. Raises ContentCorrupted, ContentMissing."""
        await self._models.verify(model)

    def enter(self) -> Callable[..., None]:
        """Before a model is named for several predictions. To be called when they are done: whoever moves a name waits for it."""
        return self._names.enter()

    async def resolve(self, model: str, field: str = "model") -> Resolved:
        """The artifact that a name, or an id, means now. Raises InvalidField, ModelNotFound."""
        return await self._names.resolve(model, field)

    async def load(self, model: str) -> LoadedModel:
        """The model in memory, loaded now if it was not. Raises as predict() does."""
        return await self._models.get((await self._names.resolve(model)).artifact_id)

    def in_memory(self, model: str) -> bool:
        return model in self._models

    def unload(self, model: str) -> None:
        """Drops the model from memory, if it is there; the next prediction loads it again."""
        self._models.forget(model)

    async def submit(self, order: PredictionOrder) -> Submission:
        """Accepts a prediction as a job. Raises as predict() does, and AlreadyExists, RequestIdReused, ShuttingDown."""
        named = await self._names.resolve(order.model_id, "artifact_id")
        job = await self._job(replace(order, model_id=named.artifact_id))
        return await self._queue.submit(
            job,
            request_id=order.request_id,
            fingerprint=fingerprint_of(_as_asked(job, order) if named.version else job, order.prediction_id),
            check=lambda tx: self._tree.check_chosen(tx, order.prediction_id),
        )

    async def _job(self, order: PredictionOrder) -> Job:
        asked: dict[str, Any] = {
            "kind": JobKind.PREDICT,
            "model_id": order.model_id,
            "artifact_id": order.prediction_id or new_id(),
            "timeout": order.timeout or self._timeout,
            "priority": order.priority,
        }
        given = {
            "frames": {"historic": order.historic.blob.digest, "future": order.future.blob.digest},
            "geo": order.geo and order.geo.digest,
            "run_info": order.run_info,
            "tags": list(order.tags),
            "schema_policy": order.schema_policy or self._schema_policy,
        }
        try:
            model, config = await self._checked(order)
        except MISTAKES as error:
            if not order.errors_in_job:
                raise
            return failed_job(error, runner_id="", input=given, **asked)
        blob = model_blob(model)
        content = {
            "digest": blob.digest,
            "size": blob.size,
            "content_type": model.content_type,
            "origin": origin_of(model) or Origin.TRAINED,
        }
        return new_job(
            runner_id=model.runner_id,
            config_id=model.metadata.get("config_id", ""),
            input={**given, "model": content, "config": config},
            **asked,
        )

    async def _checked(self, order: PredictionOrder) -> tuple[Artifact, dict[str, Any]]:
        """The model that is to predict, and the data of its config with the horizon of this run."""
        model = await find_model(self._tree, order.model_id)
        runner = self._runners.served(model.runner_id)
        check_columns(order.future.schema, runner.info.required_covariates, "future")
        if signature := Signature.from_metadata(model.metadata):
            # Its values are looked at when the job reads them.
            signature.adaptation(order.future.schema, SchemaPolicy(order.schema_policy or self._schema_policy)).check()
        require_geo(runner.info, order.geo)
        config = model.metadata.get("config", {})
        horizon = resolve_horizon(order.run_info, order.future.periods, config, runner.info)
        return model, {**config, "prediction_periods": horizon}

    async def prepare(self, job: Job, folder: Path) -> JobSpec:
        """Gathers the files that a prediction needs."""
        blob = Blob(job.input["model"]["digest"], job.input["model"]["size"])
        geo = job.input.get("geo")
        parts = None
        if job.input["model"].get("content_type") == WORKSPACE:
            model, parts = await fetch_workspace(self._blobs, blob, folder)
        else:
            model = await self._blobs.local_path(blob.digest)
        return JobSpec(
            job_id=job.id,
            attempt=job.attempt,
            kind=job.kind,
            runner_id=job.runner_id,
            config=job.input["config"],
            frames={role: await self._blobs.local_path(digest) for role, digest in job.input["frames"].items()},
            geo=await self._blobs.local_path(geo) if geo else None,
            run_info=job.input["run_info"],
            model=model,
            model_blob=blob,
            model_type=job.input["model"].get("content_type", ""),
            model_origin=Origin(job.input["model"].get("origin", Origin.TRAINED)),
            parts=parts,
            artifact_id=job.artifact_id,
            signature=await self._signature_of(job.model_id),
            schema_policy=job.input.get("schema_policy", SchemaPolicy.OFF),
            folder=folder,
            timeout=job.timeout,
        )

    async def _signature_of(self, model: str) -> dict[str, Any] | None:
        """What the training of a model knew of its columns; None if it is not known, or the model is gone by now."""
        try:
            signature = Signature.from_metadata((await self._tree.get(model)).metadata)
        except ArtifactNotFound:
            return None
        return None if signature is None else signature.to_json()

    def complete(self, tx: Transaction, job: Job, done: Completed) -> Sequence[NewEvent]:
        """Stores the predictions under their model, and the workspace under them if there is one; returns the events that tell of it.
        Raises ParentNotFound if the model was deleted meanwhile."""
        prediction = Artifact(
            id=job.artifact_id,
            type=PREDICTION_TYPE,
            parent_id=job.model_id,
            level=1,
            inputs=(ArtifactInput("model", job.model_id), *inputs_of(job)),
            **made_by(job, done.made),
        )
        self._tree.insert_made(tx, prediction)
        if done.workspace is None:
            return [artifact_made(prediction)]
        workspace = Artifact(
            id=new_id(),
            type=PREDICTION_WORKSPACE_TYPE,
            parent_id=prediction.id,
            inputs=prediction.inputs,
            **made_by(job, done.workspace),
        )
        self._tree.insert_made(tx, workspace)
        return [artifact_made(workspace), artifact_made(prediction)]

    def keep_diagnostic(self, tx: Transaction, job: Job, left: Made, error: ModelwireError) -> Sequence[NewEvent]:
        """Stores the workspace of a prediction that failed, and returns the event that tells of it."""
        workspace = Artifact(
            id=job.artifact_id,
            type=PREDICTION_WORKSPACE_TYPE,
            parent_id=job.model_id,
            level=1,
            inputs=(ArtifactInput("model", job.model_id), *inputs_of(job)),
            **made_by(job, left, status="failed", error=error.message),
        )
        self._tree.insert_made(tx, workspace)
        return [artifact_made(workspace)]


def _as_asked(job: Job, order: PredictionOrder) -> Job:
    """A job without what its name stood for: a retry is the same request, even if the name was moved meanwhile."""
    asked = {key: value for key, value in job.input.items() if key not in ("model", "config")}
    return replace(job, model_id=order.model_id, config_id="", runner_id="", input=asked)
