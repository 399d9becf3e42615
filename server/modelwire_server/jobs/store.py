"""Jobs and their events in SQL: the queue is the table."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ..clock import now
from ..database.engine import Transaction
from ..database.tables import job_events as events
from ..database.tables import jobs
from ..paging import Page, PageRequest
from .model import Event, EventKind, Job, JobKind, JobStatus, NewEvent

_FIELDS = [column for column in jobs.c if column.name not in ("worker_id", "lease_until")]


def insert(tx: Transaction, job: Job, first: Sequence[NewEvent]) -> None:
    """Stores a job with its first events."""
    tx.execute(sa.insert(jobs).values({column.name: getattr(job, column.name) for column in _FIELDS}))
    append_events(tx, job.id, first)


def get(tx: Transaction, job_id: str) -> Job | None:
    row = tx.execute(sa.select(*_FIELDS).where(jobs.c.id == job_id)).one_or_none()
    return None if row is None else _job(row)


def list_page(
    tx: Transaction,
    page: PageRequest,
    *,
    status: JobStatus | None = None,
    kind: JobKind | None = None,
    runner_id: str = "",
    config_id: str = "",
) -> Page[Job]:
    """Jobs, newest first."""
    wanted = {"status": status, "kind": kind, "runner_id": runner_id, "config_id": config_id}
    conditions = [jobs.c[name] == value for name, value in wanted.items() if value]
    total = tx.execute(sa.select(sa.func.count()).select_from(jobs).where(*conditions)).scalar_one()
    if page.after:
        conditions.append(jobs.c.id < page.after)
    query = sa.select(*_FIELDS).where(*conditions).order_by(jobs.c.id.desc()).offset(page.skip).limit(page.size + 1)
    found = [_job(row) for row in tx.execute(query)]
    return page.page(found, [job.id for job in found], total)


def claim(tx: Transaction, worker_id: str, *, limits: Mapping[str, int], total: int) -> list[Job]:
    """Takes the oldest pending jobs for a worker: at most `total`, and at most `limits` of each runner that has a limit."""
    full = [runner for runner, free in limits.items() if free <= 0]
    query = sa.select(jobs.c.id, jobs.c.runner_id).where(jobs.c.status == JobStatus.PENDING, jobs.c.runner_id.not_in(full))
    free = dict(limits)
    taken: list[str] = []
    for row in tx.execute(query.order_by(jobs.c.id)):
        if free.get(row.runner_id, 1) <= 0:
            continue
        if row.runner_id in free:
            free[row.runner_id] -= 1
        taken.append(row.id)
        if len(taken) == total:
            break
    return [_start(tx, job_id, worker_id) for job_id in taken]


def _start(tx: Transaction, job_id: str, worker_id: str) -> Job:
    time = now()
    attempt = tx.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id)
        .values(
            status=JobStatus.RUNNING,
            attempt=jobs.c.attempt + 1,
            started_at=sa.func.coalesce(jobs.c.started_at, sa.bindparam("started", time, type_=jobs.c.started_at.type)),
            worker_id=worker_id,
            progress=None,
        )
        .returning(jobs.c.attempt)
    ).scalar_one()
    started = {"status": JobStatus.RUNNING, "stage": "starting", "attempt": attempt}
    append_events(tx, job_id, [NewEvent(EventKind.STATE, started, time)])
    job = get(tx, job_id)
    assert job is not None
    return job


def append_events(tx: Transaction, job_id: str, new: Sequence[NewEvent]) -> list[Event]:
    """Adds to a job's log and keeps its stage and progress up to date. A job that is gone or has ended takes no more."""
    if not new:
        return []
    changes: dict[str, Any] = {}
    for event in new:
        if event.data.get("stage"):
            changes["stage"] = event.data["stage"]
        if event.kind is EventKind.PROGRESS:
            changes["progress"] = event.data["fraction"]
    last = tx.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id, jobs.c.status.in_((JobStatus.PENDING, JobStatus.RUNNING)))
        .values(last_sequence=jobs.c.last_sequence + len(new), **changes)
        .returning(jobs.c.last_sequence)
    ).scalar_one_or_none()
    if last is None:
        return []
    first = last - len(new) + 1
    stored = [Event(job_id, first + n, event.kind, event.data, event.time) for n, event in enumerate(new)]
    tx.execute(
        sa.insert(events),
        [{"job_id": e.job_id, "sequence": e.sequence, "kind": e.kind, "data": e.data, "time": e.time} for e in stored],
    )
    return stored


