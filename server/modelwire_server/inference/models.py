"""Models in memory: loaded on first use, once, and dropped when others need the space."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelwire_runners import BaseModelRunner

from ..artifacts import model as model_types
from ..artifacts.blobs.interface import BlobStore
from ..artifacts.model import MODEL_TYPE, TRAINING_WORKSPACE_TYPE, Artifact, Blob
from ..artifacts.tree import ArtifactTree
from ..artifacts.workspace import Workspace
from ..errors import (
    ArtifactNotFound,
    ContentCorrupted,
    FailedTraining,
    FieldViolation,
    InvalidField,
    ModelNotFound,
    ModelNotLoadable,
    NotAModel,
    UntrustedContent,
)
from ..execution.content import load_model
from ..runners import RunnerRegistry
from ..signature import Signature
from .scripts import StoredWorkspace

# The engine that every model has: the object that its training returned.
RUNNER = "runner"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model ready to predict.

    `engines` are the objects that the runner's predict function may be given as the model, by name and the best first; they differ in
    speed only. `signature` is what its training knew of its columns; models of earlier versions have none. `size` is that of its
    stored content in bytes, the best cheap estimate of its memory.
    """

    artifact_id: str
    runner: BaseModelRunner[Any]
    config: dict[str, Any]
    engines: Mapping[str, Any] = field(repr=False)
    signature: Signature | None = field(default=None, repr=False)
    size: int

    @property
    def engine(self) -> str:
        """The name of the best engine."""
        return next(iter(self.engines))

    @property
    def model(self) -> Any:
        """What the training returned."""
        return self.engines[RUNNER]

    def chosen(self, engine: str = "") -> str:
        """The name of the engine that a caller asks for; empty means the best. Raises InvalidField if the model has it not."""
        if not engine:
            return self.engine
        if engine not in self.engines:
            has = " and ".join(f"`{name}`" for name in self.engines)
            raise InvalidField.of(FieldViolation("engine", f"the model has no engine `{engine}`, only {has}"))
        return engine

    def of(self, engine: str = "") -> Any:
        """The object that the runner's predict function is given as the model. Raises InvalidField as chosen() does."""
        return self.engines[self.chosen(engine)]


async def find_model(tree: ArtifactTree, model: str) -> Artifact:
    """The artifact of a model. Raises ModelNotFound, FailedTraining, NotAModel, UntrustedContent."""
    try:
        artifact = await tree.get(model)
    except ArtifactNotFound as error:
        raise ModelNotFound(f"Training artifact {model} not found", model=model) from error
    if artifact.type == TRAINING_WORKSPACE_TYPE and artifact.metadata.get("status") == "failed":
        raise FailedTraining(why_failed(artifact), artifact=model, type=artifact.type)
    if artifact.type != MODEL_TYPE or artifact.blob is None:
        raise NotAModel(f"Artifact {model} is not a training artifact", artifact=model, type=artifact.type)
    if not any(edge.role == "job" for edge in artifact.inputs):
        raise UntrustedContent(
            f"model {model} was not made by a job of this server, so that loading it could run a stranger's code",
            content_type=artifact.content_type,
        )
    return artifact


def why_failed(workspace: Artifact) -> str:
    """A sentence on what a training that failed has left."""
    code = workspace.metadata.get("exit_code")
    how = "Training failed" if code is None else f"Training script exited with code {code}"
    return f"Cannot predict using failed training artifact {workspace.id}. {how}."


class ModelCache:
    """The models in memory, up to a number of bytes; the least recently used one goes first.

    Calls that need the same model while it is being loaded wait for that one load.
    """

    def __init__(self, *, tree: ArtifactTree, blobs: BlobStore, runners: RunnerRegistry, max_bytes: int) -> None:
        self._tree = tree
        self._blobs = blobs
        self._runners = runners
        self._max_bytes = max_bytes
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._loading: dict[str, asyncio.Task[LoadedModel]] = {}
        self.loads = 0

    @property
    def bytes(self) -> int:
        return sum(model.size for model in self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def __contains__(self, model: str) -> bool:
        return model in self._models

    async def get(self, model: str) -> LoadedModel:
        """The model, from memory if it is there. Raises ModelNotFound, NotAModel, RunnerNotServed, ModelNotLoadable,
        ContentCorrupted, UntrustedContent."""
        if loaded := self._models.get(model):
            self._models.move_to_end(model)
            return loaded
        task = self._loading.get(model)
        if task is None:
            task = self._loading[model] = asyncio.create_task(self._load(model), name=f"load {model}")
            task.add_done_callback(lambda _: self._loading.pop(model, None))
        # One caller that gives up must not end the load that others wait for.
        return await asyncio.shield(task)

    def forget(self, model: str) -> None:
        """Drops a model, because its artifact is gone."""
        self._models.pop(model, None)

    async def verify(self, model: LoadedModel) -> None:
        """Reads what is not in memory but stays stored until a prediction needs it: the files of a workspace. Raises
        ContentCorrupted, ContentMissing."""
        if not isinstance(model.model, StoredWorkspace):
            return
        listed = model.model.blob
        document = b"".join([chunk async for chunk in self._blobs.read(listed.digest)])
        for digest in (listed.digest, *(file.digest for file in Workspace.from_json(document).files)):
            if not await self._blobs.verify(digest):
                raise ContentCorrupted(f"stored content {digest} is damaged or missing", digest=digest)

    async def _load(self, model: str) -> LoadedModel:
        artifact = await find_model(self._tree, model)
        runner = self._runners.served(artifact.runner_id)
        assert artifact.blob is not None
        value = await self._value(artifact, artifact.blob)
        loaded = LoadedModel(
            artifact_id=model,
            runner=runner,
            config=artifact.metadata.get("config", {}),
            engines={RUNNER: value},
            signature=Signature.from_metadata(artifact.metadata),
            size=artifact.blob.size,
        )
        self._keep(loaded)
        return loaded

    async def _value(self, artifact: Artifact, blob: Blob) -> Any:
        match artifact.content_type:
            case model_types.WORKSPACE:
                return StoredWorkspace(blob)
            case model_types.PICKLE:
                return await asyncio.to_thread(load_model, await self._blobs.local_path(blob.digest), blob)
            case other:
                raise ModelNotLoadable(f"model {artifact.id} has content of type {other}", artifact=artifact.id)

    def _keep(self, loaded: LoadedModel) -> None:
        self.loads += 1
        self._models[loaded.artifact_id] = loaded
        while self.bytes > self._max_bytes and len(self._models) > 1:
            self._models.popitem(last=False)
