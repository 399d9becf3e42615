"""Takes jobs from the queue and sees each to its end."""

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from modelwire_runners import RetryPolicy

from ..artifacts.blobs.interface import BlobStore
from ..database.engine import Database, Transaction
from ..errors import Canceled, ModelwireError, WorkerLost, WorkFailed
from ..execution.interface import Completed, Executor, Failed, JobSpec, Made, Outcome, StopReason, StopSignal
from . import store
from .hub import JobHub
from .model import Job, JobKind, JobStatus, NewEvent

log = structlog.get_logger(__name__)


class Work(Protocol):
    """What the domain knows about one kind of job."""

    async def prepare(self, job: Job, folder: Path) -> JobSpec:
        """Gathers what the work needs; the result goes to `folder`."""

    def complete(self, tx: Transaction, job: Job, done: Completed) -> Sequence[NewEvent]:
        """Stores what the work made, in the transaction that completes the job; returns the events that tell of it."""

    def keep_diagnostic(self, tx: Transaction, job: Job, left: Made, error: ModelwireError) -> Sequence[NewEvent]:
        """Stores what failed work has left to look at, in the transaction that fails the job; returns the events that tell of it."""

    def retry(self, job: Job) -> RetryPolicy:
        """When the job is tried again."""


class Dispatcher:
    """Runs jobs: as many at once as there are slots, in all and per runner, oldest first.

    A job's events are written as they come, those that pile up in one transaction; the artifact, the final state and its event in
    one as well, so that a crash at any moment leaves a job either running (found at the next start) or ended with all it made.
    """

    def __init__(
        self,
        *,
        database: Database,
        blobs: BlobStore,
        hub: JobHub,
        executor: Executor,
        work: Mapping[JobKind, Work],
        slots: int,
        slots_of: Mapping[str, int],
        worker_id: str,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._hub = hub
        self._executor = executor
        self._work = work
        self._slots = slots
        self._slots_of = slots_of
        self._worker_id = worker_id
        self._running: dict[str, tuple[Job, StopSignal, asyncio.Task[None]]] = {}
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Settles jobs whose worker is lost, then begins to take jobs."""
        await self._recover()
        self._loop = asyncio.create_task(self._take_jobs(), name="dispatcher")

    async def drain(self, seconds: float) -> None:
        """Takes no more jobs, lets the running ones go on for so long, then hands the rest back to the queue."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        tasks = [task for _, _, task in self._running.values()]
        if not tasks:
            return
        log.info("waiting for running jobs", jobs=len(tasks), seconds=seconds)
        await asyncio.wait(tasks, timeout=seconds)
        for _, stop, _ in list(self._running.values()):
            stop.set(StopReason.SHUTDOWN)
        await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self, job_id: str) -> None:
        """Asks the job's work to stop, if it runs here."""
        if running := self._running.get(job_id):
            running[1].set(StopReason.CANCELED)

    @property
    def running(self) -> int:
        return len(self._running)

    async def _recover(self) -> None:
        for job in await self._database.read(store.running_of):
            log.warning("job lost its worker", job_id=job.id, attempt=job.attempt)
            error = WorkerLost("the server stopped while the job was running")
            await self._settle_lost(job, error)

    async def _take_jobs(self) -> None:
        while True:
            self._hub.work.clear()
            for job in await self._claim():
                self._begin(job)
            await self._hub.work.wait()

    async def _claim(self) -> list[Job]:
        total = self._slots - len(self._running)
        if total <= 0:
            return []
        busy = [job.runner_id for job, _, _ in self._running.values()]
        limits = {runner: slots - busy.count(runner) for runner, slots in self._slots_of.items()}
        try:
            return await self._database.write(lambda tx: store.claim(tx, self._worker_id, limits=limits, total=total))
        except Exception:
            # A full disk, for instance: the jobs stay pending, and the queue is looked at again soon.
            log.exception("cannot take jobs from the queue")
            asyncio.get_running_loop().call_later(1.0, self._hub.work.set)
            return []

    def _begin(self, job: Job) -> None:
        stop = StopSignal()
        task = asyncio.create_task(self._see_through(job, stop), name=f"job {job.id}")
        self._running[job.id] = (job, stop, task)
        self._hub.notify(job.id)

    async def _see_through(self, job: Job, stop: StopSignal) -> None:
        folder = self._blobs.scratch / f"job-{job.id}-{job.attempt}"
        try:
            with structlog.contextvars.bound_contextvars(job_id=job.id):
                log.info("job started", kind=job.kind, runner=job.runner_id, attempt=job.attempt)
                outcome = await self._run(job, folder, stop)
                await self._settle(job, outcome, stop)
        except Exception:
            log.exception("job cannot be settled", job_id=job.id)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            del self._running[job.id]
            self._hub.notify(job.id)
            self._hub.work.set()

    async def _run(self, job: Job, folder: Path, stop: StopSignal) -> Outcome:
        async def report(events: Sequence[NewEvent]) -> None:
            await self._database.write(lambda tx: store.append_events(tx, job.id, events))
            self._hub.notify(job.id)

        try:
            # A cancel may have come between the claim and this line, when nobody was here yet to be told.
            if (await self._database.read(lambda tx: store.get(tx, job.id)) or job).cancel_requested:
                stop.set(StopReason.CANCELED)
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            spec = await self._work[job.kind].prepare(job, folder)
            return await self._executor.run(spec, report, stop)
        except ModelwireError as error:
            return Failed(error)
        except Exception as error:
            log.exception("job cannot be run")
            return Failed(WorkFailed(f"the server could not run the job: {type(error).__name__}"))

    async def _settle(self, job: Job, outcome: Outcome, stop: StopSignal) -> None:
        match outcome:
            case Completed():
                await self._complete(job, outcome)
            case Failed(error=WorkerLost() as error):
                await self._settle_lost(job, error)
            case Failed(error=error, diagnostic=left):
                await self._fail(job, error, left)
            case _ if stop.reason is StopReason.SHUTDOWN:
                await self._database.write(lambda tx: store.requeue(tx, job.id, "the server shut down; the job will run again"))
            case _:
                current = await self._database.read(lambda tx: store.get(tx, job.id))
                message = (current and current.cancel_message) or "canceled on request"
                await self._finish(job, JobStatus.CANCELED, Canceled(message))
        log.info("job ended", outcome=type(outcome).__name__.lower())

    async def _complete(self, job: Job, done: Completed) -> None:
        try:
            for made in (done.workspace, done.made):
                await self._adopt(made)
            await self._database.write(lambda tx: self._complete_in(tx, job, done))
        except ModelwireError as error:
            await self._finish(job, JobStatus.FAILED, error)

    def _complete_in(self, tx: Transaction, job: Job, done: Completed) -> None:
        made = self._work[job.kind].complete(tx, job, done)
        store.finish(tx, job.id, JobStatus.COMPLETED, extra_events=made)

    async def _fail(self, job: Job, error: ModelwireError, left: Made | None) -> None:
        """Fails a job; what it has left to look at is kept if that is possible."""
        if left is not None:
            try:
                await self._adopt(left)
                await self._finish(
                    job, JobStatus.FAILED, error, lambda tx: self._work[job.kind].keep_diagnostic(tx, job, left, error)
                )
                return
            except ModelwireError as second:
                log.warning("what the job has left cannot be kept", error=second.message)
        await self._finish(job, JobStatus.FAILED, error)

    async def _adopt(self, made: Made | None) -> None:
        """Gives content to the blob store; a list after the files that it names."""
        if made is None:
            return
        for path, blob in (*made.parts, (made.path, made.blob)):
            await self._blobs.adopt(path, blob)

    async def _settle_lost(self, job: Job, error: WorkerLost) -> None:
        if job.cancel_requested:
            await self._finish(job, JobStatus.CANCELED, Canceled(job.cancel_message or "canceled on request"))
        elif job.attempt < self._work[job.kind].retry(job).max_attempts:
            await self._database.write(lambda tx: store.requeue(tx, job.id, f"{error.message}; the job will run again"))
            self._hub.notify(job.id)
            self._hub.work.set()
        else:
            await self._finish(job, JobStatus.FAILED, error)

    async def _finish(
        self,
        job: Job,
        status: JobStatus,
        error: ModelwireError,
        keep: Callable[[Transaction], Sequence[NewEvent]] = lambda tx: (),
    ) -> None:
        def finish(tx: Transaction) -> None:
            store.finish(
                tx,
                job.id,
                status,
                reason=error.reason,
                message=error.message,
                error=None if status is JobStatus.CANCELED else error.message,
                traceback=error.traceback,
                extra_events=keep(tx),
            )

        await self._database.write(finish)
        self._hub.notify(job.id)
