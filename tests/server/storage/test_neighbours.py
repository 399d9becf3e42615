"""Processes of one machine on one SQLite database: they write in turns, and notices follow what they tell of."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from modelwire_server.clock import new_id, now
from modelwire_server.database.engine import Database, Transaction
from modelwire_server.database.neighbours import Neighbours
from modelwire_server.database.notifications import Listener, Topic, notify
from modelwire_server.jobs import store
from modelwire_server.jobs.model import Job, JobKind
from modelwire_server.jobs.submission import first_events

WRITES = 60


def new_job() -> Job:
    return Job(id=new_id(), kind=JobKind.TRAIN, runner_id="r", artifact_id=new_id(), submitted_at=now())


async def opened(folder: Path, told: list[str]) -> Database:
    return await Database.open(f"sqlite:///{folder / 'test.db'}", neighbours=Neighbours(folder / "turn", told.append))


def test_notices_are_sent_once_when_what_they_tell_of_is_stored(tmp_path: Path) -> None:
    async def scenario() -> None:
        told: list[str] = []
        database = await opened(tmp_path, told)
        job = new_job()

        def insert(tx: Transaction) -> None:
            store.insert(tx, job, first_events(job))
            for _ in range(2):
                notify(tx, Topic.JOB, job.id)
            assert told == []

        def fail(tx: Transaction) -> None:
            notify(tx, Topic.GONE, "nothing")
            raise ValueError("no")

        await database.write(insert)
        assert told == ["work ", f"job {job.id}"]
        with pytest.raises(ValueError, match="no"):
            await database.write(fail)
        await database.write(lambda tx: None)
        assert len(told) == 2
        await database.close()

    asyncio.run(scenario())


def test_notices_are_heard(tmp_path: Path) -> None:
    async def scenario() -> None:
        heard: list[tuple[Topic, str]] = []
        gaps: list[bool] = []
        database = await opened(tmp_path, [])
        listener = Listener(database, lambda topic, about: heard.append((topic, about)), lambda: gaps.append(True))
        listener.start()
        for notice in ("job 1", "work ", "of-a-newer-version 2"):
            listener.hear(notice)
        listener.missed()
        assert (heard, gaps) == ([(Topic.JOB, "1"), (Topic.WORK, "")], [True])
        await listener.close()
        await database.close()

    asyncio.run(scenario())


async def write_much(folder: Path) -> None:
    database = await opened(folder, [])
    for _ in range(WRITES):
        job = new_job()
        await database.write(lambda tx, job=job: store.insert(tx, job, first_events(job)))
    await database.close()


def test_nobody_meets_a_lock(tmp_path: Path) -> None:
    asyncio.run(_create(tmp_path))
    writers = [subprocess.Popen([sys.executable, __file__, str(tmp_path)]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert asyncio.run(_count(tmp_path)) == 3 * WRITES


async def _create(folder: Path) -> None:
    await (await opened(folder, [])).close()


async def _count(folder: Path) -> int:
    database = await opened(folder, [])
    try:
        return await database.read(store.count_pending)
    finally:
        await database.close()


if __name__ == "__main__":  # a process of its own, which writes beside others
    asyncio.run(write_much(Path(sys.argv[1])))
