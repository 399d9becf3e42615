"""Takes jobs from the queue and sees each to its end."""

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from modelwire_runners import RetryPolicy

from ..artifacts.blobs.interface import BlobStore
from ..database.engine import Database, Transaction
from ..database.notifications import Topic, notify
from ..errors import Canceled, ModelwireError, StorageFull, StorageUnavailable, WorkerLost, WorkFailed
from ..execution.interface import Completed, Executor, Failed, JobSpec, Made, Outcome, Stopped, StopReason, StopSignal
from . import claims, store
from .hub import JobHub
from .model import Claim, Event, Job, JobKind, JobStatus, NewEvent

T = TypeVar("T")

log = structlog.get_logger(__name__)

# How long to wait before storage that did not take something is asked again, at first and at most.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 5.0
# Notifications are the rule; this is for the one that was lost.
_LOOK_AGAIN_SECONDS = 10.0


class Work(Protocol):
    """What the domain knows about one kind of job."""

    async def prepare(self, job: Job, folder: Path) -> JobSpec:
        """Gathers what the work needs; the result goes to `folder`."""

    def complete(self, tx: Transaction, job: Job, done: Completed) -> Sequence[NewEvent]:
        """Stores what the work made, in the transaction that completes the job; returns the events that tell of it."""

    def keep_diagnostic(self, tx: Transaction, job: Job, left: Made, error: ModelwireError) -> Sequence[NewEvent]:
        """Stores what failed work has left to look at, in the transaction that fails the job; returns the events that tell of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a worker takes on: at most `slots` jobs at once, of the runners that have a policy here. `limits` are how many jobs of a
    runner may run anywhere at once. A worker that is silent for longer than `lease` has lost its jobs."""

    slots: int
    policies: Mapping[str, RetryPolicy]
    limits: Mapping[str, int] = field(default_factory=dict)
    lease: timedelta = timedelta(seconds=15)


@dataclass(slots=True)
class Running:
    """A job that this worker works on."""

    job: Job
    claim: Claim
    stop: StopSignal = field(default_factory=StopSignal)


class ClaimLost(Exception):
    """Somebody else has the job by now: what was done here does not count."""


