"""The program in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Modelwire = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session", autouse=True)
def _compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Processes started here find each other's bytecode, also where the environment forbids to write any."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        yield


@pytest.fixture
def modelwire(tmp_path: Path) -> Modelwire:
    """Runs the program in an empty folder and checks its exit code."""

    def run(*arguments: str, exits: int = 0, folder: Path = tmp_path, **variables: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "modelwire", *arguments],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, **variables},
            timeout=60,
            check=False,
        )
        assert done.returncode == exits, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run
