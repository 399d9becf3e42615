"""From an artifact to a model that is ready to predict."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from modelwire_runners import BaseModelRunner

from ..artifacts.blobs.interface import BlobStore
from ..artifacts.model import (
    COMPILED,
    MODEL_TYPE,
    PICKLE,
    TRAINING_WORKSPACE_TYPE,
    WORKSPACE,
    Artifact,
    Blob,
    Origin,
    origin_of,
)
from ..artifacts.tree import ArtifactTree
from ..compiled.stand_ins import Graph, compiled
from ..compiled.trial import ENGINE
from ..errors import (
    ArtifactNotFound,
    FailedTraining,
    FieldViolation,
    InvalidField,
    MemoryLimit,
    ModelNotFound,
    ModelNotLoadable,
    NotAModel,
    UntrustedContent,
)
from ..execution.content import load_imported, load_model, open_content
from ..formats.model import Format
from ..layouts import MOST_LAYOUTS, Recent
from ..runners import RunnerRegistry
from ..signature import Signature
from .scripts import StoredWorkspace
from .warming import warm_up

log = structlog.get_logger(__name__)

# How much larger than their content objects are in memory, and sessions of ONNX Runtime than their files: measured with forests,
# boosted trees and neural networks, of which the trees grow most.
_PICKLE_GROWTH, _GRAPH_GROWTH = 1.25, 8.0
# Models that are read at the same time need the memory for it at the same time.
_AT_ONCE = 2

# The engine that every model has: the object that its training returned.
RUNNER = "runner"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model ready to predict.

    `engines` are the objects that the runner's predict function may be given as the model, by name and the best first; they differ in
    speed only. `signature` is what its training knew of its columns; models of earlier versions have none. `size` is what it takes in
    memory, in bytes, as far as its stored content tells. `lanes` are where each engine computes, and `fits` is what is known of the
    layouts of frames that came: both go when the model goes.
    """

    artifact_id: str
    runner: BaseModelRunner[Any]
    config: dict[str, Any]
    engines: Mapping[str, Any] = field(repr=False)
    signature: Signature | None = field(default=None, repr=False)
    size: int
    lanes: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    fits: Recent[Any, Any] = field(default_factory=lambda: Recent(MOST_LAYOUTS), init=False, repr=False, compare=False)

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
    origin = origin_of(artifact)
    if origin is None or (origin is Origin.IMPORTED and artifact.content_type == PICKLE):
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


@dataclass(frozen=True, slots=True)
class Loadable:
    """A model that is about to be loaded: its artifact, its content and the files of its compiled form."""

    artifact: Artifact
    runner: BaseModelRunner[Any]
    blob: Blob
    graphs: tuple[Blob, ...] = ()

    @property
    def size(self) -> int:
        """What it will take in memory. Workspaces stay where they are."""
        if self.artifact.content_type == WORKSPACE:
            return self.blob.size
        return int(_PICKLE_GROWTH * self.blob.size + _GRAPH_GROWTH * sum(graph.size for graph in self.graphs))


class ModelLoader:
    """Loads models: what their training returned, and their compiled form. Each engine predicts once before it counts as loaded.

    `prefer_compiled` says which engine is the best where a model has a compiled form.
    """

    def __init__(self, *, tree: ArtifactTree, blobs: BlobStore, runners: RunnerRegistry, prefer_compiled: bool = True) -> None:
        self._tree = tree
        self._blobs = blobs
        self._runners = runners
        self._prefer_compiled = prefer_compiled
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def find(self, model: str) -> Loadable:
        """What is to be loaded. Raises ModelNotFound, NotAModel, RunnerNotServed, UntrustedContent."""
        artifact = await find_model(self._tree, model)
        runner = self._runners.served(artifact.runner_id)
        assert artifact.blob is not None
        return Loadable(artifact, runner, artifact.blob, _graphs_of(artifact))

    async def load(self, wanted: Loadable) -> LoadedModel:
        """The model. Raises ModelNotLoadable, ContentCorrupted, ContentMissing, MemoryLimit, StorageUnavailable."""
        async with self._slots:
            engines = await self._engines(wanted)
            metadata = wanted.artifact.metadata
            loaded = LoadedModel(
                artifact_id=wanted.artifact.id,
                runner=wanted.runner,
                config=metadata.get("config", {}),
                engines=engines,
                signature=Signature.from_metadata(metadata),
                size=wanted.size,
            )
            if loaded.signature and wanted.runner.independent_rows and not isinstance(loaded.model, StoredWorkspace):
                await asyncio.to_thread(warm_up, wanted.runner, loaded.config, engines.values(), loaded.signature)
            return loaded

    async def _engines(self, wanted: Loadable) -> Mapping[str, Any]:
        artifact, blob = wanted.artifact, wanted.blob
        if artifact.content_type == WORKSPACE:
            return {RUNNER: StoredWorkspace(blob)}
        if Format.of_content(artifact.content_type) is None:
            raise ModelNotLoadable(f"model {artifact.id} has content of type {artifact.content_type}", artifact=artifact.id)
        try:
            origin = origin_of(artifact)
            if origin is Origin.IMPORTED or origin is Origin.GRANTED:
                return {RUNNER: await self._imported(wanted, origin)}
            original = await asyncio.to_thread(load_model, await self._blobs.local_path(blob.digest), blob)
            stand_in = await self._compiled(wanted, original)
        except MemoryError as error:
            raise MemoryLimit(f"there is not enough memory to load model {artifact.id}", limit="process") from error
        if stand_in is None:
            return {RUNNER: original}
        return {ENGINE: stand_in, RUNNER: original} if self._prefer_compiled else {RUNNER: original, ENGINE: stand_in}

    async def _imported(self, wanted: Loadable, origin: Origin) -> Any:
        path, kind, config = (
            await self._blobs.local_path(wanted.blob.digest),
            wanted.artifact.content_type,
            wanted.artifact.metadata,
        )
        return await asyncio.to_thread(load_imported, path, wanted.blob, kind, origin, wanted.runner, config.get("config", {}))

    async def _compiled(self, wanted: Loadable, original: Any) -> Any:
        """The model with its compiled methods; None if it has none, or they cannot be had here."""
        if not wanted.graphs:
            return None
        try:
            paths = [await self._blobs.local_path(graph.digest) for graph in wanted.graphs]

            def load() -> Any:
                contents = [_read(path, blob) for path, blob in zip(paths, wanted.graphs, strict=True)]
                return compiled(original, [Graph.read(content) for content in contents])

            return await asyncio.to_thread(load)
        except MemoryError:
            raise
        except Exception as error:
            log.warning("the compiled form of a model cannot be loaded", model=wanted.artifact.id, error=str(error))
            return None


def _read(path: Path, blob: Blob) -> bytes:
    with open_content(path, blob) as file:
        return file.read()


def _graphs_of(artifact: Artifact) -> tuple[Blob, ...]:
    """The files of a compiled form that has passed its check. The edges tell which belong to the model; metadata can be changed by
    anybody, so it only tells their sizes."""
    report = artifact.metadata.get("compiled")
    if not isinstance(report, dict) or report.get("passed") is not True:
        return ()
    methods = report.get("methods")
    sizes = {one.get("digest"): one.get("size") for one in methods if isinstance(one, dict)} if isinstance(methods, list) else {}
    edges = [edge.digest for edge in artifact.inputs if edge.role == COMPILED]
    return tuple(Blob(digest, size if isinstance(size := sizes.get(digest), int) else 0) for digest in edges)
