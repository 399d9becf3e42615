"""Jobs that wait: for their turn, for room, for another attempt."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelwire import Client, Job, JobFailed, ResourceExhausted
from modelwire.events import ProgressEvent, StateEvent

DATA = {"x": [1.0, 2.0, 3.0]}


def submit(client: Client, runner: str, *, priority: int = 0, **config: object) -> Job:
    return client.train(client.configs.create("test", config, runner=runner), DATA, priority=priority)


@contextmanager
def one_at_work(client: Client, folder: Path) -> Iterator[Job]:
    """Keeps the runner that runs one job at a time busy."""
    gate = folder / "gate"
    os.mkfifo(gate)
    job = submit(client, "single", behaviour="gate", gate=str(gate))
    next(event for event in job.watch() if isinstance(event, ProgressEvent))
    try:
        yield job
    finally:
        threading.Thread(target=gate.write_text, args=[""], daemon=True).start()
        job.wait(timeout=30)


def test_a_higher_priority_goes_first(client: Client, tmp_path: Path) -> None:
    with one_at_work(client, tmp_path):
        jobs = [submit(client, "single", priority=priority) for priority in (0, -5, 10, 0)]
    for job in jobs:
        job.wait(timeout=30)
    first, last, urgent, second = (client.jobs.get(job.id).started_at for job in jobs)
    assert urgent < first < second < last


def test_a_full_queue_of_a_runner_refuses_its_jobs_alone(client: Client, tmp_path: Path) -> None:
    with one_at_work(client, tmp_path):
        waiting = [submit(client, "single") for _ in range(4)]
        with pytest.raises(ResourceExhausted, match="4 jobs of the runner single are waiting") as refused:
            submit(client, "single")
        assert submit(client, "behaviours").wait(timeout=30)
    assert (refused.value.reason, refused.value.metadata["runner"]) == ("OVERLOADED", "single")
    assert refused.value.retry_after
    for job in waiting:
        assert job.wait(timeout=30)


def test_what_failed_is_tried_again_as_the_runner_says(client: Client, tmp_path: Path) -> None:
    job = submit(client, "persistent", behaviour="third_time_lucky", marker=str(tmp_path / "attempts"))
    assert job.wait(timeout=30)
    states = [event for event in job.watch() if isinstance(event, StateEvent)]
    assert [event.status for event in states] == ["pending", "running", "pending", "running", "pending", "running", "completed"]
    assert [event.attempt for event in states] == [0, 1, 1, 2, 2, 3, 3]
    assert "the data are elsewhere" in states[2].message
    assert "will run again" in states[2].message


def test_in_the_end_it_has_failed(client: Client) -> None:
    job = submit(client, "persistent", behaviour="raise")
    with pytest.raises(JobFailed, match="not good enough"):
        job.wait(timeout=30)
    assert client.jobs.get(job.id).attempt == 3
