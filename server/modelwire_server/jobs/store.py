"""Jobs and their events in SQL: the queue is the table.

What a worker does to a job it does under its Claim: another one may have it by then, if this one was silent for longer than its lease.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ..clock import now
from ..database.engine import Transaction
from ..database.notifications import Topic, notify
from ..database.tables import job_events as events
from ..database.tables import jobs
from ..paging import Page, PageRequest
from .model import Claim, Event, EventKind, Job, JobKind, JobStatus, NewEvent

# What a Job is made of: who works on it is the business of claims.
FIELDS = [column for column in jobs.c if column.name not in ("worker_id", "lease_until")]
_UNFINISHED = jobs.c.status.in_((JobStatus.PENDING, JobStatus.RUNNING))
# To build a statement costs more than to run it: those that every job needs are built once.
_BY_ID = sa.select(*FIELDS).where(jobs.c.id == sa.bindparam("id"))
_EVENTS_AFTER = (
    sa.select(events)
    .where(events.c.job_id == sa.bindparam("job_id"), events.c.sequence > sa.bindparam("after"))
    .order_by(events.c.sequence)
    .limit(sa.bindparam("most"))
)
_HELD = (
    jobs.c.worker_id == sa.bindparam("holder"),
    jobs.c.attempt == sa.bindparam("held_attempt"),
    jobs.c.status == JobStatus.RUNNING,
)
_HOLDS = sa.select(jobs.c.id).where(jobs.c.id == sa.bindparam("job"), *_HELD).with_for_update()
# What else is to be set are the other parameters.
_CHANGE = (
    sa.update(jobs)
    .where(jobs.c.id == sa.bindparam("job"), _UNFINISHED)
    .values(last_sequence=jobs.c.last_sequence + sa.bindparam("more"))
    .returning(jobs.c.last_sequence, jobs.c.stage, jobs.c.attempt)
)
_CHANGE_HELD = _CHANGE.where(*_HELD)
_INSERT, _INSERT_EVENTS = sa.insert(jobs), sa.insert(events)
_PENDING = sa.select(sa.func.count()).select_from(jobs).where(jobs.c.status == JobStatus.PENDING)
_PENDING_OF = _PENDING.where(jobs.c.runner_id == sa.bindparam("runner"))


def insert(tx: Transaction, job: Job, first: Sequence[NewEvent]) -> None:
    """Stores a job with its first events, which nobody watches yet."""
    values = {column.name: getattr(job, column.name) for column in FIELDS}
    tx.execute(_INSERT, {**values, "last_sequence": len(first)})
    _insert_events(tx, _numbered(job.id, 1, first))
    notify(tx, Topic.WORK)


def get(tx: Transaction, job_id: str) -> Job | None:
    row = tx.execute(_BY_ID, {"id": job_id}).one_or_none()
    return None if row is None else job_of(row)


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
    query = sa.select(*FIELDS).where(*conditions).order_by(jobs.c.id.desc()).offset(page.skip).limit(page.size + 1)
    found = [job_of(row) for row in tx.execute(query)]
    return page.page(found, [job.id for job in found], total)


def append_events(tx: Transaction, job_id: str, new: Sequence[NewEvent], claim: Claim | None = None) -> list[Event]:
    """Adds to a job's log and keeps its stage and progress up to date. A job that is gone, has ended or is another's takes no more."""
    if not new:
        return []
    changes: dict[str, Any] = {}
    for event in new:
        if event.data.get("stage"):
            changes["stage"] = event.data["stage"]
        if event.kind is EventKind.PROGRESS:
            changes["progress"] = event.data["fraction"]
    return _change(tx, job_id, new, changes, claim)


def _change(
    tx: Transaction, job_id: str, told: Sequence[NewEvent], changes: dict[str, Any], claim: Claim | None = None
) -> list[Event]:
    """Changes an unfinished job and tells so in its log. A change of state tells the job's stage and attempt, unless it says them."""
    row = tx.execute(
        _CHANGE_HELD if claim else _CHANGE, {"job": job_id, "more": len(told), **_holder(claim), **changes}
    ).one_or_none()
    if row is None:
        return []
    stored = _numbered(job_id, row.last_sequence - len(told) + 1, [_with_place(event, row) for event in told])
    insert_events(tx, stored)
    return stored


def _with_place(event: NewEvent, row: sa.Row[*tuple[Any, ...]]) -> NewEvent:
    if event.kind is not EventKind.STATE:
        return event
    return replace(event, data={"stage": row.stage, "attempt": row.attempt, **event.data})


def _holder(claim: Claim | None) -> dict[str, Any]:
    return {"holder": claim.worker_id, "held_attempt": claim.attempt} if claim else {}


