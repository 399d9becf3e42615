"""A gateway in a process of its own."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

DIABETES = Path(__file__).parents[3] / "examples" / "diabetes.py"


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[dict[str, Any]]:
    """Runs the program until the end of the block; yields what it says first."""
    command = [sys.executable, "-m", "modelwire", *arguments, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "Traceback" not in err


def get(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_it_serves_rest_for_a_server_elsewhere(tmp_path: Path) -> None:
    with (
        started(tmp_path, "serve", f"{DIABETES}:runner", "--grpc-port=0", "--http-port=0") as server,
        started(tmp_path, "gateway", "--target", server["grpc"], "--http-port=0") as gateway,
    ):
        assert gateway["target"] == server["grpc"]
        assert get(f"{gateway['http']}/health") == (200, {"status": "healthy", "checks": {"server": {"state": "healthy"}}})
        assert get(f"{gateway['http']}/api/v1/info") == get(f"{server['http']}/api/v1/info")


def test_the_server_need_not_be_there(tmp_path: Path) -> None:
    with started(tmp_path, "gateway", "--target", "localhost:1", "--http-port=0") as gateway:
        status, health = get(f"{gateway['http']}/health")
        assert (status, health["checks"]["server"]) == (503, {"state": "unhealthy", "message": "Check failed: UNAVAILABLE"})
        status, problem = get(f"{gateway['http']}/api/v1/configs")
        assert (status, problem["title"]) == (503, "Service Unavailable")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--root-certificates", "nowhere.pem"), "nowhere.pem"),
        (("--host", "192.0.2.1"), "cannot listen on 192.0.2.1"),
        (("--config", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    modelwire: Callable[..., "subprocess.CompletedProcess[str]"], arguments: tuple[str, ...], complaint: str
) -> None:
    assert complaint in modelwire("gateway", *arguments, exits=2).stderr
