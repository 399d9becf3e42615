"""An MLflow server of the tests' own, on a free loopback port, in a folder that is thrown away, and somebody who trains models for it."""

import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from free_ports import free_port

ENVIRONMENT = Path(__file__).parents[1] / ".venv-mlflow"
PYTHON = ENVIRONMENT / "bin" / "python"
_TRAINER = Path(__file__).parent / "mlflow_registry" / "trainer.py"
_START_SECONDS = 120


class MLflowServer:
    """A running server. Methods other than these are those of mlflow_registry/trainer.py."""

    def __init__(self, url: str, log: Path, trainer: "subprocess.Popen[str]") -> None:
        self.url = url
        self._log = log
        self._trainer = trainer

    def calls(self, name: str) -> list[str]:
        """What was asked of the server about a model, by whomever: its access log."""
        about = (f"name={name}&", f"name={name} ", urllib.parse.quote(f"name='{name}'"), f"%27{name}%27")
        return [line for line in self._log.read_text().splitlines() if any(words in line for words in about)]

    @contextmanager
    def program(self, *command: str | Path) -> "Iterator[subprocess.Popen[str]]":
        """A program that somebody wrote who uses MLflow."""
        variables = {**_variables(), "MLFLOW_TRACKING_URI": self.url}
        with subprocess.Popen([PYTHON, *command], stdout=subprocess.PIPE, env=variables, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def __getattr__(self, do: str) -> Any:
        return lambda **arguments: self._order(do, **arguments)

    def _order(self, do: str, **arguments: Any) -> Any:
        assert self._trainer.stdin is not None
        print(json.dumps({"do": do, **arguments}), file=self._trainer.stdin, flush=True)
        return self.answer()

    def answer(self) -> Any:
        assert self._trainer.stdout is not None
        line = self._trainer.stdout.readline()
        assert line, "the trainer has ended"
        return json.loads(line)


def is_installed() -> bool:
    return (ENVIRONMENT / ".ready").exists()


@contextmanager
def mlflow_server() -> Iterator[MLflowServer]:
    """Starts both and ends them."""
    with tempfile.TemporaryDirectory(prefix="modelwire-mlflow-") as folder:
        url, log = f"http://127.0.0.1:{free_port()}", Path(folder, "log")
        with _running(url, Path(folder), log), _training(url, Path(folder)) as trainer:
            server = MLflowServer(url, log, trainer)
            assert server.answer() == "ready"
            wait_until_ready(url, log)
            yield server


@contextmanager
def _running(url: str, folder: Path, log: Path) -> Iterator[None]:
    port = url.rpartition(":")[2]
    stores = ["--backend-store-uri=sqlite:///mlflow.db", f"--artifacts-destination={folder / 'artifacts'}"]
    command = [str(ENVIRONMENT / "bin" / "mlflow"), "server", "--host=127.0.0.1", f"--port={port}", "--workers=1", *stores]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, env=_variables(), process_group=0) as process,
    ):
        try:
            yield
        finally:
            # It starts processes of its own.
            os.killpg(process.pid, 9)


@contextmanager
def _training(url: str, folder: Path) -> "Iterator[subprocess.Popen[str]]":
    command = [str(PYTHON), str(_TRAINER)]
    variables = {**_variables(), "MLFLOW_TRACKING_URI": url}
    with (
        Path(folder, "trainer.log").open("wb") as log,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=folder, env=variables, text=True
        ) as trainer,
    ):
        try:
            yield trainer
        finally:
            trainer.kill()


def _variables() -> dict[str, str]:
    # Without jobs, for which MLflow starts eight processes more.
    own = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return {**os.environ, **own, "PATH": f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}"}


def wait_until_ready(url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310 - our own
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError(f"MLflow did not start:\n{log.read_text()}")
