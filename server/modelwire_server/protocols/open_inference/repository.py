"""The models as a repository of the protocol: what they are called, and which are ready."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ...artifacts.model import MODEL_TYPE, Artifact
from ...artifacts.tree import ArtifactTree
from ...errors import InvalidField, ModelNotFound, ModelNotReady
from ...inference.models import LoadedModel, find_model
from ...paging import LARGEST_SIZE, Page, PageRequest, read_token
from ...prediction import Prediction
from ...registry.catalog import ModelCatalog
from ...registry.model import ModelVersion
from ...rules import ULID

# An artifact never changes, so there is one version of it.
VERSION = "1"
READY, UNAVAILABLE = "READY", "UNAVAILABLE"
# The index names so many models.
MOST_MODELS = 10_000

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Entry:
    """A model in the index."""

    name: str
    version: str
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Named:
    """A model as a request calls it. `version` is the number of a registered version, 1 for a model that is called by its id."""

    artifact_id: str
    name: str
    version: str = VERSION


class Repository:
    """Models that are not in memory are loaded by their first request, so they are ready too, unless somebody unloaded them."""

    def __init__(self, prediction: Prediction, tree: ArtifactTree, registry: ModelCatalog) -> None:
        self._prediction = prediction
        self._tree = tree
        self._registry = registry
        self._unloaded: set[str] = set()

    async def named(self, name: str, version: str) -> Named:
        """What a name and a version stand for: the id of an artifact, or a registered model, whose version may be a number or an alias.
        Raises ModelNotFound."""
        of_id = ULID.fullmatch(name.upper()) is not None
        if of_id and version not in ("", VERSION):
            raise ModelNotFound(f"model {name} has no version {version[:20]!r}, only {VERSION}", model=name)
        separator = "/" if version.isdecimal() else "@"
        asked = name if of_id or not version else f"{name}{separator}{version}"
        try:
            found = await self._prediction.resolve(asked)
        except InvalidField as error:
            raise ModelNotFound(error.message, model=name) from None
        return Named(found.artifact_id, name, found.version.rpartition("/")[2] or VERSION)

    async def loaded(self, named: Named) -> LoadedModel:
        """The model, in memory from now on. Raises ModelNotFound, NotAModel, ModelNotLoadable and what else loading may."""
        found = await self._prediction.load(named.artifact_id)
        if self._unloaded:
            self._unloaded.discard(named.artifact_id)
        return found

    async def artifact(self, named: Named) -> Artifact:
        """What is stored of the model. Raises ModelNotFound, NotAModel, UntrustedContent."""
        return await find_model(self._tree, named.artifact_id)

    async def is_ready(self, name: str, version: str) -> bool:
        """Raises ModelNotFound, NotAModel, UntrustedContent."""
        try:
            named = await self.named(name, version)
        except ModelNotReady:
            return False
        return self._state((await self.artifact(named)).id) == READY

    async def unload(self, name: str) -> None:
        """Drops the model from memory, if it is there. Raises ModelNotFound, NotAModel, UntrustedContent."""
        model = (await self.artifact(await self.named(name, ""))).id
        self._prediction.unload(model)
        self._unloaded.add(model)

    async def index(self, *, only_ready: bool) -> list[Entry]:
        """All versions of registered models, by name and the newest first, then all models by their ids, oldest first. Of either the
        newest MOST_MODELS if there are more."""
        entries = [self._entry(version.name, str(version.version), version.artifact_id) for version in await self._versions()]
        entries += [self._entry(model.id, VERSION, model.id) for model in await self._models()]
        return [entry for entry in entries if entry.state == READY or not only_ready]

    async def _versions(self) -> list[ModelVersion]:
        found: list[ModelVersion] = []
        for model in await _all(self._registry.list):
            found += await _all(partial(self._registry.versions, model.name))
        return found[:MOST_MODELS]

    async def _models(self) -> list[Artifact]:
        read = partial(self._tree.list, type=MODEL_TYPE)
        total = (await read(PageRequest(size=1))).total_size
        return await _all(read, skip=max(0, total - MOST_MODELS))

    def _state(self, model: str) -> str:
        withdrawn = model in self._unloaded and not self._prediction.in_memory(model)
        return UNAVAILABLE if withdrawn else READY

    def _entry(self, name: str, version: str, model: str) -> Entry:
        state = self._state(model)
        return Entry(name, version, state, "" if state == READY else "unloaded")


async def _all(read: Callable[[PageRequest], Awaitable[Page[ItemT]]], skip: int = 0) -> list[ItemT]:
    """The items of all pages."""
    page = await read(PageRequest(LARGEST_SIZE, skip=skip))
    found = [*page.items]
    while page.next_page_token:
        page = await read(PageRequest(LARGEST_SIZE, read_token(page.next_page_token)))
        found += page.items
    return found
