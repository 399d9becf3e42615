"""Writes the build context: the project, its pinned packages, a Containerfile, and a Makefile for both."""

import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distribution, version
from pathlib import Path
from string import Template

from packaging.requirements import Requirement

from modelwire_runners.project import Entry, Project

from .pins import SERVER, imported_names, not_pinned, pinned, requirements_of

HERE = Path(__file__).parent
REQUIREMENTS = "requirements.txt"


class PackagingError(Exception):
    """An image cannot be described; the message says why, the hint what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be packaged: the targets as the server takes them, in the folder of the project. `wheel` is modelwire itself, where it
    does not come from an index; `requirements` is a file of the user's."""

    name: str
    title: str
    targets: Sequence[str]
    root: Path
    project_version: str = "0.1.0"
    python: str
    requirements: Path | None = None
    wheel: Path | None = None
    tests: bool = True


@dataclass(frozen=True, slots=True)
class Written:
    """What the folder holds. `notes` are for the user to look at."""

    files: list[Path]
    packages: int
    notes: list[str]


def write_context(order: Order, folder: Path) -> Written:
    """Writes the folder, which must not be there. Raises PackagingError and OSError."""
    if order.wheel is None and _is_from_folder():
        message = "this modelwire was installed from a folder, so that no index has it"
        raise PackagingError(message, "Make a wheel (`python -m build --wheel`) and pass it with --wheel.")
    entries = [entry for entry in Project(order.root).entries() if not _is_inside(folder, order.root / entry.path)]
    requirements, notes = _requirements(order, entries)
    folder.mkdir(parents=True)
    (folder / REQUIREMENTS).write_text(requirements)
    _copy(order.root, entries, folder / "app")
    if order.wheel is not None:
        shutil.copy2(order.wheel, folder)
    words = _words(order, entries)
    for name in ("Containerfile", "Makefile"):
        text = Template((HERE / f"{name}.template").read_text(encoding="utf-8")).substitute(words)
        (folder / name).write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return Written(files, sum(line[:1].isalnum() for line in requirements.splitlines()), notes)


def _is_from_folder() -> bool:
    """Whether modelwire was installed from a checkout or a file, rather than from an index."""
    return distribution("modelwire").read_text("direct_url.json") is not None


def _is_inside(folder: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _requirements(order: Order, entries: Sequence[Entry]) -> tuple[str, list[str]]:
    """The text of the requirements, and what is to be said of it."""
    given = order.requirements or (order.root / REQUIREMENTS if (order.root / REQUIREMENTS).is_file() else None)
    if given is not None:
        text = given.read_text(encoding="utf-8")
        notes = [f"{given.name}: `{line}` leaves the version open" for line in not_pinned(text)]
        return text + ("" if text.endswith("\n") or not text else "\n"), notes
    sources = [order.root / entry.path for entry in entries if entry.is_file and entry.path.endswith(".py")]
    needed, unknown = requirements_of(imported_names(order.root, sources))
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    notes = [] if order.python == here else [f"the packages are pinned as they are here, for Python {here}, not {order.python}"]
    notes += [f"nothing that is installed here provides the module {name}, which is imported" for name in unknown]
    return "".join(f"{pin}\n" for pin in pinned([SERVER, *needed])), notes


def _copy(root: Path, entries: Sequence[Entry], into: Path) -> None:
    into.mkdir()
    for entry in entries:
        target = into / entry.path
        if entry.is_folder:
            target.mkdir(exist_ok=True)
        else:
            shutil.copy2(root / entry.path, target, follow_symlinks=False)


def _words(order: Order, entries: Sequence[Entry]) -> dict[str, str]:
    wheel = order.wheel and order.wheel.name
    install = (
        f"COPY {wheel} ./\nRUN pip install --no-deps ./{wheel}"
        if wheel
        else f"RUN pip install --no-deps modelwire=={version('modelwire')}"
    )
    has_tests = order.tests and any(entry.path == "tests" for entry in entries)
    checks = [f"RUN modelwire check {target}" for target in order.targets]
    pytest = pinned([Requirement("pytest")]) or ["pytest"]
    return {
        "name": order.name,
        "title": order.title,
        "version": version("modelwire"),
        "project_version": order.project_version,
        "python": order.python,
        "install": install,
        "test_packages": f"RUN pip install {' '.join(pytest)}" if has_tests else "",
        "tests": "\n".join([*checks, *(["RUN python -m pytest -q tests"] if has_tests else [])]),
        "targets": shlex.join(order.targets),
        "command": ", ".join(json.dumps(target) for target in order.targets),
    }