def events_after(tx: Transaction, job_id: str, sequence: int, limit: int) -> list[Event]:
    """The next events of a job, in order."""
    query = sa.select(events).where(events.c.job_id == job_id, events.c.sequence > sequence)
    rows = tx.execute(query.order_by(events.c.sequence).limit(limit))
    return [Event(row.job_id, row.sequence, EventKind(row.kind), row.data, row.time) for row in rows]


def finish(
    tx: Transaction,
    job_id: str,
    status: JobStatus,
    *,
    reason: str | None = None,
    message: str = "",
    error: str | None = None,
    traceback: str | None = None,
    extra_events: Sequence[NewEvent] = (),
) -> list[Event]:
    """Ends a job; its last event tells so. A job that has ended already stays as it is, and nothing is returned."""
    job = get(tx, job_id)
    if job is None or job.status.is_final:
        return []
    time = now()
    data = {"status": status, "stage": job.stage, "attempt": job.attempt, "reason": reason, "message": message}
    told = append_events(tx, job_id, [*extra_events, NewEvent(EventKind.STATE, data, time)])
    tx.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id)
        .values(status=status, finished_at=time, error=error, error_traceback=traceback, error_reason=reason, worker_id=None)
    )
    return told


def requeue(tx: Transaction, job_id: str, message: str) -> list[Event]:
    """Puts a running job back into the queue for another attempt."""
    job = get(tx, job_id)
    if job is None or job.status is not JobStatus.RUNNING:
        return []
    tx.execute(sa.update(jobs).where(jobs.c.id == job_id).values(status=JobStatus.PENDING, worker_id=None))
    data = {"status": JobStatus.PENDING, "stage": "queued", "attempt": job.attempt, "message": message}
    return append_events(tx, job_id, [NewEvent(EventKind.STATE, data, now())])


def request_cancel(tx: Transaction, job_id: str, message: str) -> Job | None:
    """Ends a pending job at once and marks a running one; returns the job as it is then."""
    tx.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id, jobs.c.status.in_((JobStatus.PENDING, JobStatus.RUNNING)))
        .values(cancel_requested=True, cancel_message=message)
    )
    job = get(tx, job_id)
    if job is not None and job.status is JobStatus.PENDING:
        finish(tx, job_id, JobStatus.CANCELED, reason="CANCELED", message=message or "canceled on request")
        return get(tx, job_id)
    return job


def running_of(tx: Transaction, worker_id: str | None = None) -> list[Job]:
    """The running jobs of a worker, or of all."""
    conditions = [jobs.c.status == JobStatus.RUNNING]
    if worker_id is not None:
        conditions.append(jobs.c.worker_id == worker_id)
    return [_job(row) for row in tx.execute(sa.select(*_FIELDS).where(*conditions).order_by(jobs.c.id))]


def delete(tx: Transaction, job_id: str) -> bool:
    """Forgets a job and its events; whether there was one."""
    return bool(tx.execute(sa.delete(jobs).where(jobs.c.id == job_id)).rowcount)


def count_pending(tx: Transaction) -> int:
    query = sa.select(sa.func.count()).select_from(jobs).where(jobs.c.status == JobStatus.PENDING)
    return tx.execute(query).scalar_one()


def count_by_status(tx: Transaction) -> dict[str, int]:
    """How many jobs are in each state."""
    found = {
        row.status: row.jobs for row in tx.execute(sa.select(jobs.c.status, sa.func.count().label("jobs")).group_by(jobs.c.status))
    }
    return {status.value: found.get(status.value, 0) for status in JobStatus}


def _job(row: sa.Row[Any]) -> Job:
    fields = dict(row._mapping)
    return Job(**{**fields, "kind": JobKind(fields["kind"]), "status": JobStatus(fields["status"])})
