"""Retention on real databases: what is deleted, and what a moment can change."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from modelwire_server.artifacts.blobs.interface import Usage
from modelwire_server.database import idempotency
from modelwire_server.database.engine import Database
from modelwire_server.database.notifications import Listener, Topic
from modelwire_server.jobs import store as jobs
from modelwire_server.jobs.model import JobStatus
from modelwire_server.upkeep import deletion
from modelwire_server.upkeep.alone import Occupied, alone
from modelwire_server.upkeep.deletion import Retention, delete, delete_artifacts, foresee
from modelwire_server.upkeep.policy import RetentionPolicy
from modelwire_server.upkeep.rounds import Upkeep

Storage = Any
WithStorage = Callable[[Callable[[Storage], Awaitable[None]]], None]

OLD = Retention([RetentionPolicy(older_than=timedelta(days=30))])


def test_what_is_foreseen_is_deleted(with_storage: WithStorage) -> None:
    async def use(storage: Storage) -> None:
        old = await storage.artifact(days=31)
        await storage.artifact(days=31, parent=old)
        pinned = await storage.artifact(days=31, parent=await storage.artifact(days=31), tags=("pinned",))
        recent = await storage.artifact(days=1)
        foreseen = await foresee(storage.database, OLD)
        assert await storage.ids() > {pinned.id}
        deleted = await delete(storage.database, OLD)
        assert [c.id for c in deleted.artifacts] == [c.id for c in foreseen.artifacts]
        assert [c.level for c in deleted.artifacts] == [1, 0]
        assert await storage.ids() == {pinned.id, pinned.parent_id, recent.id}
        assert (await delete(storage.database, OLD)).artifacts == []

    with_storage(use)


def test_many_are_deleted_in_small_steps(with_storage: WithStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(storage: Storage) -> None:
        monkeypatch.setattr(deletion, "AT_ONCE", 3)
        roots = [await storage.artifact(days=40) for _ in range(4)]
        for root in roots:
            await storage.artifact(days=40, parent=root)
        steps: list[tuple[int, int]] = []
        deleted = await delete(storage.database, OLD, lambda done, total: steps.append((done, total)))
        assert len(deleted.artifacts) == 8
        assert steps == [(3, 8), (6, 8), (8, 8)]
        assert await storage.ids() == set()

    with_storage(use)


def test_the_newest_of_a_config_stay(with_storage: WithStorage) -> None:
    async def use(storage: Storage) -> None:
        kept = set()
        for name in ("a", "b"):
            config = await storage.configs.create(name=name, data={})
            models = [await storage.artifact(days=days) for days in (3, 2, 1)]
            for model in models:
                await storage.configs.link(config.id, model.id)
            kept |= {model.id for model in models[1:]}
        await delete(storage.database, Retention([RetentionPolicy(level=0, keep_last=2)]))
        assert await storage.ids() == kept

    with_storage(use)


@pytest.mark.parametrize("role", ["model_id", "artifact_id"])
def test_unfinished_jobs_keep_their_artifacts(with_storage: WithStorage, role: str) -> None:
    async def use(storage: Storage) -> None:
        model = await storage.artifact(days=50)
        job = await storage.job(**{role: model.id})
        await delete(storage.database, OLD)
        assert await storage.ids() == {model.id}
        await storage.database.write(lambda tx: jobs.finish(tx, job.id, JobStatus.CANCELED))
        await delete(storage.database, OLD)
        assert await storage.ids() == set()

    with_storage(use)


def test_what_changes_after_the_plan_is_respected(with_storage: WithStorage) -> None:
    async def use(storage: Storage) -> None:
        tagged, with_child, in_use, alone = [await storage.artifact(days=50) for _ in range(4)]
        planned = (await foresee(storage.database, OLD)).artifacts
        assert len(planned) == 4
        await storage.tree.update(tagged.id, tags=["pinned"])
        child = await storage.artifact(parent=with_child)
        await storage.job(model_id=in_use.id)
        assert [c.id for c in await delete_artifacts(storage.database, planned)] == [alone.id]
        assert await storage.ids() == {tagged.id, with_child.id, child.id, in_use.id}

    with_storage(use)


def test_jobs_that_ended_long_ago_are_forgotten(with_storage: WithStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(storage: Storage) -> None:
        monkeypatch.setattr(deletion, "EVENTS_AT_ONCE", 3)
        ended = [await storage.job(status) for status in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELED)]
        waiting = await storage.job(days=100)
        assert (await delete(storage.database, Retention(jobs_older_than=timedelta(days=1)))).jobs == 0
        at_once = Retention(jobs_older_than=timedelta())
        assert (await foresee(storage.database, at_once)).jobs == 3
        assert (await delete(storage.database, at_once)).jobs == 3
        left = await storage.database.read(lambda tx: [jobs.get(tx, job.id) for job in ended])
        assert left == [None] * 3
        events = await storage.database.read(lambda tx: [jobs.events_after(tx, job.id, 0, 10) for job in ended])
        assert events == [[]] * 3
        assert await storage.database.read(lambda tx: jobs.get(tx, waiting.id)) is not None

    with_storage(use)


def test_old_answers_are_forgotten(with_storage: WithStorage) -> None:
    async def use(storage: Storage) -> None:
        await storage.database.write(lambda tx: idempotency.remember(tx, "scope", "id", "f", {"a": 1}))
        await delete(storage.database, Retention())
        assert await storage.database.read(lambda tx: idempotency.recall(tx, "scope", "id", "f")) == {"a": 1}

    with_storage(use)


def test_one_at_a_time(with_storage: WithStorage) -> None:
    async def use(storage: Storage) -> None:
        async with alone(storage.database):
            with pytest.raises(Occupied):
                async with alone(storage.database, patience=0.3):
                    raise AssertionError
        async with alone(storage.database):
            pass

    with_storage(use)


def test_a_round_deletes_artifacts_and_then_their_content(with_storage: WithStorage) -> None:
    async def use(storage: Storage) -> None:
        old = await storage.artifact(days=50, content=b"old")
        kept = await storage.artifact(days=1, content=b"kept")
        told: list[str] = []
        upkeep = Upkeep(
            storage.database, storage.blobs, OLD, interval=timedelta(hours=1), grace=timedelta(0), on_deleted=told.extend
        )
        deleted, collected = await upkeep.round()
        assert ([c.id for c in deleted.artifacts], told) == ([old.id], [old.id])
        assert collected.discarded == 1
        assert [blob.digest async for blob in storage.blobs.entries()] == [kept.blob.digest]
        assert (await upkeep.round())[1].purged == 1

    with_storage(use)


def test_a_server_goes_round_by_itself_and_counts(with_storage: WithStorage) -> None:
    async def use(storage: Storage) -> None:
        await storage.artifact(days=50, content=b"old")
        await storage.artifact(content=b"four", type="made up")
        await storage.artifact(content=b"five!", type="made up too")
        gone = asyncio.Event()
        upkeep = Upkeep(
            storage.database, storage.blobs, OLD, interval=timedelta(hours=1), on_deleted=lambda ids: gone.set() if ids else None
        )
        upkeep.start()
        async with asyncio.timeout(10):
            await gone.wait()
        await upkeep.close()
        stored = await upkeep.stored()
        assert stored.artifacts["ml_training"] == Usage(0, 0)
        assert stored.artifacts["other"] == Usage(2, 9)

    with_storage(use)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_other_servers_hear_what_is_gone(with_storage: WithStorage, database_url: str) -> None:
    async def use(storage: Storage) -> None:
        async with AsyncExitStack() as stack:
            other = await Database.open(database_url)
            stack.push_async_callback(other.close)
            ready, told = asyncio.Event(), asyncio.Queue[tuple[Topic, str]]()
            listener = Listener(other, lambda topic, about: told.put_nowait((topic, about)), ready.set)
            stack.push_async_callback(listener.close)
            listener.start()
            async with asyncio.timeout(10):
                await ready.wait()
                config = await storage.configs.create(name="a", data={})
                old, single, linked = [await storage.artifact(days=days) for days in (50, 0, 0)]
                await storage.configs.link(config.id, linked.id)
                await delete(storage.database, OLD)
                await storage.tree.delete(single.id)
                await storage.configs.delete(config.id)
                heard = [await told.get() for _ in range(3)]
            assert heard == [(Topic.GONE, artifact.id) for artifact in (old, single, linked)]

    with_storage(use)
