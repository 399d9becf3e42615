"""Programs that tests need and that are not Python's."""

import os
import shutil
import subprocess

import pytest


def require(*programs: str) -> None:
    """Skips where a program is missing; where CI runs, none may be."""
    _complain([name for name in programs if shutil.which(name) is None])


def require_r(*packages: str) -> None:
    """The same for R and packages of it."""
    require("Rscript")
    ask = "for (name in commandArgs(TRUE)) if (!requireNamespace(name, quietly = TRUE)) cat(name, '')"
    missing = subprocess.run(["Rscript", "-e", ask, *packages], capture_output=True, text=True, check=True).stdout.split()
    _complain([f"R's package {name}" for name in missing])


def _complain(missing: list[str]) -> None:
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not installed: {', '.join(missing)}")
