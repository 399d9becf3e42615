"""Deletes what retention says, in many small transactions, so that nobody waits long for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..clock import now
from ..database import idempotency
from ..database.engine import Database, Transaction
from . import store
from .policy import RetentionPolicy
from .retention import Candidate, doomed, needed_by_others

# So many artifacts or jobs are deleted at once, and jobs with so many events.
AT_ONCE = 500
EVENTS_AT_ONCE = 10_000
# Nobody repeats a request after so long.
ANSWERS_KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Retention:
    """What may be deleted: artifacts by policy, and jobs that ended so long ago. Nothing, unless somebody says so."""

    policies: Sequence[RetentionPolicy] = ()
    jobs_older_than: timedelta | None = None


@dataclass(slots=True)
class Deleted:
    """What was deleted, or would be: artifacts, and how many jobs."""

    artifacts: list[Candidate] = field(default_factory=list)
    jobs: int = 0


# Called with how much is done of how much.
Report = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """A report that nobody reads."""


async def foresee(database: Database, retention: Retention) -> Deleted:
    """What would be deleted."""
    time = now()

    def read(tx: Transaction) -> Deleted:
        older_than = retention.jobs_older_than
        jobs = 0 if older_than is None else store.count_ended_before(tx, time - older_than)
        return Deleted(plan(tx, retention.policies, time), jobs)

    return await database.snapshot(read)


async def delete(database: Database, retention: Retention, report: Report = silent) -> Deleted:
    """Deletes what the policies select, jobs that ended long ago, and answers that nobody will ask for again."""
    time = now()
    deleted = Deleted()
    if retention.jobs_older_than is not None:
        deleted.jobs = await delete_jobs(database, time - retention.jobs_older_than)
    chosen = await database.snapshot(lambda tx: plan(tx, retention.policies, time)) if retention.policies else []
    for start in range(0, len(chosen), AT_ONCE):
        deleted.artifacts += await delete_artifacts(database, chosen[start : start + AT_ONCE])
        report(min(start + AT_ONCE, len(chosen)), len(chosen))
    await database.write(lambda tx: idempotency.forget_before(tx, time - ANSWERS_KEPT))
    return deleted


def plan(tx: Transaction, policies: Sequence[RetentionPolicy], time: datetime) -> list[Candidate]:
    """The artifacts to delete, deepest first."""
    return doomed(store.candidates(tx), policies, in_use=store.in_use(tx), now=time) if policies else []


async def delete_artifacts(database: Database, chosen: Sequence[Candidate]) -> list[Candidate]:
    """Deletes those of the chosen that are still as they were and that nothing needs by now; returns them."""

    def delete(tx: Transaction) -> set[str]:
        left = store.unchanged(tx, chosen) - store.in_use(tx)
        left -= needed_by_others(left, store.dependents(tx, left))
        store.delete_artifacts(tx, left)
        return left

    gone = await database.write(delete)
    return [candidate for candidate in chosen if candidate.id in gone]


async def delete_jobs(database: Database, before: datetime) -> int:
    """Forgets the jobs that ended before a time, with their events; returns how many."""

    def delete(tx: Transaction) -> int:
        ids = within_budget(store.ended_before(tx, before, AT_ONCE))
        store.delete_jobs(tx, ids)
        return len(ids)

    total = 0
    while count := await database.write(delete):
        total += count
    return total


def within_budget(jobs: Sequence[tuple[str, int]]) -> list[str]:
    """The first jobs that have not too many events together, but at least one."""
    chosen: list[str] = []
    budget = EVENTS_AT_ONCE
    for job_id, events in jobs:
        budget -= events
        if chosen and budget < 0:
            break
        chosen.append(job_id)
    return chosen
