"""A real server in a process of its own, and the program that talks to it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from modelwire import Client
from modelwire.cli.main import app

ROOT = Path(__file__).parents[3]
DIABETES = ROOT / "examples" / "diabetes.py"
RUNNERS = Path(__file__).parent / "odd_runners.py"
PROGRAM = [sys.executable, "-m", "modelwire"]

Run = Callable[..., Result]


@pytest.fixture(scope="session", autouse=True)
def _compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Processes started here find each other's bytecode, also where the environment forbids to write any."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        yield


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`modelwire serve` on free ports; its target."""
    folder = tmp_path_factory.mktemp("server")
    targets = [f"{DIABETES}:runner", f"{RUNNERS}:odd", f"{RUNNERS}:strict"]
    command = [*PROGRAM, "serve", *targets, "--grpc-port=0", "--http-port=0", f"--data-dir={folder / 'data'}", "--json"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=folder)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (folder / "server.log").read_text()
        yield json.loads(line)["grpc"]
        process.terminate()
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def client(target: str) -> Iterator[Client]:
    with Client(target) as client:
        yield client


@pytest.fixture
def run(target: str) -> Run:
    """Runs the program in this process; checks its exit code."""

    def run(*arguments: str, exits: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(app, ["--target", target, *arguments], input=stdin, catch_exceptions=False)
        assert result.exit_code == exits, result.output
        return result

    return run


@pytest.fixture
def run_json(run: Run) -> Callable[..., Any]:
    """Runs the program with --json and reads what it prints."""

    def run_json(*arguments: str) -> Any:
        return json.loads(run(*arguments, "--json").stdout)

    return run_json


@pytest.fixture
def program(target: str) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts the program as a process."""

    def start(*arguments: str) -> "subprocess.Popen[str]":
        environment = {**os.environ, "MODELWIRE_TARGET": target}
        return subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    return start


@pytest.fixture(scope="session")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The diabetes data as a CSV file."""
    from sklearn.datasets import load_diabetes

    path = tmp_path_factory.mktemp("data") / "patients.csv"
    load_diabetes(as_frame=True, scaled=False).frame.to_csv(path, index=False)
    return path


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """A small table: x, y."""
    path = tmp_path / "numbers.csv"
    path.write_text("x,y\n1,2\n2,4\n3,6\n")
    return path
