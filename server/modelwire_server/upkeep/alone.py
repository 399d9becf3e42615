"""One at a time: whoever deletes content or copies it wants nobody else to delete any meanwhile."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from ..database.engine import Database
from . import store
from .refusal import Refused

# How often somebody who waits looks again.
PAUSE_SECONDS = 0.2
# So long somebody waits who cannot come again in an hour.
PATIENCE_SECONDS = 60.0


class Occupied(Refused):
    """Somebody else cleans up or makes a backup, here or on another server."""


@asynccontextmanager
async def alone(database: Database, *, patience: float = 0.0) -> AsyncIterator[None]:
    """Keeps others with the same database out, who came here too. Waits so many seconds for them; raises Occupied then."""
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        claim = _claim(database)
        if await asyncio.to_thread(claim.__enter__):
            break
        await asyncio.to_thread(claim.__exit__, None, None, None)
        if asyncio.get_running_loop().time() >= deadline:
            raise Occupied("another process cleans up this database or makes a backup of it; try again when it is done")
        await asyncio.sleep(PAUSE_SECONDS)
    try:
        yield
    finally:
        await asyncio.to_thread(claim.__exit__, None, None, None)


@contextmanager
def _claim(database: Database) -> Iterator[bool]:
    """Whether nobody else is there; holds the place until the end if so."""
    if database.is_shared:
        with store.advisory_lock(database) as first:
            yield first
        return
    file = database.engine.url.database
    with Path(f"{file}-upkeep" if file and file != ":memory:" else "/dev/null").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
