"""Names on the way to models, and how each serving process follows when they move.

A process keeps in memory what each name means, so that a prediction by name asks no database. When something happens in the registry it
forgets that, lets the predictions end that began before, and says that it has taken notice. Whoever moves an alias waits for
that: once its call has returned, no answer comes from where the alias pointed before. A process that cannot say so - it hangs, or
has lost the database - holds nobody up for longer than its lease, and after the lease it asks the database each time.

What a name in use leads to now is loaded before the process takes notice, beside what it led to before; if it cannot be loaded, the version
before goes on (see Succession).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog

from ..clock import new_id
from ..database.engine import Database, Transaction
from ..errors import ModelNotFound, ModelNotReady, ModelwireError, StorageUnavailable
from . import store
from .model import Reference, Resolved
from .succession import Succession, resolve

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=6)
_RENEW_SECONDS = LEASE.total_seconds() / 3
_FORGOTTEN_AFTER = timedelta(days=1)


class _Generation:
    """The predictions that began between two events of the registry."""

    def __init__(self) -> None:
        self._calls = 0
        self._over = asyncio.Event()
        self._closed = False

    def enter(self) -> None:
        self._calls += 1

    def leave(self, *_: object) -> None:
        self._calls -= 1
        if self._closed and not self._calls:
            self._over.set()

    async def end(self) -> None:
        """Waits until the last one is over; none begins any more."""
        self._closed = True
        if self._calls:
            await self._over.wait()


class Following:
    """What names mean, in this process. `expected` are the names, as `name@alias`, that it is to serve as soon as they are there."""

    def __init__(self, database: Database, succession: Succession, expected: Collection[str] = ()) -> None:
        self._database = database
        self._succession = succession
        self.expected = frozenset(expected)
        succession.on_change = self._forget
        self._id = new_id()
        self._known: dict[str, Resolved] = {}
        self._generation = _Generation()
        # Up to which event names are forgotten, and up to which the predictions that began before are over too.
        self._seen = self._settled = 0
        self._told = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._lease_until = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._watchers: set[asyncio.Event] = set()
        self._watchers_of_moves: set[asyncio.Event] = set()

    async def start(self) -> None:
        """Takes notice of all that has happened until now, and follows from here on."""
        await self._take_notice()
        self._tasks = [asyncio.create_task(loop(), name=f"models: {loop.__name__}") for loop in (self._follow, self._renew)]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._succession.close()
        self._lease_until = 0.0
        try:
            await self._database.write(lambda tx: store.leave(tx, self._id))
        except StorageUnavailable as error:
            log.warning("cannot say that this server follows no more; its lease will run out", error=error.message)

    def notice(self) -> None:
        """Something happened in the registry, or may have."""
        self._told.set()
        for watcher in self._watchers:
            watcher.set()

    def seen(self) -> None:
        """Another process has taken notice of something."""
        self._acknowledged.set()

    @contextmanager
    def watching(self, *, moves: bool = False) -> Iterator[asyncio.Event]:
        """An event that is set whenever something happened in the registry; with `moves` whenever another version may predict here."""
        news, watchers = asyncio.Event(), self._watchers_of_moves if moves else self._watchers
        watchers.add(news)
        try:
            yield news
        finally:
            watchers.discard(news)

    def tell_of_moves(self) -> None:
        """Another version may predict here from now on."""
        for watcher in self._watchers_of_moves:
            watcher.set()

    async def resolve(self, model: str, field: str = "model") -> Resolved:
        """The artifact that a reference means now. Raises InvalidField, ModelNotFound, ModelNotReady."""
        if (known := self._known.get(model)) and time.monotonic() < self._lease_until:
            return known
        reference = Reference.parse(model, field)
        if reference.artifact_id:
            return Resolved(reference.artifact_id)
        known_by = self._known
        found = await self._find(reference)
        # Put where nobody looks any more, if something happened since.
        known_by[model] = found
        return found

    async def _find(self, reference: Reference) -> Resolved:
        try:
            found = await self._database.read(lambda tx: resolve(tx, reference))
        except ModelNotFound as error:
            if str(reference) not in self.expected:
                raise
            raise ModelNotReady(f"this server is to serve {reference}, but {error.message}", model=reference) from error
        return self._succession.serving(str(reference), found) if reference.alias else found

    def _forget(self) -> None:
        self._known = {}
        self.tell_of_moves()

    async def instead(self, model: str, wanted: Resolved, error: ModelwireError) -> Resolved:
        """What predicts for a name that leads to what cannot be loaded: a version that it led to before. Raises the error if none does."""
        reference = Reference.parse(model)
        if not reference.alias:
            raise error
        return await self._succession.instead(str(reference), wanted, error)

    def enter(self) -> Callable[..., None]:
        """Before a name is resolved for a prediction. To be called when all is done with the model: whoever moves the name waits for
        it."""
        generation = self._generation
        generation.enter()
        return generation.leave

    async def everywhere(self, sequence: int) -> None:
        """Waits until every serving process has taken notice of an event."""
        self.notice()
        while True:
            self._acknowledged.clear()
            left = await self._database.read(lambda tx: store.seconds_behind(tx, sequence))
            if not left:
                return
            try:
                async with asyncio.timeout(left):
                    await self._acknowledged.wait()
            except TimeoutError:
                log.warning("a server has not taken notice of an event of the registry; its lease is over", sequence=sequence)

    async def _follow(self) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            await self._logged(self._take_notice)

    async def _renew(self) -> None:
        """Tells that this process lives; what it was not told of it finds here."""
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            await self._logged(self._look_again)

    async def _logged(self, act: Callable[[], Awaitable[None]]) -> None:
        try:
            await act()
        except ModelwireError as error:
            log.warning("cannot follow the registry", error=error.message)

    async def _look_again(self) -> None:
        if await self._database.read(store.last_sequence) != self._seen:
            self.notice()
        await self._say(self._settled)

    async def _take_notice(self) -> None:
        sequence, moved = await self._database.read(lambda tx: (store.last_sequence(tx), store.names_after(tx, self._seen)))
        if sequence != self._seen:
            await self._succession.follow(moved, within=LEASE.total_seconds())
            before, self._generation = self._generation, _Generation()
            self._forget()
            self._seen = sequence
            await before.end()
        self._settled = sequence
        await self._say(sequence)

    async def _say(self, sequence: int) -> None:
        begin = time.monotonic()

        def say(tx: Transaction) -> None:
            store.follow(tx, self._id, sequence, LEASE)
            store.forget_dead_followers(tx, _FORGOTTEN_AFTER)

        await self._database.write(say)
        # Shorter than what the others believe, by the time that saying so took.
        self._lease_until = begin + LEASE.total_seconds()
        self._acknowledged.set()
