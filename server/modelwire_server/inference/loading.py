"""From an artifact to a model that is ready to predict."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

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
from ..compiled.originals import Original
from ..compiled.stand_ins import Graph, compiled, is_whole
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

T = TypeVar("T")

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

    `original` is what its training returned, and `stand_in` its compiled form, if it has one: the runner's predict function may be given
    either, they differ in speed only. `engines` are their names, the best first. `signature` is what its training knew of its columns;
    models of earlier versions have none. `size` is what it takes in memory, in bytes, as far as its stored content tells. `lanes` are where
    each engine computes, and `fits` is what is known of the layouts of frames that came: both go when the model goes.
    """

    artifact_id: str
    blob: Blob
    runner: BaseModelRunner[Any]
    config: dict[str, Any]
    original: Original = field(repr=False)
    stand_in: Any = field(default=None, repr=False)
    engines: Sequence[str] = (RUNNER,)
    signature: Signature | None = field(default=None, repr=False)
    size: int
    is_workspace: bool = False
    lanes: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    fits: Recent[Any, Any] = field(default_factory=lambda: Recent(MOST_LAYOUTS), init=False, repr=False, compare=False)

    def chosen(self, engine: str = "") -> str:
        """The name of the engine that a caller asks for; empty means the best. Raises InvalidField if the model has it not."""
        if not engine:
            return self.engines[0]
        if engine not in self.engines:
            has = " and ".join(f"`{name}`" for name in self.engines)
            raise InvalidField.of(FieldViolation("engine", f"the model has no engine `{engine}`, only {has}"))
        return engine

    def of(self, engine: str = "") -> Any:
        """The object that the runner's predict function is given as the model. Raises InvalidField as chosen() does, OriginalNeeded."""
        return self.original.get() if self.chosen(engine) == RUNNER else self.stand_in


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
        if self.is_workspace:
            return self.blob.size
        return int(_PICKLE_GROWTH * self.blob.size + _GRAPH_GROWTH * sum(graph.size for graph in self.graphs))

    @property
    def is_workspace(self) -> bool:
        return self.artifact.content_type == WORKSPACE

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = self.artifact.metadata.get("config", {})
        return config

    @property
    def signature(self) -> Signature | None:
        return Signature.from_metadata(self.artifact.metadata)


class ModelLoader:
    """Loads models: what their training returned, and their compiled form. Each engine predicts once before it counts as loaded.

    `prefer_compiled` says which engine is the best where a model has a compiled form. Where that does the whole work of a prediction, what
    the training returned stays where it is stored until it is needed: with the libraries that it takes, it is the larger part.
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
        if wanted.is_workspace:
            return _loaded(wanted, Original.known(StoredWorkspace(wanted.blob)))
        original = Original(partial(self._original, wanted))
        stand_in = await self._compiled(wanted, original)
        if stand_in is None or not await self._predicts(wanted, stand_in):
            await original.read()
        return _loaded(wanted, original, stand_in, prefer_compiled=self._prefer_compiled)

    async def _original(self, wanted: Loadable) -> Any:
        """What the training returned, or what was imported, once it has predicted."""
        artifact, blob = wanted.artifact, wanted.blob
        if Format.of_content(artifact.content_type) is None:
            raise ModelNotLoadable(f"model {artifact.id} has content of type {artifact.content_type}", artifact=artifact.id)
        origin = origin_of(artifact)
        path = await self._blobs.local_path(blob.digest)
        if origin is Origin.IMPORTED or origin is Origin.GRANTED:
            read = partial(load_imported, path, blob, artifact.content_type, origin, wanted.runner, wanted.config)
        else:
            read = partial(load_model, path, blob)
        model = await self._in_thread(wanted, read)
        await self._predicts(wanted, model)
        return model

    async def _compiled(self, wanted: Loadable, original: Original) -> Any:
        """The model with its compiled methods; None if it has none, or they cannot be had here."""
        graphs = await self._graphs(wanted)
        if not (self._prefer_compiled and is_whole(graphs) and _is_complete(wanted.signature)):
            await original.read()
        try:
            return compiled(original, graphs) if graphs else None
        except Exception as error:
            _tell_not_compiled(wanted, error)
            return None

    async def _graphs(self, wanted: Loadable) -> Sequence[tuple[Graph, Any]]:
        """The graphs of the compiled form with their sessions; none if they cannot be had here."""
        try:
            paths = [await self._blobs.local_path(graph.digest) for graph in wanted.graphs]

            def read() -> list[tuple[Graph, Any]]:
                return [Graph.read(_read(path, blob)) for path, blob in zip(paths, wanted.graphs, strict=True)]

            return await self._in_thread(wanted, read)
        except MemoryLimit:
            raise
        except Exception as error:
            _tell_not_compiled(wanted, error)
            return []

    async def _predicts(self, wanted: Loadable, model: Any) -> bool:
        """Whether a first prediction, of a row that is made up, went well."""
        signature = wanted.signature
        return signature is not None and await self._in_thread(
            wanted, partial(warm_up, wanted.runner, wanted.config, model, signature)
        )

    async def _in_thread(self, wanted: Loadable, work: Callable[[], T]) -> T:
        """What loading takes memory and time for. Raises MemoryLimit, and what the work raises."""
        async with self._slots:
            try:
                return await asyncio.to_thread(work)
            except MemoryError as error:
                message = f"there is not enough memory to load model {wanted.artifact.id}"
                raise MemoryLimit(message, limit="process") from error


def _loaded(wanted: Loadable, original: Original, stand_in: Any = None, *, prefer_compiled: bool = False) -> LoadedModel:
    engines = (RUNNER,) if stand_in is None else (ENGINE, RUNNER) if prefer_compiled else (RUNNER, ENGINE)
    return LoadedModel(
        artifact_id=wanted.artifact.id,
        blob=wanted.blob,
        runner=wanted.runner,
        config=wanted.config,
        original=original,
        stand_in=stand_in,
        engines=engines,
        signature=wanted.signature,
        size=wanted.size,
        is_workspace=wanted.is_workspace,
    )


def _is_complete(signature: Signature | None) -> bool:
    """Whether all rows of a training were complete: then so are those that are predicted, and no others need the original."""
    return signature is not None and not any(column.nullable for column in signature.inputs)


def _tell_not_compiled(wanted: Loadable, error: Exception) -> None:
    log.warning("the compiled form of a model cannot be loaded", model=wanted.artifact.id, error=str(error))


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
