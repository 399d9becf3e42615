"""Who has which job: the order of the queue, leases, and that a claim that is over counts for nothing."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelwire_server.clock import new_id
from modelwire_server.database import tables
from modelwire_server.jobs import claims, store
from modelwire_server.jobs.claims import Claimed
from modelwire_server.jobs.model import Claim, EventKind, Job, JobKind, JobStatus, NewEvent
from modelwire_server.jobs.submission import first_events

Run = Callable[[Any], None]
TIME = datetime(2026, 1, 2, tzinfo=UTC)
OVER, LONG = timedelta(seconds=-1), timedelta(hours=1)
RUNNERS = ("trees", "bushes", "moss")


async def queued(storage: Any, runner: str = "trees", priority: int = 0) -> str:
    job = Job(id=new_id(), kind=JobKind.TRAIN, runner_id=runner, artifact_id=new_id(), submitted_at=TIME)
    job = replace(job, priority=priority)
    await storage.database.write(lambda tx: store.insert(tx, job, first_events(job)))
    return job.id


async def claim(
    storage: Any, total: int = 10, worker: str = "w", limits: Mapping[str, int] | None = None, lease: timedelta = LONG
) -> Claimed:
    claimed: Claimed = await storage.database.write(
        lambda tx: claims.claim(tx, worker, runners=RUNNERS, limits=limits or {}, total=total, lease=lease)
    )
    return claimed


async def lost(storage: Any, worker: str = "") -> list[tuple[str, Claim]]:
    return [(job.id, claim) for job, claim in await storage.database.read(lambda tx: claims.lost(tx, RUNNERS, worker))]


async def clear(storage: Any) -> None:
    """Forgets the jobs of the examples before."""
    await storage.database.write(lambda tx: tx.execute(sa.delete(tables.jobs)))


def told() -> NewEvent:
    return NewEvent(EventKind.PROGRESS, {"fraction": 0.5}, TIME)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(jobs=st.lists(st.tuples(st.sampled_from(RUNNERS), st.integers(-2, 2)), max_size=12), limited=st.booleans())
def test_higher_priorities_come_first_then_older_jobs(with_storage: Run, jobs: list[tuple[str, int]], limited: bool) -> None:
    async def use(storage: Any) -> None:
        await clear(storage)
        order = [(-priority, await queued(storage, runner, priority)) for runner, priority in jobs]
        limits = dict.fromkeys(RUNNERS[:2], 12) if limited else {}
        begun = [(await claim(storage, 1, limits=limits)).jobs[0].id for _ in jobs]
        assert begun == [job_id for _, job_id in sorted(order)]

    with_storage(use)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(runners=st.lists(st.sampled_from(RUNNERS), max_size=25), workers=st.integers(2, 6), limit=st.integers(1, 4))
def test_many_workers_take_each_job_once_and_keep_all_limits(
    with_storage: Run, runners: list[str], workers: int, limit: int
) -> None:
    async def use(storage: Any) -> None:
        await clear(storage)
        jobs = {await queued(storage, runner): runner for runner in runners}
        rounds = await asyncio.gather(*(claim(storage, 5, f"w{n}", {"trees": limit}) for n in range(workers)))
        begun = [job.id for one in rounds for job in one.jobs]
        assert len(set(begun)) == len(begun)
        assert Counter(jobs[job_id] for job_id in begun)["trees"] <= limit

    with_storage(use)


def test_a_job_waits_until_it_is_due(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        one = await queued(storage)
        (job,) = (await claim(storage)).jobs
        had = Claim("w", job.attempt)
        await storage.database.write(lambda tx: store.requeue(tx, one, "later", claim=had, failed=True, pause=60))
        waiting = await claim(storage)
        assert waiting.jobs == []
        assert waiting.next_due is not None
        assert 50 < waiting.next_due <= 60
        again = await storage.database.read(lambda tx: store.get(tx, one))
        assert (again.failures, again.attempt) == (1, 1)

    with_storage(use)


def test_leases_end_unless_they_are_renewed(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        renewed, silent = await queued(storage), await queued(storage)
        await claim(storage, lease=OVER)
        assert [job_id for job_id, _ in await lost(storage)] == [renewed, silent]
        told = await storage.database.write(lambda tx: claims.renew(tx, "w", [renewed], LONG))
        assert told == {renewed: False}
        assert await lost(storage) == [(silent, Claim("w", 1))]

    with_storage(use)


def test_a_worker_that_begins_anew_has_lost_what_it_had(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        own, other = await queued(storage), await queued(storage)
        await claim(storage, 1, "w")
        await claim(storage, 1, "v")
        assert await lost(storage, "w") == [(own, Claim("w", 1))]
        assert await storage.database.write(lambda tx: claims.renew(tx, "w", [own, other], LONG)) == {own: False}

    with_storage(use)


def test_a_cancel_reaches_whoever_renews(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        one = await queued(storage)
        await claim(storage)
        await storage.database.write(lambda tx: store.request_cancel(tx, one, "enough"))
        assert await storage.database.write(lambda tx: claims.renew(tx, "w", [one], LONG)) == {one: True}

    with_storage(use)


def test_what_is_in_other_hands_takes_nothing_of_the_former_worker(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        one = await queued(storage)
        await claim(storage, worker="first", lease=OVER)
        former = Claim("first", 1)
        await storage.database.write(lambda tx: store.requeue(tx, one, "lost", claim=former, failed=True))
        await claim(storage, worker="second")
        write = storage.database.write

        assert not await write(lambda tx: store.holds(tx, one, former))
        assert await write(lambda tx: store.append_events(tx, one, [told()], former)) == []
        assert await write(lambda tx: store.finish(tx, one, JobStatus.COMPLETED, claim=former)) == []
        assert await write(lambda tx: store.requeue(tx, one, "again", claim=former)) == []
        assert await write(lambda tx: claims.renew(tx, "first", [one], LONG)) == {}

        now_has = Claim("second", 2)
        assert await write(lambda tx: store.holds(tx, one, now_has))
        assert len(await write(lambda tx: store.append_events(tx, one, [told()], now_has))) == 1
        assert len(await write(lambda tx: store.finish(tx, one, JobStatus.COMPLETED, claim=now_has))) == 1

    with_storage(use)


def test_two_who_settle_the_same_lost_job_do_it_once(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        one = await queued(storage)
        await claim(storage, lease=OVER)
        ((_, had),) = await lost(storage)

        async def settle() -> int:
            return len(await storage.database.write(lambda tx: store.finish(tx, one, JobStatus.FAILED, claim=had)))

        assert sorted(await asyncio.gather(settle(), settle())) == [0, 1]

    with_storage(use)
