"""What is promised of jobs: they end when told to, survive crashes, and tell everything once."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from serving import ServerProcess

from modelwire import Client, DeadlineExceeded, Job, JobCanceled, JobFailed
from modelwire.events import ProgressEvent, StateEvent

DATA = {"x": [1.0, 2.0, 3.0]}


def submit(client: Client, *, runner: str = "behaviours", **config: object) -> Job:
    return client.train(client.configs.create("test", config, runner=runner), DATA)


def wait_until_spinning(job: Job) -> None:
    for event in job.watch():
        if isinstance(event, ProgressEvent):
            return
    raise AssertionError("the job ended early")


def spinning(client: Client, folder: Path) -> tuple[Job, list[int]]:
    """A job that loops in C code, and the processes that it consists of."""
    marker = folder / "processes"
    job = submit(client, behaviour="spin", marker=str(marker))
    wait_until_spinning(job)
    return job, [int(pid) for pid in marker.read_text().split()]


def all_gone(pids: list[int]) -> bool:
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=5)
    return not alive


def test_cancel_ends_every_process_and_says_at_which_stage(client: Client, tmp_path: Path) -> None:
    job, pids = spinning(client, tmp_path)
    job.cancel()
    with pytest.raises(JobCanceled):
        job.wait(timeout=5)
    assert all_gone(pids)
    last = list(job.watch())[-1]
    assert isinstance(last, StateEvent)
    assert (last.status, last.stage) == ("canceled", "training")


def test_deadline_of_a_synchronous_wait_ends_every_process(client: Client, tmp_path: Path) -> None:
    job, pids = spinning(client, tmp_path)
    with pytest.raises(DeadlineExceeded):
        job.wait(timeout=1, cancel_on_timeout=True)
    with pytest.raises(JobCanceled):
        job.wait(timeout=5)
    assert all_gone(pids)


def test_timeout_of_a_job_ends_it(client: Client, tmp_path: Path) -> None:
    config = client.configs.create("test", {"behaviour": "spin", "marker": str(tmp_path / "m")}, runner="behaviours")
    with pytest.raises(JobFailed) as failure:
        client.train(config, DATA, timeout=1.0).wait(timeout=20)
    assert failure.value.reason == "DEADLINE_EXCEEDED"


def test_events_are_gapless_and_in_order(client: Client) -> None:
    job = submit(client, behaviour="chatty", lines=200)
    events = list(job.watch())
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [e.fraction for e in events if isinstance(e, ProgressEvent)] == sorted((n + 1) / 200 for n in range(200))
    assert list(job.watch(after=events[-3].sequence)) == events[-2:]


def crash_while_watched(server: ServerProcess, start: Callable[[Client], Job]) -> tuple[Job, list[object]]:
    """Kills the server under a running job with a watcher attached, restarts it, and returns what the watcher saw."""
    with Client(server.target) as client:
        job = start(client)
        seen: list[object] = []
        working = threading.Event()

        def watch() -> None:
            for event in job.watch():
                seen.append(event)
                if isinstance(event, ProgressEvent):
                    working.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert working.wait(timeout=20)
        server.kill()
        server.start()
        watcher.join(timeout=30)
        assert not watcher.is_alive()
        return job, seen


def test_kill_9_fails_the_job_and_the_watcher_goes_on_by_itself(own_server: ServerProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with Client(own_server.target) as client:
        before = submit(client, behaviour="mean").wait(timeout=20)

    job, seen = crash_while_watched(own_server, lambda client: submit(client, behaviour="gate", gate=str(gate)))

    assert [event.sequence for event in seen] == list(range(1, len(seen) + 1))  # type: ignore[attr-defined]
    last = seen[-1]
    assert isinstance(last, StateEvent)
    assert (last.status, last.reason) == ("failed", "WORKER_LOST")
    with Client(own_server.target) as client:
        assert client.jobs.get(job.id).status == "failed"
        assert client.models.get(before.id).predict({"x": [5.0]}).to_pydict() == {"x": [5.0]}
        assert client.artifacts.download(before.id)


def test_kill_9_runs_the_job_again_by_policy(own_server: ServerProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    opened = threading.Thread(target=lambda: gate.open("w").close())

    def start(client: Client) -> Job:
        return submit(client, runner="lasting", behaviour="gate", gate=str(gate))

    with Client(own_server.target) as client:
        job = start(client)
        wait_until_spinning(job)
        own_server.kill()
        own_server.start()
        until_second_progress(job)
        opened.start()
        job.wait(timeout=30)
        assert client.jobs.get(job.id).attempt == 2
    opened.join()


def until_second_progress(job: Job) -> None:
    reports = (event for event in job.watch() if isinstance(event, ProgressEvent))
    next(reports)
    next(reports)


def test_sigterm_drains_and_leaves_no_process(own_server: ServerProcess) -> None:
    family = [own_server.process, *own_server.process.children(recursive=True)]
    assert own_server.stop() == 0
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive
