"""The program in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Modelwire = Callable[..., "subprocess.CompletedProcess[str]"]


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
