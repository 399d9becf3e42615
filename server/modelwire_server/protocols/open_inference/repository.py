"""The models as a repository of the protocol: what they are called, and which are ready."""

from dataclasses import dataclass

from ...artifacts.model import MODEL_TYPE, Artifact
from ...artifacts.tree import ArtifactTree
from ...errors import InvalidField, ModelNotFound
from ...inference.models import LoadedModel, find_model
from ...paging import LARGEST_SIZE, PageRequest, read_token
from ...prediction import Prediction
from ...rules import ULID

# An artifact never changes, so there is one version of it.
VERSION = "1"
READY, UNAVAILABLE = "READY", "UNAVAILABLE"
# The index names so many models.
MOST_MODELS = 10_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A model in the index."""

    name: str
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

    def __init__(self, prediction: Prediction, tree: ArtifactTree) -> None:
        self._prediction = prediction
        self._tree = tree
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
        return self._state((await self.artifact(await self.named(name, version))).id) == READY

    async def unload(self, name: str) -> None:
        """Drops the model from memory, if it is there. Raises ModelNotFound, NotAModel, UntrustedContent."""
        model = (await self.artifact(await self.named(name, ""))).id
        self._prediction.unload(model)
        self._unloaded.add(model)

    async def index(self, *, only_ready: bool) -> list[Entry]:
        """All models, oldest first; the newest MOST_MODELS if there are more."""
        entries = [self._entry(model.id) for model in await self._models()]
        return [entry for entry in entries if entry.state == READY or not only_ready]

    async def _models(self) -> list[Artifact]:
        first = await self._tree.list(PageRequest(size=1), type=MODEL_TYPE)
        skip, after = max(0, first.total_size - MOST_MODELS), ""
        found: list[Artifact] = []
        while True:
            page = await self._tree.list(PageRequest(LARGEST_SIZE, after, skip), type=MODEL_TYPE)
            found += page.items
            if not page.next_page_token:
                return found
            skip, after = 0, read_token(page.next_page_token)

    def _state(self, model: str) -> str:
        withdrawn = model in self._unloaded and not self._prediction.in_memory(model)
        return UNAVAILABLE if withdrawn else READY

    def _entry(self, model: str) -> Entry:
        state = self._state(model)
        return Entry(model, state, "" if state == READY else "unloaded")
