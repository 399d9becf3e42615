"""The demo: it shows something true, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from modelwire_server.commands.tour import SNIPPET, errors
from modelwire_server.scaffold import example

Modelwire = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """The folder for temporary files; must be empty in the end, and no process may be left that knows it."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []
    assert [p.cmdline() for p in psutil.process_iter() if any(str(folder) in part for part in command_of(p))] == []


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.slow
def test_it_is_better_than_guessing_and_leaves_nothing(modelwire: Modelwire, temporary: Path) -> None:
    done = modelwire("demo", TMPDIR=str(temporary))
    for expected in ("1 Serve", "2 Train", "3 Predict", "4 Keep", "How long it took", "modelwire init my-model"):
        assert expected in done.stdout
    assert "110 patients that training never saw" in done.stdout
    assert "ml_prediction" in done.stdout


@pytest.mark.slow
def test_the_document(modelwire: Modelwire, temporary: Path) -> None:
    done = modelwire("demo", "--json", TMPDIR=str(temporary), MODELWIRE_DATABASE_URL="sqlite:////nowhere/db", MODELWIRE_TARGETS="x")
    document = json.loads(done.stdout)
    model, mean = document["errors"]["model"], document["errors"]["always the mean"]
    assert document["error"] == model
    assert model["rmse"] < 0.85 * mean["rmse"]
    assert model["mae"] < 0.85 * mean["mae"]
    assert (document["rows_trained"], document["rows_unseen"]) == (332, 110)
    assert document["tree"]["id"] == document["model_id"]
    assert [child["type"] for child in document["tree"]["children"]] == ["ml_prediction"]
    assert all(seconds > 0 for seconds in document["seconds"].values())


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(temporary: Path, stop: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "modelwire", "demo", "--keep"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert process.stderr is not None
    while "The server is still there" not in (line := process.stderr.readline()):
        assert line, process.communicate()
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(stop)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert psutil.wait_procs(children, timeout=10)[1] == []


def test_interrupted_at_once(temporary: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "modelwire", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    while "1 Serve" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_without_scikit_learn() -> None:
    code = "import sys; sys.modules['sklearn'] = None; from modelwire.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "demo"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: this needs the Python module sklearn", "pip install scikit-learn"]


@pytest.mark.slow
def test_the_lines_to_type_next_work(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "modelwire", "serve", f"{example()}:runner", "--json", "--grpc-port=0", "--http-port=0"]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=tmp_path)
        try:
            assert server.stdout is not None
            target = json.loads(server.stdout.readline())["grpc"]
            snippet = SNIPPET.replace('"localhost:50051"', repr(target))
            done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, check=True)
        finally:
            server.terminate()
            server.communicate(timeout=30)
    assert "sample_0" in done.stdout


def test_errors_are_computed_as_the_textbook_says() -> None:
    assert errors([1.0, 2.0, 3.0], [2.0, 2.0, 7.0]) == {"rmse": (17 / 3) ** 0.5, "mae": 5 / 3}
