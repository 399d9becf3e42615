"""Accepting jobs: durable, once, and not more than can be stored."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..clock import new_id, now
from ..database import idempotency
from ..database.engine import Database, Transaction
from ..errors import ModelwireError, Overloaded, ShuttingDown
from . import store
from .hub import JobHub
from .model import EventKind, Job, JobStatus, NewEvent


@dataclass(frozen=True, slots=True)
class Submission:
    """What a caller gets for an accepted job: the artifact exists once the job is completed."""

    job_id: str
    artifact_id: str
    message: str


class JobQueue:
    """Accepts jobs while there is room for them: at most `max_pending` wait in all, and `max_pending_of` of each runner named there."""

    def __init__(
        self, database: Database, hub: JobHub, *, max_pending: int, max_pending_of: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        self._database = database
        self._hub = hub
        self._max_pending = max_pending
        self._max_pending_of = max_pending_of
        self.open = True

    async def submit(
        self,
        job: Job,
        *,
        request_id: str,
        fingerprint: str,
        check: Callable[[Transaction], None] = lambda tx: None,
    ) -> Submission:
        """Stores a job with its first event. The same request id gives the same answer; `check` may refuse, in the same transaction.

        Raises Overloaded, ShuttingDown, RequestIdReused and what `check` raises."""
        if not self.open:
            raise ShuttingDown("the server is shutting down; try again in a moment")
        answer = await self._database.write(lambda tx: self._submit_in(tx, job, request_id, fingerprint, check))
        self._hub.work.set()
        return Submission(**answer)

    def _submit_in(
        self, tx: Transaction, job: Job, request_id: str, fingerprint: str, check: Callable[[Transaction], None]
    ) -> dict[str, Any]:
        answer = {
            "job_id": job.id,
            "artifact_id": job.artifact_id,
            "message": f"{'Training' if job.kind == 'train' else 'Prediction'} job submitted. Job ID: {job.id}",
        }
        if request_id:
            known = idempotency.recall_or_remember(tx, f"{job.kind}.submit", request_id, fingerprint, answer)
            if known is not answer:
                return known
        self._require_room(tx, job.runner_id)
        check(tx)
        store.insert(tx, job, first_events(job))
        return answer

    def _require_room(self, tx: Transaction, runner_id: str) -> None:
        limit = self._max_pending
        if store.count_pending(tx) >= limit:
            raise Overloaded(f"{limit} jobs are waiting already; try again when some are done", limit=limit)
        limit_of = self._max_pending_of.get(runner_id)
        if limit_of is not None and store.count_pending(tx, runner_id) >= limit_of:
            message = f"{limit_of} jobs of the runner {runner_id} are waiting already; try again when some are done"
            raise Overloaded(message, limit=limit_of, runner=runner_id)


def first_events(job: Job) -> list[NewEvent]:
    """That the job was accepted and, if it is one of failed_job(), that it has failed."""
    data = {"status": JobStatus.PENDING, "stage": "queued", "attempt": 0}
    accepted = NewEvent(EventKind.STATE, data, job.submitted_at)
    if not job.status.is_final:
        return [accepted]
    data = {**data, "status": job.status, "reason": job.error_reason, "message": job.error}
    return [accepted, NewEvent(EventKind.STATE, data, job.submitted_at)]


def new_job(**fields: Any) -> Job:
    """A job that is pending from now on."""
    return Job(id=new_id(), submitted_at=now(), **fields)


def failed_job(error: ModelwireError, **fields: Any) -> Job:
    """A job that has failed already: what is wrong with it was found when it was submitted."""
    time = now()
    # As if code of the job's own had raised it.
    text = f"ValueError: {error.message}"
    failure: dict[str, Any] = {"error": text, "error_traceback": text, "error_reason": error.reason}
    return Job(id=new_id(), status=JobStatus.FAILED, submitted_at=time, started_at=time, finished_at=time, **failure, **fields)
