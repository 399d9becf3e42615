"""Who works on what, in SQL: workers claim jobs for the length of a lease, and renew it as long as they live.

On PostgreSQL several servers claim at once: rows that another one is about to take are skipped (SKIP LOCKED), and times are the
database's, since the clocks of servers differ.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ..clock import now
from ..database.engine import Transaction
from ..database.tables import jobs
from .model import Claim, Event, EventKind, Job, JobStatus
from .store import FIELDS, insert_events, job_of

# "claiming" in ASCII: those who count the running jobs of a runner count one after the other.
_LOCK = int.from_bytes(b"claiming")
# The present: of the one clock that all servers on a database share.
_PRESENT: dict[str, sa.ColumnElement[datetime]] = {
    "postgresql": sa.func.clock_timestamp(type_=jobs.c.not_before.type),
    "sqlite": sa.bindparam("time", type_=jobs.c.not_before.type),
}


def _candidates_at(present: sa.ColumnElement[datetime]) -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(jobs.c.priority, jobs.c.id, present.label("time"))
        .where(jobs.c.status == JobStatus.PENDING, jobs.c.runner_id.in_(sa.bindparam("runners", expanding=True)))
        .where(sa.or_(jobs.c.not_before.is_(None), jobs.c.not_before <= present))
        .order_by(jobs.c.priority.desc(), jobs.c.id)
        .limit(sa.bindparam("most"))
        .with_for_update(skip_locked=True)
    )


def _next_due_at(present: sa.ColumnElement[datetime]) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(sa.func.min(jobs.c.not_before), present).where(jobs.c.status == JobStatus.PENDING, jobs.c.not_before > present)


# To build a statement costs more than to run it: those that every job needs are built once.
_CANDIDATES = {dialect: _candidates_at(present) for dialect, present in _PRESENT.items()}
_NEXT_DUE = {dialect: _next_due_at(present) for dialect, present in _PRESENT.items()}
_START = (
    sa.update(jobs)
    .where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))
    .values(
        status=JobStatus.RUNNING,
        stage="starting",
        attempt=jobs.c.attempt + 1,
        started_at=sa.func.coalesce(jobs.c.started_at, sa.bindparam("started", type_=jobs.c.started_at.type)),
        worker_id=sa.bindparam("worker"),
        lease_until=sa.bindparam("lease_over"),
        progress=None,
        not_before=None,
        last_sequence=jobs.c.last_sequence + 1,
    )
    .returning(*FIELDS)
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Jobs to begin with, and in how many seconds the next one that waits for another attempt is due, if none of them could be."""

    jobs: list[Job]
    next_due: float | None = None


def claim(
    tx: Transaction, worker_id: str, *, runners: Collection[str], limits: Mapping[str, int], total: int, lease: timedelta
) -> Claimed:
    """Takes pending jobs of these runners for a worker, those of the highest priority first, then the oldest: at most `total`, and no
    more than `limits` of a runner run anywhere at once."""
    free = _free(tx, {runner: limits[runner] for runner in runners if runner in limits})
    unlimited = [runner for runner in runners if runner not in limits]
    candidates = _candidates(tx, unlimited, total)
    for runner, room in free.items():
        candidates += _candidates(tx, [runner], min(room, total))
    taken = sorted(candidates)[:total]
    started = _start(tx, taken, worker_id, lease) if taken else []
    return Claimed(started, None if len(taken) == total else _next_due(tx))


def _free(tx: Transaction, limits: Mapping[str, int]) -> dict[str, int]:
    """How many more jobs of each limited runner may begin."""
    if not limits:
        return {}
    if tx.dialect.name == "postgresql":
        tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    running = sa.select(jobs.c.runner_id, sa.func.count().label("jobs")).where(
        jobs.c.status == JobStatus.RUNNING, jobs.c.runner_id.in_(limits)
    )
    busy = {row.runner_id: row.jobs for row in tx.execute(running.group_by(jobs.c.runner_id))}
    return {runner: limit - busy.get(runner, 0) for runner, limit in limits.items()}


def _candidates(tx: Transaction, runners: Sequence[str], most: int) -> list[tuple[int, str, datetime]]:
    """Pending jobs as (minus the priority, id, the present), which sorts them into their order."""
    if most <= 0 or not runners:
        return []
    rows = tx.execute(_CANDIDATES[tx.dialect.name], {"runners": list(runners), "time": now(), "most": most})
    return [(-row.priority, row.id, row.time) for row in rows]


def _start(tx: Transaction, taken: Sequence[tuple[int, str, datetime]], worker_id: str, lease: timedelta) -> list[Job]:
    ids, time = [job_id for _, job_id, _ in taken], taken[-1][2]
    rows = tx.execute(_START, {"ids": ids, "started": time, "worker": worker_id, "lease_over": time + lease})
    started = {job.id: job for job in map(job_of, rows)}
    insert_events(tx, [_begun(job, time) for job in started.values()])
    return [started[job_id] for job_id in ids]


def _begun(job: Job, time: datetime) -> Event:
    data = {"status": JobStatus.RUNNING, "stage": "starting", "attempt": job.attempt}
    return Event(job.id, job.last_sequence, EventKind.STATE, data, time)


def _next_due(tx: Transaction) -> float | None:
    due, time = tx.execute(_NEXT_DUE[tx.dialect.name], {"time": now()}).one()
    return None if due is None else (due - time).total_seconds()


def renew(tx: Transaction, worker_id: str, ids: Sequence[str], lease: timedelta) -> dict[str, bool]:
    """Extends the leases of jobs; tells of each that the worker still has whether it is to be canceled."""
    rows = tx.execute(
        sa.update(jobs)
        .where(jobs.c.id.in_(ids), jobs.c.worker_id == worker_id, jobs.c.status == JobStatus.RUNNING)
        .values(lease_until=_time(tx) + lease)
        .returning(jobs.c.id, jobs.c.cancel_requested)
    )
    return {row.id: row.cancel_requested for row in rows}


def lost(tx: Transaction, runners: Collection[str], worker_id: str = "") -> list[tuple[Job, Claim]]:
    """The running jobs whose lease is over, or that the worker has, which has just begun to live; with the claims that were on them."""
    over = sa.or_(jobs.c.lease_until.is_(None), jobs.c.lease_until < _time(tx), jobs.c.worker_id == worker_id)
    query = sa.select(*FIELDS, jobs.c.worker_id).where(jobs.c.status == JobStatus.RUNNING, jobs.c.runner_id.in_(runners), over)
    return [(job_of(row), Claim(row.worker_id, row.attempt)) for row in tx.execute(query.order_by(jobs.c.id))]


def _time(tx: Transaction) -> datetime:
    time: datetime = tx.execute(sa.select(_PRESENT[tx.dialect.name]), {"time": now()}).scalar_one()
    return time
