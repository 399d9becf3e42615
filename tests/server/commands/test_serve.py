"""Starting a server, and not being able to."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modelwire import Client, HealthStatus

Modelwire = Callable[..., "subprocess.CompletedProcess[str]"]

DIABETES = Path(__file__).parents[3] / "examples" / "diabetes.py"
FREE = ("--grpc-port=0", "--http-port=0")


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "modelwire", "serve", f"{DIABETES}:runner", *FREE, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_in_good_order(tmp_path: Path, stop: signal.Signals) -> None:
    server = start(tmp_path, "--json", "--data-dir", "kept")
    assert server.stdout is not None
    said = json.loads(server.stdout.readline())
    with Client(said["grpc"]) as client:
        assert client.health() is HealthStatus.SERVING
    assert said["runners"] == ["diabetes"]
    assert said["data_dir"] == str(tmp_path / "kept")
    assert said["http"].startswith("http://localhost:")
    server.send_signal(stop)
    out, err = server.communicate(timeout=30)
    assert server.returncode == 0
    assert out == ""
    assert "Traceback" not in err


def test_it_tells_people_what_to_type_next(tmp_path: Path) -> None:
    server = start(tmp_path)
    assert server.stdout is not None
    lines = []
    while not lines or "Ctrl-C" not in lines[-1]:
        lines.append(server.stdout.readline())
        assert lines[-1], "it ended"
    server.terminate()
    server.communicate(timeout=30)
    text = "".join(lines)
    assert "localhost:" in text
    assert "Diabetes progression" in text
    assert "export MODELWIRE_TARGET=localhost:" in text
    assert "grpcurl -plaintext localhost:" in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "name at least one runner"),
        (["nothing.py:runner"], "there is no file"),
        ([f"{DIABETES}:no_runner"], "runners found there: runner"),
        ([f"{DIABETES}:runner", f"{DIABETES}:runner"], "two runners have the id `diabetes`"),
        (["no-such-runner"], "nor an installed runner"),
        ([f"{DIABETES}:runner", "--config", "nothing.toml"], "settings file nothing.toml cannot be read"),
        ([f"{DIABETES}:runner", "--data-dir", "/proc/nothing"], "the data folder /proc/nothing cannot be written"),
        ([f"{DIABETES}:runner", "--database-url", "nonsense"], "the server cannot start"),
        ([f"{DIABETES}:runner", "--host", "256.0.0.1", "--grpc-port", "0"], "256.0.0.1"),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_a_sentence(modelwire: Modelwire, arguments: list[str], complaint: str) -> None:
    done = modelwire("serve", *FREE, *arguments, exits=2)
    assert done.stdout == ""
    assert complaint in done.stderr


@pytest.mark.parametrize("option", ["--grpc-port", "--http-port"])
def test_a_port_in_use(modelwire: Modelwire, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = modelwire("serve", f"{DIABETES}:runner", *FREE, f"{option}={port}", exits=2)
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_a_wrong_variable_and_a_wrong_line_in_the_settings_file(modelwire: Modelwire, tmp_path: Path) -> None:
    (tmp_path / "modelwire.toml").write_text("max_job = 3\n")
    assert "did you mean" in modelwire("serve", f"{DIABETES}:runner", exits=2).stderr
    (tmp_path / "modelwire.toml").unlink()
    stderr = modelwire("serve", f"{DIABETES}:runner", exits=2, MODELWIRE_MAX_JOBS="many").stderr
    assert "MODELWIRE_MAX_JOBS" in stderr


def test_errors_as_json(modelwire: Modelwire) -> None:
    done = modelwire("serve", "nothing.py:runner", *FREE, "--json", exits=2)
    assert "there is no file" in json.loads(done.stderr.splitlines()[-1])["error"]["message"]


def test_without_the_packages_of_the_server(tmp_path: Path) -> None:
    code = "import sys; sys.modules['structlog'] = None; from modelwire.__main__ import main; main()"
    command = [sys.executable, "-c", code, "serve", f"{DIABETES}:runner", *FREE]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: this needs the Python module structlog",
        'pip install "modelwire[server]"',
    ]
