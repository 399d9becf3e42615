from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelwire_server.clock import new_id
from modelwire_server.jobs import claims, store
from modelwire_server.jobs.model import EventKind, Job, JobKind, JobStatus, NewEvent
from modelwire_server.jobs.submission import first_events
from modelwire_server.paging import PageRequest

Run = Callable[[Any], None]
TIME = datetime(2026, 1, 2, tzinfo=UTC)
LEASE = timedelta(seconds=30)


def job(runner: str = "trees") -> Job:
    return Job(id=new_id(), kind=JobKind.TRAIN, runner_id=runner, artifact_id=new_id(), submitted_at=TIME)


def progress(fraction: float) -> NewEvent:
    return NewEvent(EventKind.PROGRESS, {"fraction": fraction}, TIME)


async def queued(storage: Any, *runners: str) -> list[str]:
    jobs = [job(runner) for runner in runners]
    for one in jobs:
        await storage.database.write(lambda tx, one=one: store.insert(tx, one, first_events(one)))
    return [one.id for one in jobs]


async def claim(storage: Any, total: int, **limits: int) -> list[str]:
    claimed = await storage.database.write(
        lambda tx: claims.claim(tx, "w", runners=["trees", "bushes"], limits=limits, total=total, lease=LEASE)
    )
    return [one.id for one in claimed.jobs]


def test_the_oldest_jobs_are_claimed_first_within_all_limits(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        a, b, c, d = await queued(storage, "trees", "trees", "bushes", "trees")
        assert await claim(storage, 2, trees=1) == [a, c]
        assert await claim(storage, 1) == [b]
        assert await claim(storage, 5, trees=0) == []
        assert await claim(storage, 5) == [d]
        assert await storage.database.read(store.count_pending) == 0

    with_storage(use)


def test_the_life_of_a_job_is_told_without_gaps(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        (one,) = await queued(storage, "trees")
        await claim(storage, 1)
        stage = NewEvent(EventKind.STAGE, {"stage": "training"}, TIME)
        await storage.database.write(lambda tx: store.append_events(tx, one, [stage, progress(0.5)]))
        running = await storage.database.read(lambda tx: store.get(tx, one))
        assert (running.stage, running.progress, running.attempt) == ("training", 0.5, 1)
        await storage.database.write(lambda tx: store.finish(tx, one, JobStatus.FAILED, reason="RUNNER_FAILED", error="no"))
        assert await storage.database.write(lambda tx: store.finish(tx, one, JobStatus.COMPLETED)) == []
        assert await storage.database.write(lambda tx: store.append_events(tx, one, [progress(1.0)])) == []
        ended = await storage.database.read(lambda tx: store.get(tx, one))
        assert (ended.status, ended.error, ended.error_reason, ended.last_sequence) == (JobStatus.FAILED, "no", "RUNNER_FAILED", 5)
        events = await storage.database.read(lambda tx: store.events_after(tx, one, 0, 100))
        assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
        assert events[-1].data["stage"] == "training"

    with_storage(use)


def test_a_pending_job_is_canceled_at_once_and_a_running_one_marked(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        first, second = await queued(storage, "trees", "trees")
        await claim(storage, 1)
        running = await storage.database.write(lambda tx: store.request_cancel(tx, first, "enough"))
        pending = await storage.database.write(lambda tx: store.request_cancel(tx, second, ""))
        assert (running.status, running.cancel_requested, running.cancel_message) == (JobStatus.RUNNING, True, "enough")
        assert (pending.status, pending.error_reason) == (JobStatus.CANCELED, "CANCELED")

    with_storage(use)


def test_a_requeued_job_is_claimed_again(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        (one,) = await queued(storage, "trees")
        await claim(storage, 1)
        await storage.database.write(lambda tx: store.requeue(tx, one, "again"))
        assert await storage.database.write(lambda tx: store.requeue(tx, one, "again")) == []
        assert await claim(storage, 1) == [one]
        assert (await storage.database.read(lambda tx: store.get(tx, one))).attempt == 2

    with_storage(use)


def test_lists_are_newest_first_and_deleted_jobs_take_their_events_along(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        ids = await queued(storage, "trees", "bushes", "trees")
        page = await storage.database.read(lambda tx: store.list_page(tx, PageRequest.of(2)))
        assert [found.id for found in page.items] == [ids[2], ids[1]]
        rest = await storage.database.read(lambda tx: store.list_page(tx, PageRequest.of(2, page.next_page_token)))
        assert [found.id for found in rest.items] == [ids[0]]
        bushes = await storage.database.read(lambda tx: store.list_page(tx, PageRequest(), runner_id="bushes"))
        assert [found.id for found in bushes.items] == [ids[1]]
        assert await storage.database.write(lambda tx: store.delete(tx, ids[1]))
        assert await storage.database.read(lambda tx: store.events_after(tx, ids[1], 0, 10)) == []

    with_storage(use)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.integers(0, 7), max_size=8))
def test_sequences_are_gapless_whatever_comes_together(with_storage: Run, batches: list[int]) -> None:
    async def use(storage: Any) -> None:
        (one,) = await queued(storage, "trees")
        for size in batches:
            await storage.database.write(lambda tx, size=size: store.append_events(tx, one, [progress(0.1)] * size))
        events = await storage.database.read(lambda tx: store.events_after(tx, one, 0, 1000))
        assert [event.sequence for event in events] == list(range(1, sum(batches) + 2))
        assert (await storage.database.read(lambda tx: store.get(tx, one))).last_sequence == len(events)

    with_storage(use)


def test_metrics_that_are_no_numbers_are_kept(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        (one,) = await queued(storage, "trees")
        values = [float("nan"), float("inf"), float("-inf"), 0.5]
        told = [NewEvent(EventKind.METRIC, {"name": "loss", "value": value, "nested": [{"v": value}]}, TIME) for value in values]
        await storage.database.write(lambda tx: store.append_events(tx, one, told))
        stored = await storage.database.read(lambda tx: store.events_after(tx, one, 1, 10))
        assert [event.data["value"] for event in stored] == ["NaN", "Infinity", "-Infinity", 0.5]
        assert [str(float(event.data["value"])) for event in stored] == [str(value) for value in values]

    with_storage(use)