def insert_events(tx: Transaction, new: Sequence[Event]) -> None:
    """Stores events whose sequences are settled, and tells the other servers."""
    _insert_events(tx, new)
    for job_id in dict.fromkeys(event.job_id for event in new):
        notify(tx, Topic.JOB, job_id)


def _insert_events(tx: Transaction, new: Sequence[Event]) -> None:
    tx.execute(
        _INSERT_EVENTS,
        [{"job_id": e.job_id, "sequence": e.sequence, "kind": e.kind, "data": e.data, "time": e.time} for e in new],
    )


def _numbered(job_id: str, first: int, new: Sequence[NewEvent]) -> list[Event]:
    return [Event(job_id, first + n, event.kind, event.data, event.time) for n, event in enumerate(new)]


def events_after(tx: Transaction, job_id: str, sequence: int, limit: int) -> list[Event]:
    """The next events of a job, in order."""
    rows = tx.execute(_EVENTS_AFTER, {"job_id": job_id, "after": sequence, "most": limit})
    return [Event(row.job_id, row.sequence, EventKind(row.kind), row.data, row.time) for row in rows]


def last_sequences(tx: Transaction, ids: Sequence[str]) -> dict[str, int]:
    """The sequence of the last event of each job that there is."""
    query = sa.select(jobs.c.id, jobs.c.last_sequence).where(jobs.c.id.in_(ids))
    return {row.id: row.last_sequence for row in tx.execute(query)}


def holds(tx: Transaction, job_id: str, claim: Claim) -> bool:
    """Whether the job is still in the hands of the claim; it stays so until the end of the transaction."""
    return tx.execute(_HOLDS, {"job": job_id, **_holder(claim)}).one_or_none() is not None


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
    claim: Claim | None = None,
) -> list[Event]:
    """Ends a job; its last event tells so. A job that has ended already, or is another's, stays as it is, and nothing is returned."""
    time = now()
    data = {"status": status, "reason": reason, "message": message}
    changes = {
        "status": status,
        "finished_at": time,
        "error": error,
        "error_traceback": traceback,
        "error_reason": reason,
        "worker_id": None,
        "not_before": None,
    }
    return _change(tx, job_id, [*extra_events, NewEvent(EventKind.STATE, data, time)], changes, claim)


def requeue(
    tx: Transaction,
    job_id: str,
    message: str,
    *,
    claim: Claim | None = None,
    failed: bool = False,
    pause: float = 0.0,
    reason: str | None = None,
) -> list[Event]:
    """Puts a running job back into the queue for another attempt in `pause` seconds; whether this one counts as failed."""
    job = get(tx, job_id)
    if job is None or job.status is not JobStatus.RUNNING:
        return []
    time = now()
    data = {"status": JobStatus.PENDING, "stage": "queued", "attempt": job.attempt, "message": message, "reason": reason}
    changes = {
        "status": JobStatus.PENDING,
        "stage": "queued",
        "worker_id": None,
        "failures": job.failures + failed,
        "not_before": time + timedelta(seconds=pause) if pause else None,
    }
    told = _change(tx, job_id, [NewEvent(EventKind.STATE, data, time)], changes, claim)
    notify(tx, Topic.WORK)
    return told


def request_cancel(tx: Transaction, job_id: str, message: str) -> Job | None:
    """Ends a pending job at once and marks a running one; returns the job as it is then."""
    status = tx.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id, _UNFINISHED)
        .values(cancel_requested=True, cancel_message=message)
        .returning(jobs.c.status)
    ).scalar_one_or_none()
    if status == JobStatus.PENDING:
        finish(tx, job_id, JobStatus.CANCELED, reason="CANCELED", message=message or "canceled on request")
    elif status is not None:
        notify(tx, Topic.STOP, job_id)
    return get(tx, job_id)


def delete(tx: Transaction, job_id: str) -> bool:
    """Forgets a job and its events; whether there was one."""
    notify(tx, Topic.JOB, job_id)
    return bool(tx.execute(sa.delete(jobs).where(jobs.c.id == job_id)).rowcount)


def count_pending(tx: Transaction, runner_id: str = "") -> int:
    """How many jobs wait, of one runner or of all."""
    return tx.execute(_PENDING_OF if runner_id else _PENDING, {"runner": runner_id}).scalar_one()


def count_by_status(tx: Transaction) -> dict[str, int]:
    """How many jobs are in each state."""
    found = {
        row.status: row.jobs for row in tx.execute(sa.select(jobs.c.status, sa.func.count().label("jobs")).group_by(jobs.c.status))
    }
    return {status.value: found.get(status.value, 0) for status in JobStatus}


def job_of(row: sa.Row[*tuple[Any, ...]]) -> Job:
    """The job in a row that has at least FIELDS."""
    fields = {column.name: row._mapping[column] for column in FIELDS}
    return Job(**{**fields, "kind": JobKind(fields["kind"]), "status": JobStatus(fields["status"])})
