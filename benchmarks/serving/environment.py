"""Environments of the peers: one for each, made from the versions that its file of requirements names."""

import shutil
import subprocess
import sys
from pathlib import Path

from .machine import BENCH

REQUIREMENTS = Path(__file__).parent / "requirements"


class NotInstalledError(Exception):
    """The peer has no environment, or not the one that its requirements say."""


def python_of(name: str) -> str:
    """The interpreter of a peer's environment; that of this program if the name is empty. Raises NotInstalledError."""
    if not name:
        return sys.executable
    ready = _ready(name)
    if not ready.exists():
        raise NotInstalledError("not installed; make peers")
    if ready.read_text() != _requirements(name).read_text():
        raise NotInstalledError("installed in other versions; make peers")
    return str(BENCH / name / "bin" / "python")


def install(name: str) -> str:
    """Makes the environment unless it is there; says why not if that fails, else nothing."""
    try:
        python_of(name)
    except NotInstalledError:
        return _make(name)
    return ""


def version_in(name: str, package: str) -> str:
    """The version of a package that a peer's file of requirements names."""
    for line in _requirements(name).read_text().splitlines():
        found, _, version = line.partition("==")
        if found == package:
            return version
    return "unknown version"


def _make(name: str) -> str:
    folder = BENCH / name
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv")
    python = str(folder / "bin" / "python")
    installer = (
        [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install", "--disable-pip-version-check"]
    )
    for command in ([sys.executable, "-m", "venv", str(folder)], [*installer, "--quiet", "-r", str(_requirements(name))]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"{command[0]} failed"
    _ready(name).write_text(_requirements(name).read_text())
    return ""


def _requirements(name: str) -> Path:
    return REQUIREMENTS / f"{name}.txt"


def _ready(name: str) -> Path:
    return BENCH / name / "requirements"
