"""What callers may ask of jobs: read, list, watch, cancel, forget."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import structlog

from ..database.engine import Database
from ..errors import JobNotFound, StorageUnavailable
from ..paging import Page, PageRequest
from . import store
from .hub import JobHub
from .model import Event, EventKind, Job, JobKind, JobStatus

# So many events are read at once; a watcher of a long log gets them page by page.
EVENTS_AT_ONCE = 500
LOOK_AGAIN_SECONDS = 5.0

log = structlog.get_logger(__name__)


class JobDesk:
    """Reads and steers jobs. `stop` asks the running work of a job to stop, if it runs in this process."""

    def __init__(self, database: Database, hub: JobHub, stop: Callable[[str], None]) -> None:
        self._database = database
        self._hub = hub
        self._stop = stop
        # The last event that somebody here has read of each watched job.
        self._seen: dict[str, int] = {}
        self._looking: asyncio.Task[None] | None = None

    async def get(self, job_id: str) -> Job:
        """Raises JobNotFound."""
        job = await self._database.read(lambda tx: store.get(tx, job_id))
        if job is None:
            raise JobNotFound(f"there is no job {job_id}", job=job_id)
        return job

    async def list(
        self,
        page: PageRequest | None = None,
        *,
        status: JobStatus | None = None,
        kind: JobKind | None = None,
        runner_id: str = "",
        config_id: str = "",
    ) -> Page[Job]:
        """Jobs, newest first."""
        request = page or PageRequest()
        return await self._database.read(
            lambda tx: store.list_page(tx, request, status=status, kind=kind, runner_id=runner_id, config_id=config_id)
        )

    async def cancel(self, job_id: str, message: str = "") -> Job:
        """Asks a job to stop and returns it as it is then. Raises JobNotFound."""
        job = await self._database.write(lambda tx: store.request_cancel(tx, job_id, message))
        if job is None:
            raise JobNotFound(f"there is no job {job_id}", job=job_id)
        self._hub.notify(job_id)
        self._stop(job_id)
        return job

    async def delete(self, job_id: str) -> None:
        """Cancels a job if need be, waits for its end and forgets it. Raises JobNotFound."""
        job = await self.cancel(job_id, "the job was deleted")
        async for _ in self.watch(job_id, job.last_sequence, heartbeat=60):
            pass
        await self._database.write(lambda tx: store.delete(tx, job_id))
        self._hub.notify(job_id)

    async def watch(self, job_id: str, after_sequence: int, *, heartbeat: float) -> AsyncIterator[Event | None]:
        """The events after a sequence, then each new one, until the job has ended or is deleted; None when nothing happened for
        `heartbeat` seconds. Raises JobNotFound."""
        last = after_sequence
        with self._hub.subscribe(job_id) as news:
            events = await self._events_after(job_id, last)
            if not events:
                await self.get(job_id)
            while True:
                for event in events:
                    yield event
                    last = event.sequence
                if ends_a_job(events) or (not events and await self._is_over(job_id, last)):
                    return
                if len(events) < EVENTS_AT_ONCE:
                    self._seen[job_id] = last
                    # A quiet job costs a quiet watcher nothing but this.
                    while not await news.comes(within=heartbeat):
                        yield None
                events = news.take(after=last) or await self._events_after(job_id, last)

    def start(self) -> None:
        """Where others run jobs too, makes sure that a notification that is lost is no news that is lost."""
        if self._database.has_company:
            self._looking = asyncio.create_task(self._look_again(), name="watched jobs")

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            try:
                await self.catch_up()
            except StorageUnavailable as error:
                log.warning("cannot look at watched jobs", error=error.message)

    async def catch_up(self) -> None:
        """Wakes the watchers of jobs that have news which nobody here was told of."""
        watched = self._hub.watched
        self._seen = {job_id: self._seen[job_id] for job_id in watched if job_id in self._seen}
        if not watched:
            return
        last = await self._database.read(lambda tx: store.last_sequences(tx, watched))
        for job_id in watched:
            if last.get(job_id) != self._seen.get(job_id):
                self._hub.notify(job_id)

    async def _events_after(self, job_id: str, sequence: int) -> Sequence[Event]:
        return await self._database.read(lambda tx: store.events_after(tx, job_id, sequence, EVENTS_AT_ONCE))

    async def _is_over(self, job_id: str, last: int) -> bool:
        job = await self._database.read(lambda tx: store.get(tx, job_id))
        return job is None or (job.status.is_final and last >= job.last_sequence)


def ends_a_job(events: Sequence[Event]) -> bool:
    """The change to a final state is always the last event of a job."""
    return bool(events) and events[-1].kind is EventKind.STATE and JobStatus(events[-1].data["status"]).is_final
