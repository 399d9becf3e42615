"""What a server does for its storage now and then, by itself."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from ..artifacts.blobs.interface import BlobStore, Usage
from ..artifacts.garbage import GRACE, Collected, collect
from ..artifacts.model import (
    DATASET_TYPE,
    GENERIC_TYPE,
    MODEL_TYPE,
    PREDICTION_TYPE,
    PREDICTION_WORKSPACE_TYPE,
    TRAINING_WORKSPACE_TYPE,
)
from ..database.engine import Database
from . import store
from .alone import Occupied, alone
from .deletion import Deleted, Retention, delete

log = structlog.get_logger(__name__)

KNOWN_TYPES = (
    MODEL_TYPE,
    TRAINING_WORKSPACE_TYPE,
    PREDICTION_TYPE,
    PREDICTION_WORKSPACE_TYPE,
    DATASET_TYPE,
    GENERIC_TYPE,
)
OTHER_TYPES = "other"
NOTHING = Usage(0, 0)
# Counting reads every row; whoever asks more often gets the same answer.
COUNTED_FOR_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Stored:
    """How much there is. `artifacts` has count and bytes by type, where all types that callers made up are `other`; `blobs` is as of
    the last round."""

    artifacts: Mapping[str, Usage] = field(default_factory=dict)
    blobs: Usage = NOTHING


class Upkeep:
    """Deletes what retention says and content that nothing refers to: at the start, then every `interval`, on one server at a time.

    `on_deleted` is told the ids of artifacts that are gone.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        retention: Retention,
        *,
        interval: timedelta,
        grace: timedelta = GRACE,
        on_deleted: Callable[[Sequence[str]], None] = lambda ids: None,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._retention = retention
        self._interval = interval
        self._grace = grace
        self._on_deleted = on_deleted
        self._task: asyncio.Task[None] | None = None
        self._blob_usage = NOTHING
        self._artifact_usage: Mapping[str, Usage] = {}
        self._counted_at = -COUNTED_FOR_SECONDS

    def start(self) -> None:
        """Begins the first round."""
        self._task = asyncio.create_task(self._go_round(), name="upkeep")

    async def close(self) -> None:
        """Ends a round where it is; the next one goes on from there."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def round(self) -> tuple[Deleted, Collected]:
        """Does once what is to be done. Raises Occupied, StorageUnavailable."""
        async with alone(self._database):
            deleted = await delete(self._database, self._retention)
            self._on_deleted([artifact.id for artifact in deleted.artifacts])
            return deleted, await collect(self._database, self._blobs, grace=self._grace)

    async def stored(self) -> Stored:
        """How much there is now, or was a minute ago."""
        if time.monotonic() - self._counted_at > COUNTED_FOR_SECONDS:
            self._artifact_usage = by_known_type(await self._database.read(store.usage))
            self._counted_at = time.monotonic()
        return Stored(self._artifact_usage, self._blob_usage)

    async def _go_round(self) -> None:
        while True:
            try:
                await self._round_and_count()
            except Exception:
                # A full disk, a database that restarts: the next round may fare better.
                log.exception("upkeep failed")
            await asyncio.sleep(self._interval.total_seconds())

    async def _round_and_count(self) -> None:
        try:
            deleted, collected = await self.round()
            log.info(
                "upkeep is done",
                artifacts_deleted=len(deleted.artifacts),
                jobs_deleted=deleted.jobs,
                blobs_discarded=collected.discarded,
                blobs_purged=collected.purged,
                bytes_freed=collected.bytes,
            )
        except Occupied:
            log.debug("another process does the upkeep")
        self._blob_usage = await self._blobs.usage()


def by_known_type(usage: Mapping[str, tuple[int, int]]) -> dict[str, Usage]:
    """The same with the types that callers made up taken together, since their number has no bound."""
    totals = dict.fromkeys((*KNOWN_TYPES, OTHER_TYPES), NOTHING)
    for name, (count, size) in usage.items():
        known = name if name in KNOWN_TYPES else OTHER_TYPES
        totals[known] = Usage(totals[known].count + count, totals[known].bytes + size)
    return totals
