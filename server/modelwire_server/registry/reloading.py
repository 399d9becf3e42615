"""Requests to look anew for what models are to be: each reaches every process of every server on the database.

Requests are numbered in the database and a notification only says that there is one, so that none is lost with a notification.
"""

import asyncio
from collections.abc import Callable

import structlog

from ..database.engine import Database, Transaction
from ..errors import ModelwireError
from . import store

log = structlog.get_logger(__name__)

# So long after the database did not answer is it asked again.
_PAUSE_SECONDS = 2.0

# Called with the name of the model to look for; empty means all.
OnReload = Callable[[str], None]


class Reloading:
    """Asks all processes to look for models, and tells those of this process who are to do so."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen = 0
        self._told = asyncio.Event()
        self._subscribers: list[OnReload] = []
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Hears of what is requested from here on."""
        self._seen = await self._database.read(store.last_reload)
        self._task = asyncio.create_task(self._hear(), name="reloads of models")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def request(self, name: str = "") -> None:
        """Has every process look for a model, or for all; returns without waiting for that. Raises StorageUnavailable."""
        log.info("model reload request received", model=name or "all")

        def request(tx: Transaction) -> None:
            store.lock(tx)
            store.request_reload(tx, name)

        await self._database.write(request)
        self.notice()

    def subscribe(self, callback: OnReload) -> Callable[[], None]:
        """Has a function called, in the event loop, for each request from anywhere; it must not wait. Returns what ends that."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def notice(self) -> None:
        """Something was requested, or may have been."""
        self._told.set()

    async def _hear(self) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            try:
                await self._pass_on()
            except ModelwireError as error:
                log.warning("cannot hear of reloads", error=error.message, again_in=_PAUSE_SECONDS)
                await asyncio.sleep(_PAUSE_SECONDS)
                self._told.set()

    async def _pass_on(self) -> None:
        for number, name in await self._database.read(lambda tx: store.reloads_after(tx, self._seen)):
            self._seen = number
            for callback in list(self._subscribers):
                callback(name)
