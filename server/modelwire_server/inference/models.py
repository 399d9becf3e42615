"""Models in memory: loaded on first use, once, and dropped when others need the space."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from ..artifacts.blobs.interface import BlobStore
from ..artifacts.tree import ArtifactTree
from ..artifacts.workspace import Workspace
from ..errors import ContentCorrupted, MemoryLimit, ModelNotLoadable, ModelwireError
from ..runners import RunnerRegistry
from .loading import RUNNER, LoadedModel, ModelLoader, find_model, why_failed

__all__ = ["RUNNER", "LoadedModel", "ModelCache", "find_model", "why_failed"]

log = structlog.get_logger(__name__)

# Whoever asks for a model that cannot be loaded is told what was found the last time, for so long, and each time for longer.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
# Errors that will be the same the next time.
_LASTING = (ModelNotLoadable, ContentCorrupted, MemoryLimit)

# Called with each model that was loaded and the seconds that it took.
OnLoaded = Callable[[LoadedModel, float], None]


@dataclass(frozen=True, slots=True)
class Failure:
    """A load that failed: why, and when it may be tried again."""

    error: ModelwireError
    pause: float
    again_at: float


class ModelCache:
    """The models in memory, up to a number of bytes; the least recently used one goes first, pinned ones never.

    Calls that need the same model while it is being loaded wait for that one load. `prefer_compiled` is as for ModelLoader.
    """

    def __init__(
        self,
        *,
        tree: ArtifactTree,
        blobs: BlobStore,
        runners: RunnerRegistry,
        max_bytes: int,
        prefer_compiled: bool = True,
        pinned: Sequence[str] = (),
    ) -> None:
        self._blobs = blobs
        self._loader = ModelLoader(tree=tree, blobs=blobs, runners=runners, prefer_compiled=prefer_compiled)
        self._max_bytes = max_bytes
        self._pinned = frozenset(pinned)
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._loading: dict[str, asyncio.Task[LoadedModel]] = {}
        self._forgotten: set[str] = set()
        self._failures: dict[str, Failure] = {}
        self.loads = 0
        self.on_loaded: OnLoaded = lambda model, seconds: None

    @property
    def bytes(self) -> int:
        return sum(model.size for model in self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def __contains__(self, model: str) -> bool:
        return model in self._models

    async def get(self, model: str) -> LoadedModel:
        """The model, from memory if it is there. Raises ModelNotFound, NotAModel, RunnerNotServed, ModelNotLoadable,
        ContentCorrupted, UntrustedContent, MemoryLimit."""
        if loaded := self._models.get(model):
            self._models.move_to_end(model)
            return loaded
        if (failure := self._failures.get(model)) and time.monotonic() < failure.again_at:
            raise failure.error.with_traceback(None)
        task = self._loading.get(model)
        if task is None:
            task = self._loading[model] = asyncio.create_task(self._load(model), name=f"load {model}")
            task.add_done_callback(lambda _: self._loading.pop(model, None))
        # One caller that gives up must not end the load that others wait for.
        return await asyncio.shield(task)

    def retry(self, model: str) -> None:
        """Whoever asks for the model next has it tried again, however shortly ago it could not be loaded."""
        self._failures.pop(model, None)

    def has_failed(self, model: str) -> bool:
        """Whether it could not be loaded the last time, for a reason that lasts."""
        return model in self._failures

    def retry_all(self) -> None:
        self._failures.clear()

    async def has_room_for(self, model: str) -> bool:
        """Whether it is in memory, or would be without another one having to go. Raises as get() does."""
        return model in self or self.bytes + (await self._loader.find(model)).size <= self._max_bytes

    async def load_pinned(self) -> None:
        """Loads the pinned models. One that cannot be loaded is told in the log; it is tried again when somebody asks for it."""
        pinned = sorted(self._pinned)
        for model, outcome in zip(pinned, await asyncio.gather(*map(self.get, pinned), return_exceptions=True), strict=True):
            if isinstance(outcome, Exception):
                log.error("a pinned model cannot be loaded", model=model, error=str(outcome))

    def forget(self, model: str) -> None:
        """Drops a model, because its artifact is gone or somebody wants it to be loaded anew."""
        self._models.pop(model, None)
        self._failures.pop(model, None)
        if model in self._loading:
            self._forgotten.add(model)

    async def verify(self, model: LoadedModel) -> None:
        """Reads what is not in memory but stays stored until a prediction needs it: the files of a workspace, the original of a compiled
        form. Raises ContentCorrupted, ContentMissing."""
        stored = [] if model.original.is_read and not model.is_workspace else [model.blob.digest]
        if model.is_workspace:
            document = b"".join([chunk async for chunk in self._blobs.read(model.blob.digest)])
            stored += [file.digest for file in Workspace.from_json(document).files]
        for digest in stored:
            if not await self._blobs.verify(digest):
                raise ContentCorrupted(f"stored content {digest} is damaged or missing", digest=digest)

    async def _load(self, model: str) -> LoadedModel:
        began = time.monotonic()
        self._forgotten.discard(model)
        try:
            wanted = await self._loader.find(model)
            self._make_room(wanted.size)
            loaded = await self._loader.load(wanted)
        except _LASTING as error:
            self._remember(model, error)
            raise
        self._failures.pop(model, None)
        self.loads += 1
        self._keep(loaded)
        self.on_loaded(loaded, time.monotonic() - began)
        return loaded

    def _remember(self, model: str, error: ModelwireError) -> None:
        now = time.monotonic()
        before = self._failures.get(model)
        pause = min(2 * before.pause, _LONGEST_PAUSE_SECONDS) if before else _FIRST_PAUSE_SECONDS
        # What is long over is of no interest any more.
        self._failures = {
            key: failure for key, failure in self._failures.items() if now < failure.again_at + _LONGEST_PAUSE_SECONDS
        }
        self._failures[model] = Failure(error, pause, now + pause)

    def _keep(self, loaded: LoadedModel) -> None:
        if loaded.artifact_id in self._forgotten:
            # Its artifact went while it was loaded: those who wait for it get it, nobody after them.
            self._forgotten.discard(loaded.artifact_id)
            return
        self._make_room(loaded.size)
        self._models[loaded.artifact_id] = loaded

    def _make_room(self, size: int) -> None:
        """Drops what was not used for the longest time, until there is room for so many bytes or nothing more to drop."""
        for model in [model for model in self._models if model not in self._pinned]:
            if self.bytes + size <= self._max_bytes:
                return
            del self._models[model]
