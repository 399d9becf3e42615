"""The packages that a project needs, in the versions that are installed here."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What the image serves with.
SERVER = Requirement("modelwire[server]")
_OURS = frozenset(("modelwire", "modelwire_runners", "modelwire_server"))
_PINNED = re.compile(r"[^#]*(===?|@)\s*\S+")


def imported_names(root: Path, files: Iterable[Path]) -> set[str]:
    """The top-level names that Python files import, without those that are modules of the project itself. Files that are no Python are
    left to whoever runs them."""
    own = {path.stem for path in root.glob("*.py")} | {path.parent.name for path in root.glob("*/__init__.py")}
    found: set[str] = set()
    for file in files:
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            continue
        found.update(_names(tree))
    return found - own - _OURS - sys.stdlib_module_names


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def requirements_of(names: Iterable[str]) -> tuple[list[Requirement], list[str]]:
    """The installed packages behind imported names, and the names that nothing installed provides."""
    known = packages_distributions()
    found: dict[str, Requirement] = {}
    unknown = []
    for name in sorted(set(names)):
        if name not in known:
            unknown.append(name)
        for package in known.get(name, ()):
            found.setdefault(canonicalize_name(package), Requirement(package))
    return list(found.values()), unknown


def pinned(requirements: Iterable[Requirement]) -> list[str]:
    """The requirements and all that they need, each as `name==version`, without modelwire itself. Optional packages that are not
    installed here are left out."""
    pins: dict[str, str] = {}
    pending = [(requirement, extra) for requirement in requirements for extra in ("", *requirement.extras)]
    seen: set[tuple[str, str]] = set()
    while pending:
        requirement, extra = pending.pop()
        name = canonicalize_name(requirement.name)
        installed = _installed(name)
        if installed is None or (name, extra) in seen:
            continue
        seen.add((name, extra))
        pins[name] = installed.version
        pending += [(needed, wanted) for needed in _needs(installed, extra) for wanted in ("", *needed.extras)]
    pins.pop("modelwire", None)
    return [f"{name}=={version}" for name, version in sorted(pins.items())]


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _needs(package: Distribution, extra: str) -> Iterator[Requirement]:
    for line in package.requires or ():
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate({"extra": extra}):
            yield needed


def not_pinned(text: str) -> list[str]:
    """The lines of a requirements file that leave the version open."""
    lines = (line.strip() for line in text.replace("\\\n", " ").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-")) and not _PINNED.match(line)]
