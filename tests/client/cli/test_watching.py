"""Following a job that takes its time."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelwire import Client, Config, JobStatus

PROGRAM = [sys.executable, "-m", "modelwire"]

Program = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A pipe at which a training waits until it is opened."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


@pytest.fixture
def waiting(client: Client, gate: Path) -> Config:
    """A config of a training that waits at the gate."""
    return client.configs.create("waiting", {"behaviour": "wait", "gate": str(gate)}, runner="odd")


def until(stream: "Iterator[str]", text: str) -> list[str]:
    """Reads lines until one holds the text."""
    seen = []
    for line in stream:
        seen.append(line)
        if text in line:
            return seen
    raise AssertionError(f"{text!r} never came:\n{''.join(seen)}")


def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(
    program: Program, waiting: Config, numbers: Path, gate: Path, client: Client
) -> None:
    training = program("train", waiting.id, str(numbers))
    assert training.stdout is not None
    assert training.stderr is not None
    until(training.stderr, "50% half way")
    training.send_signal(signal.SIGINT)
    out, err = training.communicate(timeout=30)
    assert training.returncode == 130
    assert out == ""
    found = re.search(r"modelwire jobs watch (\w{26})", err)
    assert found is not None
    assert "Traceback" not in err
    job = client.jobs.get(found[1])
    assert job.status is JobStatus.RUNNING

    watching = program("jobs", "watch", job.id, "--json")
    assert watching.stdout is not None
    until(watching.stdout, '"half way"')
    gate.write_text("")
    rest, _ = watching.communicate(timeout=30)
    assert watching.returncode == 0
    assert json.loads(rest.splitlines()[-1])["status"] == "completed"


def test_a_job_that_somebody_cancels(program: Program, waiting: Config, numbers: Path, client: Client) -> None:
    submitted = program("train", waiting.id, str(numbers), "--no-wait", "--json")
    job_id = json.loads(submitted.communicate(timeout=30)[0])["id"]
    watching = program("jobs", "watch", job_id)
    assert watching.stdout is not None
    until(watching.stdout, "half way")
    canceling = program("jobs", "cancel", job_id, "-m", "wrong data")
    assert "is being canceled" in canceling.communicate(timeout=30)[0]
    out, _ = watching.communicate(timeout=30)
    assert watching.returncode == 5
    assert "canceled: wrong data" in out
    assert client.jobs.get(job_id).status is JobStatus.CANCELED


def test_a_terminal_gets_a_live_bar(waiting: Config, numbers: Path, gate: Path, target: str) -> None:
    mine, theirs = pty.openpty()
    environment = {**os.environ, "MODELWIRE_TARGET": target, "TERM": "xterm-256color", "COLUMNS": "120"}
    command = [*PROGRAM, "train", waiting.id, str(numbers)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen = ""
    while "half way" not in seen:
        seen += os.read(mine, 65536).decode(errors="replace")
    gate.write_text("")
    try:
        while chunk := os.read(mine, 65536):
            seen += chunk.decode(errors="replace")
    except OSError:  # Linux says EIO when the other side has closed.
        pass
    os.close(mine)
    assert process.wait(timeout=30) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert "looking at [brackets]" in text
    assert re.search(r"completed ━+ 100% 0:00:\d\d half way  rows 3", text)
    assert "next: modelwire predict" in text