class Dispatcher:
    """Runs jobs: as many at once as there is room for, in all and per runner, by priority and age.

    A job's events are written as they come, those that pile up in one transaction; the artifact, the final state and its event in
    one as well, so that a crash at any moment leaves a job either running (found when its lease is over, or when its worker starts
    again) or ended with all it made. Each of these transactions holds only while the worker has the claim on the job.
    """

    def __init__(
        self,
        *,
        database: Database,
        blobs: BlobStore,
        hub: JobHub,
        executor: Executor,
        work: Mapping[JobKind, Work],
        capacity: Capacity,
        worker_id: str,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._hub = hub
        self._executor = executor
        self._work = work
        self._capacity = capacity
        self._worker_id = worker_id
        self._running: dict[str, Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._draining = False

    async def start(self) -> None:
        """Settles jobs that an earlier process of this worker has left, then begins to take jobs."""
        await self._settle_lost_jobs(self._worker_id)
        self._loops = [
            asyncio.create_task(loop(), name=f"dispatcher: {loop.__name__}")
            for loop in (self._take_jobs, self._renew_leases, self._look_for_lost_jobs)
        ]

    async def drain(self, seconds: float) -> None:
        """Takes no more jobs, lets the running ones go on for so long, then hands the rest back to the queue."""
        taking, *others = self._loops
        await _end(taking)
        tasks = list(self._tasks)
        if tasks:
            log.info("waiting for running jobs", jobs=len(tasks), seconds=seconds)
            await asyncio.wait(tasks, timeout=seconds)
            self._draining = True
            for running in list(self._running.values()):
                running.stop.set(StopReason.SHUTDOWN)
            await asyncio.gather(*tasks, return_exceptions=True)
        await _end(*others)

    async def retire(self) -> None:
        """Takes no more jobs, and lets the running ones go on to their end, however long that takes."""
        await _end(self._loops[0])
        while self._tasks:
            await asyncio.wait(self._tasks)

    def stop(self, job_id: str) -> None:
        """Asks the job's work to stop, if it runs here."""
        if running := self._running.get(job_id):
            running.stop.set(StopReason.CANCELED)

    @property
    def running(self) -> int:
        return len(self._running)

    async def _take_jobs(self) -> None:
        while True:
            self._hub.work.clear()
            pause = await self._claim()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hub.work.wait()

    async def _claim(self) -> float | None:
        """Begins with what there is room for; returns after how many seconds to look again, if nobody tells before."""
        room = self._capacity.slots - len(self._running)
        if room <= 0:
            return None
        try:
            claimed = await self._database.write(lambda tx: self._claim_in(tx, room))
        except Exception:
            # A full disk, for instance: the jobs stay pending.
            log.exception("cannot take jobs from the queue")
            return 1.0
        for job in claimed.jobs:
            self._begin(job)
        waits = [_LOOK_AGAIN_SECONDS] if self._database.has_company else []
        return min([*waits, *([] if claimed.next_due is None else [claimed.next_due])], default=None)

    def _claim_in(self, tx: Transaction, room: int) -> claims.Claimed:
        can = self._capacity
        return claims.claim(tx, self._worker_id, runners=list(can.policies), limits=can.limits, total=room, lease=can.lease)

    def _begin(self, job: Job) -> None:
        running = self._running[job.id] = Running(job, Claim(self._worker_id, job.attempt))
        task = asyncio.create_task(self._see_through(running), name=f"job {job.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._hub.notify(job.id)

    async def _renew_leases(self) -> None:
        """Tells in time that this worker lives. What it does not have any more, or is to cancel, it stops."""
        while True:
            await asyncio.sleep(self._capacity.lease.total_seconds() / 3)
            running = dict(self._running)
            if not running:
                continue
            with _logged("cannot renew the leases of running jobs"):
                renewed = await self._database.write(
                    partial(claims.renew, worker_id=self._worker_id, ids=list(running), lease=self._capacity.lease)
                )
                for job_id, one in running.items():
                    if renewed.get(job_id, True):
                        one.stop.set(StopReason.CANCELED if job_id in renewed else StopReason.LOST)

    async def _look_for_lost_jobs(self) -> None:
        while True:
            await asyncio.sleep(self._capacity.lease.total_seconds() / 2)
            with _logged("cannot look for lost jobs"):
                await self._settle_lost_jobs()

    async def _settle_lost_jobs(self, worker_id: str = "") -> None:
        runners = list(self._capacity.policies)
        for job, claim in await self._database.read(lambda tx: claims.lost(tx, runners, worker_id)):
            if job.id not in self._running:
                log.warning("job lost its worker", job_id=job.id, attempt=job.attempt)
                await self._settle(Running(job, claim), Failed(WorkerLost("the server stopped while the job was running")))
                self._hub.notify(job.id)

    async def _see_through(self, running: Running) -> None:
        job = running.job
        try:
            with structlog.contextvars.bound_contextvars(job_id=job.id):
                log.info("job started", kind=job.kind, runner=job.runner_id, attempt=job.attempt)
                outcome = await self._run(running, self._folder(job))
                await self._settle(running, outcome)
        except Exception:
            log.exception("job cannot be settled", job_id=job.id)
            self._hub.notify(job.id)
        finally:
            # After it was lost, the same job may be here again already.
            if self._running.get(job.id) is running:
                del self._running[job.id]
            self._hub.work.set()
            await self._clear(job)

    def _folder(self, job: Job) -> Path:
        """Where an attempt at a job works."""
        return self._blobs.scratch / f"job-{job.id}-{job.attempt}"

    async def _clear(self, job: Job) -> None:
        """Removes all that an attempt has left."""
        if (folder := self._folder(job)).exists():
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _run(self, running: Running, folder: Path) -> Outcome:
        job = running.job

        async def report(events: Sequence[NewEvent]) -> None:
            told = await self._persist(lambda tx: store.append_events(tx, job.id, events, running.claim))
            if not told:
                running.stop.set(StopReason.LOST)
            self._hub.tell(job.id, told)

        try:
            # A cancel that came before this job was known here has told nobody.
            if job.cancel_requested:
                running.stop.set(StopReason.CANCELED)
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            spec = await self._work[job.kind].prepare(job, folder)
            return await self._executor.run(spec, report, running.stop)
        except ModelwireError as error:
            return Failed(error)
        except Exception as error:
            log.exception("job cannot be run")
            return Failed(WorkFailed(f"the server could not run the job: {type(error).__name__}"))

    async def _settle(self, running: Running, outcome: Outcome) -> None:
        reason = running.stop.reason
        match outcome:
            case Completed():
                await self._complete(running, outcome)
            case Failed(error=error, diagnostic=left):
                await self._fail(running, error, left)
            case Stopped() if reason is StopReason.SHUTDOWN:
                await self._requeue(running, "the server shut down; the job will run again")
            case Stopped() if reason is StopReason.CANCELED:
                await self._cancel(running)
        log.info("job ended", outcome=type(outcome).__name__.lower(), why=reason and reason.value)

    async def _complete(self, running: Running, done: Completed) -> None:
        job = running.job

        def complete(tx: Transaction) -> Sequence[Event]:
            if not store.holds(tx, job.id, running.claim):
                raise ClaimLost
            made = self._work[job.kind].complete(tx, job, done)
            self._tell_of_room(tx, job)
            return store.finish(tx, job.id, JobStatus.COMPLETED, extra_events=made, claim=running.claim)

        try:
            for made in (done.workspace, done.made):
                await self._adopt(made)
            await self._record(job, complete)
        except ClaimLost:
            log.warning("the job is in other hands; what was made here is dropped")
        except ModelwireError as error:
            await self._fail(running, error, None)

    async def _fail(self, running: Running, error: ModelwireError, left: Made | None) -> None:
        """Fails a job or puts it into the queue again, as its runner's policy says. What a failed one has left to look at is kept if
        that is possible."""
        job = running.job
        policy = self._capacity.policies[job.runner_id]
        if job.cancel_requested or running.stop.reason is StopReason.CANCELED:
            await self._cancel(running)
        elif policy.allows(error.reason, job.failures + 1):
            pause = policy.pause(job.failures + 1)
            later = f" in {pause:g} s" if pause else ""
            message = f"{error.message}; the job will run again{later}"
            await self._requeue(running, message, failed=True, pause=pause, reason=error.reason)
        else:
            await self._fail_for_good(running, error, left)

    async def _fail_for_good(self, running: Running, error: ModelwireError, left: Made | None) -> None:
        if left is not None:
            work = self._work[running.job.kind]
            try:
                await self._adopt(left)
                await self._finish(running, JobStatus.FAILED, error, lambda tx: work.keep_diagnostic(tx, running.job, left, error))
                return
            except ModelwireError as second:
                log.warning("what the job has left cannot be kept", error=second.message)
        await self._finish(running, JobStatus.FAILED, error)

    async def _adopt(self, made: Made | None) -> None:
        """Gives content to the blob store; a list after the files that it names."""
        if made is None:
            return
        adopted = await asyncio.gather(*(self._blobs.adopt(path, blob) for path, blob in made.parts), return_exceptions=True)
        for failure in filter(None, adopted):
            raise failure
        await self._blobs.adopt(made.path, made.blob)

    async def _cancel(self, running: Running) -> None:
        current = await self._database.read(lambda tx: store.get(tx, running.job.id))
        message = (current and current.cancel_message) or "canceled on request"
        await self._finish(running, JobStatus.CANCELED, Canceled(message))

    async def _requeue(
        self, running: Running, message: str, *, failed: bool = False, pause: float = 0.0, reason: str | None = None
    ) -> None:
        job, claim = running.job, running.claim
        await self._record(
            job, lambda tx: store.requeue(tx, job.id, message, claim=claim, failed=failed, pause=pause, reason=reason)
        )
        self._hub.work.set()

    async def _finish(
        self,
        running: Running,
        status: JobStatus,
        error: ModelwireError,
        keep: Callable[[Transaction], Sequence[NewEvent]] = lambda tx: (),
    ) -> None:
        def finish(tx: Transaction) -> Sequence[Event]:
            if not store.holds(tx, running.job.id, running.claim):
                return []
            self._tell_of_room(tx, running.job)
            return store.finish(
                tx,
                running.job.id,
                status,
                reason=error.reason,
                message=error.message,
                error=None if status is JobStatus.CANCELED else error.message,
                traceback=error.traceback,
                extra_events=keep(tx),
                claim=running.claim,
            )

        await self._record(running.job, finish)

    async def _record(self, job: Job, work: Callable[[Transaction], Sequence[Event]]) -> None:
        """Stores what became of an attempt, and tells the watchers. What it has left is removed before: on a full disk there may be
        space only then."""
        await self._clear(job)
        self._hub.tell(job.id, await self._persist(work))

    def _tell_of_room(self, tx: Transaction, job: Job) -> None:
        """Where one job of a limited runner has ended, another server may begin with the next."""
        if job.runner_id in self._capacity.limits:
            notify(tx, Topic.WORK)

    async def _persist(self, work: Callable[[Transaction], T]) -> T:
        """Writes, however long it takes the storage to be there and to have space; during the end of the server, only once."""
        return await persistently(lambda: self._database.write(work), unless=lambda: self._draining)


async def persistently(act: Callable[[], Awaitable[T]], unless: Callable[[], bool]) -> T:
    """Does something again and again while the storage does not take it."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return await act()
        except (StorageUnavailable, StorageFull) as error:
            if unless():
                raise
            log.warning("the storage does not take what is new about a job", error=error.message, again_in=pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


@contextlib.contextmanager
def _logged(message: str) -> Iterator[None]:
    """What goes wrong is logged, and tried again by the next round."""
    try:
        yield
    except Exception:
        log.exception(message)


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
