"""The lock fits the project, on every Python, and names no index."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = ("requirements.lock", "requirements-server.lock", "protos/requirements.lock", "tests/mlflow_registry/requirements.lock")
PYTHONS = ("3.11", "3.12", "3.13")


def locked(path: Path) -> list[Requirement]:
    return [Requirement(line.removesuffix(" \\")) for line in path.read_text().splitlines() if re.match(r"[a-z0-9]", line)]


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_names_no_index(root: Path, name: str) -> None:
    assert not re.search(r"https?:|--index|--extra-index|--find-links", (root / name).read_text())


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_a_version_and_hashes(root: Path, name: str) -> None:
    entries = re.split(r"^(?=[a-z0-9])", (root / name).read_text(), flags=re.MULTILINE)[1:]
    assert entries
    assert all(re.match(r"[a-z0-9._-]+(\[[a-z0-9,-]+\])?==\S+", entry) and "--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_satisfies_all_requirements_of_the_project(root: Path, python: str) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    wanted = [Requirement(text) for group in (project["project"]["dependencies"], *extras) for text in group]
    wanted += [Requirement(text) for text in project["build-system"]["requires"]]
    environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    versions = {
        canonicalize_name(entry.name): str(entry.specifier).removeprefix("==")
        for entry in locked(root / "requirements.lock")
        if entry.marker is None or entry.marker.evaluate(environment)
    }
    for requirement in wanted:
        if requirement.name != "modelwire":
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def test_the_image_is_made_of_what_is_tested(root: Path) -> None:
    tested = {str(entry) for entry in locked(root / "requirements.lock")}
    assert {str(entry) for entry in locked(root / "requirements-server.lock")} <= tested


def test_models_in_the_registry_of_the_tests_are_written_by_the_libraries_that_read_them(root: Path) -> None:
    tested, written = (
        {entry.name: str(entry.specifier) for entry in locked(root / name)}
        for name in ("requirements.lock", "tests/mlflow_registry/requirements.lock")
    )
    libraries = ("cloudpickle", "mlflow-skinny", "onnx", "onnxruntime", "scikit-learn", "skops")
    assert {name: written[name] for name in libraries} == {name: tested.get(name) for name in libraries}
