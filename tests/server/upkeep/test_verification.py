"""What a verification finds: each kind of damage, and nothing where there is none."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa

from modelwire_server.artifacts.model import WORKSPACE, ArtifactInput
from modelwire_server.database.tables import artifacts, job_events, jobs
from modelwire_server.upkeep.verification import Verified, verify

Storage = Any
WithStorage = Callable[[Callable[[Storage], Awaitable[None]]], None]


async def found(storage: Storage) -> dict[str, list[tuple[str, str]]]:
    verified = await verify(storage.database, storage.blobs)
    return {check.name: [(f.subject, f.problem) for f in check.findings] for check in verified.checks if check.findings}


def counts(verified: Verified) -> dict[str, int]:
    return {check.name: check.count for check in verified.checks}


def test_nothing_is_wrong_with_what_the_service_made(with_storage: WithStorage) -> None:
    async def use(storage: Storage) -> None:
        await storage.busy_year()
        steps = []
        verified = await verify(storage.database, storage.blobs, lambda *step: steps.append(step))
        assert verified.is_good
        assert counts(verified) == {
            "content": 8,
            "lists of workspaces' files": 1,
            "trees of artifacts": 4,
            "event logs of jobs": 3,
            "rows in the database": sum(map(len, (await storage.rows()).values())),
        }
        assert (verified.unused, steps[-1]) == (0, ("content", 8, 8))

    with_storage(use)


def test_an_empty_service_is_fine(with_storage: WithStorage) -> None:
    async def use(storage: Storage) -> None:
        verified = await verify(storage.database, storage.blobs)
        assert verified.is_good
        assert set(counts(verified).values()) == {0}

    with_storage(use)


def test_content_that_changed_or_is_gone(with_storage: WithStorage) -> None:
    async def use(storage: Storage) -> None:
        changed, gone = await storage.artifact(content=b"changed"), await storage.artifact(content=b"gone")
        unused = await storage.blobs.put(b"nobody's")
        frame = await storage.blobs.put(b"frame")
        made = await storage.artifact(inputs=(ArtifactInput("data", digest=frame.digest),))
        job = await storage.job(input={"frames": {"data": frame.digest}})
        for digest in (changed.blob.digest, unused.digest):
            storage.damage(digest)
        for digest in (gone.blob.digest, frame.digest):
            storage.path(digest).unlink()
        assert {name: sorted(findings) for name, findings in (await found(storage)).items()} == {
            "content": sorted(
                [
                    (changed.blob.digest, f"its bytes are not what was stored; needed by artifact {changed.id}"),
                    (gone.blob.digest, f"is missing; needed by artifact {gone.id}"),
                    (unused.digest, "its bytes are not what was stored; needed by nothing"),
                    (frame.digest, f"is missing; needed by artifact {made.id} (data), job {job.id}"),
                ]
            )
        }

    with_storage(use)


def test_a_workspace_whose_files_are_gone(with_storage: WithStorage) -> None:
    async def use(storage: Storage) -> None:
        workspace = await storage.workspace({"train.sh": b"true"})
        unreadable = await storage.artifact(content=b'{"version": 1}', content_type=WORKSPACE)
        (part,) = await storage.digests() - {workspace.blob.digest, unreadable.blob.digest}
        storage.path(part).unlink()
        findings = await found(storage)
        assert findings["content"] == [(part, f"is missing; needed by train.sh of artifact {workspace.id}")]
        ((subject, problem),) = findings["lists of workspaces' files"]
        assert subject == unreadable.blob.digest
        assert problem.endswith(f"needed by artifact {unreadable.id}")

    with_storage(use)


def test_content_in_the_trash_is_not_lost(with_storage: WithStorage) -> None:
    async def use(storage: Storage) -> None:
        artifact = await storage.artifact(content=b"content")
        await storage.blobs.discard(artifact.blob.digest)
        assert await found(storage) == {}

    with_storage(use)


def test_what_nothing_refers_to_is_not_wrong(with_storage: WithStorage) -> None:
    async def use(storage: Storage) -> None:
        await storage.blobs.put(b"left over")
        verified = await verify(storage.database, storage.blobs)
        assert (verified.is_good, verified.unused) == (True, 1)

    with_storage(use)


def test_a_size_that_was_recorded_wrongly(with_storage: WithStorage) -> None:
    async def use(storage: Storage) -> None:
        artifact = await storage.artifact(content=b"content")
        await storage.database.write(lambda tx: tx.execute(sa.update(artifacts).values(size=3)))
        assert await found(storage) == {
            "content": [(f"artifact {artifact.id}", "has 7 bytes of content, 3 are recorded")],
        }

    with_storage(use)


@pytest.mark.parametrize("harm", ["first", "middle", "last", "all", "counter"])
def test_a_log_with_a_gap(with_storage: WithStorage, harm: str) -> None:
    async def use(storage: Storage) -> None:
        await storage.busy_year()
        query = sa.select(jobs.c.id, jobs.c.last_sequence).order_by(jobs.c.last_sequence.desc()).limit(1)
        job, last = await storage.database.read(lambda tx: tuple(tx.execute(query).one()))
        assert last == 3

        def do_harm(tx: sa.Connection) -> None:
            if harm == "counter":
                tx.execute(sa.update(jobs).where(jobs.c.id == job).values(last_sequence=9))
                return
            gone = {"first": [1], "middle": [2], "last": [3], "all": [1, 2, 3]}[harm]
            tx.execute(sa.delete(job_events).where(job_events.c.job_id == job, job_events.c.sequence.in_(gone)))

        await storage.database.write(do_harm)
        findings = await found(storage)
        assert [subject for subject, _ in findings.pop("event logs of jobs")] == [f"job {job}"]
        assert findings == {}

    with_storage(use)


@pytest.mark.parametrize("harm", [{"path": "elsewhere/"}, {"level": 7}, {"parent_id": None}])
def test_a_tree_that_does_not_fit_together(with_storage: WithStorage, harm: dict[str, Any]) -> None:
    async def use(storage: Storage) -> None:
        root = await storage.artifact()
        child = await storage.artifact(parent=root)
        await storage.database.write(lambda tx: tx.execute(sa.update(artifacts).where(artifacts.c.id == child.id).values(harm)))
        ((subject, problem),) = (await found(storage))["trees of artifacts"]
        assert subject == f"artifact {child.id}"
        assert "does not fit" in problem

    with_storage(use)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_rows_that_refer_to_none(with_storage: WithStorage) -> None:
    async def use(storage: Storage) -> None:
        await storage.busy_year()

        def do_harm(tx: sa.Connection) -> None:
            tx.exec_driver_sql("COMMIT")
            tx.exec_driver_sql("PRAGMA foreign_keys=OFF")
            tx.exec_driver_sql("DELETE FROM configs")
            tx.exec_driver_sql("PRAGMA foreign_keys=ON")
            tx.exec_driver_sql("BEGIN")

        await storage.database.write(do_harm)
        assert await found(storage) == {
            "rows in the database": [("row 1 of config_artifacts", "refers to a row of configs that is not there")]
        }

    with_storage(use)
