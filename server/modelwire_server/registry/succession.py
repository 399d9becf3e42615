"""Which version predicts for each name in this process, when an alias moves to one that cannot be loaded here: the one before goes on."""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

import structlog

from ..database.engine import Database, Transaction
from ..errors import ModelNotFound, ModelwireError
from . import store
from .model import Reference, Resolved

log = structlog.get_logger(__name__)

# So many versions before are tried when one cannot be loaded.
_MOST_TRIED = 3

# Called with the name of an alias, what it leads to, and why that cannot be loaded.
OnTrouble = Callable[[str, Resolved, ModelwireError], None]


class Models(Protocol):
    """The models in memory, by the ids of their artifacts."""

    def __contains__(self, model: str) -> bool: ...

    async def get(self, model: str) -> object:
        """Raises ModelwireError."""

    def retry(self, model: str) -> None:
        """What was found wrong with it is not to be told again without trying."""


class Held(NamedTuple):
    """A version that cannot be loaded, and the one that predicts instead."""

    wanted: Resolved
    instead: Resolved


class Succession:
    """Loads what an alias was moved to before predictions go there, and holds on to a version before if that cannot be done.

    Names are spelled `name@alias`. `on_trouble` is called with a name, what it leads to and why that cannot be loaded; `on_change` when
    another version predicts for some name from now on.
    """

    def __init__(self, database: Database, models: Models) -> None:
        self._database = database
        self._models = models
        self._led: dict[str, Resolved] = {}
        self._held: dict[str, Held] = {}
        # What can be loaded no more than any version before it.
        self._hopeless: dict[str, Resolved] = {}
        self._loading: set[asyncio.Task[None]] = set()
        self.on_trouble: OnTrouble = lambda name, wanted, error: None
        self.on_change: Callable[[], None] = lambda: None

    def held(self, name: str) -> Held | None:
        return self._held.get(name)

    def serving(self, name: str, found: Resolved) -> Resolved:
        """What predicts for an alias that points to what was found."""
        held = self._held.get(name)
        if held is not None and held.wanted == found:
            return held.instead
        self._led[name] = found
        return found

    async def target(self, name: str) -> Resolved | None:
        """Where an alias points now; None if nowhere."""
        try:
            return await self._database.read(lambda tx: resolve(tx, Reference.parse(name)))
        except ModelNotFound:
            return None

    async def take(self, name: str, *, anew: bool = False) -> Resolved:
        """Loads what an alias points to, so that it predicts from then on. With `anew` what failed before is tried again. Raises
        ModelNotFound, and what loading raises; a version before goes on then, if there is one that can."""
        found = await self._database.read(lambda tx: resolve(tx, Reference.parse(name)))
        before = self._in_memory(name)
        if anew:
            self._models.retry(found.artifact_id)
        try:
            await self._models.get(found.artifact_id)
        except ModelwireError as error:
            await self._fall_back(name, found, before, error)
            raise
        self._led[name] = found
        self._hopeless.pop(name, None)
        if self._held.pop(name, None) is not None:
            self.on_change()
        return found

    async def instead(self, name: str, wanted: Resolved, error: ModelwireError) -> Resolved:
        """What predicts for an alias that points to what could not be loaded. Raises the error if nothing does."""
        if self._hopeless.get(name) != wanted:
            await self._fall_back(name, wanted, self._in_memory(name), error)
        held = self._held.get(name)
        if held is None or held.wanted != wanted:
            raise error
        return held.instead

    async def follow(self, models: Collection[str], within: float) -> None:
        """Loads what aliases of these models point to now, if what they pointed to is in memory, but waits no longer than so many
        seconds. What takes longer goes on, and predictions wait for it."""
        tasks = {asyncio.create_task(self._follow(name)) for name in self._in_use(models)}
        self._loading |= tasks
        for task in tasks:
            task.add_done_callback(self._loading.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=within)

    async def close(self) -> None:
        for task in self._loading:
            task.cancel()
        await asyncio.gather(*self._loading, return_exceptions=True)

    def _in_use(self, models: Collection[str]) -> list[str]:
        names = [name for name in self._led.keys() | self._held.keys() if name.partition("@")[0] in models]
        return [name for name in names if name in self._held or self._led[name].artifact_id in self._models]

    async def _follow(self, name: str) -> None:
        try:
            await self.take(name)
        except ModelNotFound:
            self._led.pop(name, None)
            self._held.pop(name, None)
        except ModelwireError as error:
            log.debug("an alias leads to what cannot be loaded", model=name, error=error.message)

    def _in_memory(self, name: str) -> Resolved | None:
        """What predicted for an alias until now, if it still can at once."""
        before = held.instead if (held := self._held.get(name)) else self._led.get(name)
        return before if before is not None and before.artifact_id in self._models else None

    async def _fall_back(self, name: str, wanted: Resolved, before: Resolved | None, error: ModelwireError) -> None:
        """Lets a version before go on, if there is one."""
        instead = before if before not in (None, wanted) else await self._earlier(name, wanted)
        if instead is None:
            self._hopeless[name] = wanted
            self._held.pop(name, None)
        elif (held := Held(wanted, instead)) != self._held.get(name):
            about = {"version": wanted.version, "instead": instead.version, "error": error.message}
            log.warning("a version cannot be loaded; one before goes on", model=name, **about)
            self._held[name] = held
            self.on_change()
        self.on_trouble(name, wanted, error)

    async def _earlier(self, name: str, wanted: Resolved) -> Resolved | None:
        """The last version that an alias pointed to before and that can be loaded."""
        for version in await self._database.read(lambda tx: _earlier(tx, Reference.parse(name))):
            with contextlib.suppress(ModelwireError):
                if version != wanted:
                    await self._models.get(version.artifact_id)
                    return version
        return None


def _earlier(tx: Transaction, reference: Reference) -> list[Resolved]:
    """Where an alias pointed before, the latest first."""
    model = store.get(tx, reference.name)
    if model is None:
        return []
    numbers = list(dict.fromkeys(reversed(store.history_of(tx, model, reference.alias))))
    found = [store.get_version(tx, model, number) for number in numbers[:_MOST_TRIED]]
    return [Resolved(one.artifact_id, f"{one.name}/{one.version}") for one in found if one]


def resolve(tx: Transaction, reference: Reference) -> Resolved:
    """The artifact that a name means. Raises ModelNotFound, which says what there is."""
    model = store.get(tx, reference.name)
    if model is None:
        raise ModelNotFound(f"there is no model {reference.name}", model=str(reference))
    number = reference.version or model.aliases.get(reference.alias, 0)
    if not number:
        there = ", ".join(model.aliases) or "none"
        message = f"the model {model.name} has no alias {reference.alias} (aliases: {there}); promote a version to make it"
        raise ModelNotFound(message, model=str(reference))
    version = store.get_version(tx, model, number)
    if version is None:
        raise ModelNotFound(f"the model {model.name} has no version {number}", model=str(reference))
    return Resolved(version.artifact_id, f"{model.name}/{number}")
