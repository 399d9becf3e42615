"""What scripts cannot do: outlive their job, fill the disk or the log, or see what they were not given."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from serving import ServerProcess
from workspaces import DATA, SCRIPTED, files_of, submit, texts_of

from modelwire import Client, Job, JobFailed
from modelwire.events import LogEvent, MetricEvent, ProgressEvent, StateEvent


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    targets = [f"{SCRIPTED / 'scripted.py'}:{name}" for name in ("runner", "limited")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIVEN_NAME", "a name")
        patch.setenv("DATABASE_PASSWORD", "a secret")
        with ServerProcess(*targets, data_dir=tmp_path_factory.mktemp("data"), max_jobs=3) as server:
            yield server


def told_pid(job: Job) -> int:
    """Waits for a process to tell its id, as a metric."""
    return next(int(event.value) for event in job.watch() if isinstance(event, MetricEvent) and event.name == "pid")


def scratch(server: ServerProcess) -> list[Path]:
    """What jobs have left where they worked."""
    return [path for path in (server.data_dir / "scratch").rglob("*") if path.is_file()]


def test_a_canceled_script_ends_with_all_that_it_started(client: Client, server: ServerProcess) -> None:
    job = submit(client, behaviour="run-away-and-stay")
    escapee = told_pid(job)
    assert psutil.pid_exists(escapee)
    job.cancel()
    last = list(job.watch())[-1]
    assert isinstance(last, StateEvent)
    assert last.status == "canceled"
    assert not psutil.pid_exists(escapee)
    assert scratch(server) == []


def test_a_script_ends_at_its_deadline_with_all_that_it_started(client: Client) -> None:
    config = client.configs.create("late", {"behaviour": "run-away-and-stay"}, runner="scripted")
    job = client.train(config, DATA, timeout=2.0)
    escapee = told_pid(job)
    with pytest.raises(JobFailed) as failure:
        job.wait(timeout=30)
    assert failure.value.reason == "DEADLINE_EXCEEDED"
    assert not psutil.pid_exists(escapee)


def test_what_a_script_leaves_running_is_ended(client: Client) -> None:
    job = submit(client, behaviour="run-away")
    job.wait(timeout=30)
    assert not psutil.pid_exists(told_pid(job))


def test_a_canceled_script_at_a_gate_reads_no_more(client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    job = submit(client, behaviour="gate", gate=str(gate))
    next(event for event in job.watch() if isinstance(event, ProgressEvent))
    job.cancel()
    assert list(job.watch())[-1].status == "canceled"  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="No such device"):
        os.open(gate, os.O_WRONLY | os.O_NONBLOCK)


@pytest.mark.parametrize("behaviour", ["hoard", "hoard-and-stay"])
def test_a_workspace_that_grows_too_large_fails_the_job(client: Client, server: ServerProcess, behaviour: str) -> None:
    with pytest.raises(JobFailed, match="2000000"):
        submit(client, runner="limited", behaviour=behaviour).wait(timeout=30)
    assert scratch(server) == []


def test_too_much_output_is_cut_and_the_job_goes_on(client: Client) -> None:
    job = submit(client, runner="limited", behaviour="chatter")
    model = job.wait(timeout=60)
    lines = [event.text for event in job.watch() if isinstance(event, LogEvent)]
    assert lines[:3] == ["training on data.csv", "1", "2"]
    assert sum(len(line) for line in lines) <= 20_000
    assert "wrote more than 20000 bytes" in lines[-1]
    assert texts_of(client, model.id)["model/answer.txt"] == "42\n"


def test_a_script_gets_only_the_variables_that_are_allowed(client: Client) -> None:
    def variables(runner: str) -> dict[str, str]:
        model = submit(client, runner=runner, behaviour="environment").wait(timeout=30)
        lines = texts_of(client, model.id)["model/environment.txt"].splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    allowed = variables("limited")
    assert allowed["GIVEN_NAME"] == "a name"
    assert "DATABASE_PASSWORD" not in allowed
    # What it is told is there; the server's own settings, which may hold passwords, are not.
    assert {"MODELWIRE_JOB_ID", "MODELWIRE_PROGRESS_FILE"} <= allowed.keys()
    assert "MODELWIRE_MAX_JOBS" not in allowed
    assert variables("scripted")["DATABASE_PASSWORD"] == "a secret"


def test_a_script_that_needs_more_memory_than_it_may_fails(client: Client) -> None:
    job = submit(client, runner="limited", behaviour="devour")
    with pytest.raises(JobFailed):
        job.wait(timeout=60)
    assert "model/answer.txt" not in files_of(client, job.artifact_id)
