"""A backup of a server at work, brought back elsewhere, goes on where the first one was."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from serving import RUNNERS, ServerProcess
from storages import EVERY_STORAGE, POSTGRESQL_AND_OBJECTS, SQLITE_AND_FILES, StorageUrls, new_storage

from modelwire import Client, Job, JobFailed
from modelwire.events import ProgressEvent

DATA = {"x": [1.0, 2.0, 3.0]}
TARGETS = [f"{RUNNERS / 'behaviours.py'}:{name}" for name in ("runner", "lasting", "single")]
ENDED = {"completed", "failed", "canceled"}


def admin(*arguments: str | Path, storage: StorageUrls | None = None, exits: int = 0) -> Any:
    """What `modelwire admin` says as JSON."""
    urls = {f"MODELWIRE_{name.upper()}": url for name, url in vars(storage or StorageUrls()).items()}
    command = [str(Path(sys.executable).parent / "modelwire"), "admin", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **urls}, timeout=60, check=False)
    assert done.returncode == exits, done.stdout + done.stderr
    return json.loads(done.stdout)


def submit(client: Client, *, runner: str = "behaviours", **config: object) -> Job:
    return client.train(client.configs.create("test", config, runner=runner), DATA)


def until_working(job: Job, attempt: int = 1) -> None:
    reports = (event for event in job.watch() if isinstance(event, ProgressEvent))
    for _ in range(attempt):
        next(reports)


@contextmanager
def busy(server: ServerProcess) -> Iterator[list[str]]:
    """Trains without a pause; gives the ids of the models that were finished before the block began."""
    finished: list[str] = []
    some, stop = threading.Event(), threading.Event()

    def train() -> None:
        with Client(server.target) as client:
            while not stop.is_set():
                finished.append(submit(client, behaviour="chatty", lines=20).wait(timeout=30).id)
                if len(finished) == 3:
                    some.set()

    threads = [threading.Thread(target=train) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert some.wait(30)
        yield list(finished)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    ("origin", "destination"),
    [*((SQLITE_AND_FILES, kind) for kind in EVERY_STORAGE), (POSTGRESQL_AND_OBJECTS, SQLITE_AND_FILES)],
)
def test_a_backup_made_at_work_goes_on_elsewhere(
    request: pytest.FixtureRequest, tmp_path: Path, origin: str, destination: str
) -> None:
    gate, folder = tmp_path / "gate", tmp_path / "backup"
    os.mkfifo(gate)
    with new_storage(origin, request) as urls, new_storage(destination, request) as new_urls:
        with ServerProcess(*TARGETS, data_dir=tmp_path / "data", max_jobs=4, drain_seconds=0, **vars(urls)) as server:
            with Client(server.target) as client:
                model = submit(client, behaviour="mean").wait(timeout=20)
                content = client.artifacts.download(model.id)
                lost, again, alone = (
                    submit(client, runner=runner, behaviour="gate", gate=str(gate))
                    for runner in ("behaviours", "lasting", "single")
                )
                behind = submit(client, runner="single", behaviour="mean")
                for job in (lost, again, alone):
                    until_working(job)
            with busy(server) as finished:
                made = admin("backup", folder, "--data-dir", tmp_path / "data", storage=urls)
        assert made["damaged"] == []

        restored = admin("restore", folder, "--data-dir", tmp_path / "new", storage=new_urls)
        assert (restored["blobs"], restored["damaged"]) == (made["blobs"], [])
        assert sum(restored["rows"].values()) > 0
        assert admin("verify", "--data-dir", tmp_path / "new", storage=new_urls)["findings"] == []

        with (
            ServerProcess(*TARGETS, data_dir=tmp_path / "new", max_jobs=4, **vars(new_urls)) as server,
            Client(server.target) as client,
        ):
            assert client.artifacts.download(model.id) == content
            predictions = [client.models.get(found).predict({"x": [5.0]}).to_pydict() for found in finished]
            assert predictions == [{"x": [5.0]}] * len(finished)
            for job in (lost, alone):
                with pytest.raises(JobFailed) as failure:
                    client.jobs.get(job.id).wait(timeout=20)
                assert failure.value.reason == "WORKER_LOST"
            client.jobs.get(behind.id).wait(timeout=20)
            until_working(client.jobs.get(again.id), attempt=2)
            with gate.open("w"):
                pass
            client.jobs.get(again.id).wait(timeout=20)
            submit(client, behaviour="mean").wait(timeout=20)
            for job in client.jobs.list():
                events = list(job.watch())
                assert [event.sequence for event in events] == list(range(1, len(events) + 1))
                assert client.jobs.get(job.id).status in ENDED
        verified = admin("verify", "--data-dir", tmp_path / "new", storage=new_urls)
        assert verified["findings"] == []
        print(f"{origin} -> {destination}: {sum(restored['rows'].values())} rows, {made['blobs']} blobs; then {verified['checks']}")


def test_restoring_needs_a_place_of_its_own(tmp_path: Path, own_server: ServerProcess) -> None:
    admin("backup", tmp_path / "backup", "--data-dir", own_server.data_dir)
    command = [str(Path(sys.executable).parent / "modelwire"), "admin", "restore", tmp_path / "backup"]
    done = subprocess.run([*command, "--data-dir", own_server.data_dir], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"another server works on {own_server.data_dir}" in done.stderr
