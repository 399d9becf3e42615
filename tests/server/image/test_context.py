"""The build context of an image: the project, what it needs, and how the image is made of it."""

import ast
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from modelwire_server.image.context import Order, write_context
from modelwire_server.image.pins import imported_names, not_pinned, pinned, requirements_of

SERVICE = """
import json
import os.path

import numpy as np
import pandas
from sklearn.linear_model import LinearRegression

import helpers
from modelwire_runners import FunctionalModelRunner
"""
Write = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "rain"
    (root / "tests").mkdir(parents=True)
    (root / "service.py").write_text(SERVICE)
    (root / "helpers.py").write_text("import pyarrow as pa\n")
    (root / "tests" / "test_service.py").write_text("def test_it() -> None: ...\n")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("secret")
    (root / "old.pyc").write_bytes(b"")
    return root


@pytest.fixture
def write(project: Path, tmp_path: Path) -> Write:
    """Writes the context, with a wheel that is none."""
    wheel = tmp_path / "modelwire-9.9.9-py3-none-any.whl"
    wheel.write_bytes(b"")

    def write_it(**changes: Any) -> Path:
        order = {
            "name": "rain",
            "title": "Rain",
            "targets": ["service.py:runner"],
            "root": project,
            "python": "3.12",
            "wheel": wheel,
        }
        write_context(Order(**{**order, **changes}), tmp_path / "image")
        return tmp_path / "image"

    return write_it


def instructions(folder: Path) -> list[str]:
    text = (folder / "Containerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_it_holds_the_project_and_nothing_else(write: Write) -> None:
    folder = write()
    app = {str(path.relative_to(folder / "app")) for path in (folder / "app").rglob("*") if path.is_file()}
    assert app == {"service.py", "helpers.py", "tests/test_service.py"}
    assert {path.name for path in folder.iterdir()} == {
        "app",
        "Containerfile",
        "Makefile",
        "requirements.txt",
        "modelwire-9.9.9-py3-none-any.whl",
    }


def test_what_the_project_imports_is_pinned_as_it_is_installed(write: Write) -> None:
    pins = (write() / "requirements.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==\S+", pin) for pin in pins)
    wanted = {f"{name}=={version(name)}" for name in ("scikit-learn", "scipy", "numpy", "pandas", "pyarrow", "grpcio", "starlette")}
    assert wanted <= set(pins)
    assert not [pin for pin in pins if pin.startswith(("modelwire", "pytest", "ruff"))]


def test_requirements_of_the_project_go_before(write: Write, project: Path) -> None:
    (project / "requirements.txt").write_text("polars==1.0\n")
    assert (write() / "requirements.txt").read_text() == "polars==1.0\n"


def test_requirements_that_are_named_go_before_all(write: Write, project: Path, tmp_path: Path) -> None:
    (project / "requirements.txt").write_text("polars==1.0\n")
    named = tmp_path / "named.txt"
    named.write_text("polars==2.0")
    assert (write(requirements=named) / "requirements.txt").read_text() == "polars==2.0\n"


def test_open_versions_are_told() -> None:
    text = "# comment\nnumpy==2.0\npandas>=2\nscipy\n-r other.txt\nx @ file:///x.whl\nhashed==1 \\\n    --hash=sha256:00\n"
    assert not_pinned(text) == ["pandas>=2", "scipy"]


def test_it_is_built_without_rights_and_says_whether_it_is_well(write: Write) -> None:
    lines = instructions(write())
    last = lines[[index for index, line in enumerate(lines) if line.startswith("FROM")][-1] :]
    assert "USER 1000:1000" in last
    assert "VOLUME /data" in last
    assert any(line.startswith("HEALTHCHECK") for line in last)
    assert 'CMD ["serve", "service.py:runner"]' in last
    assert "ARG VERSION=0" in last


def test_the_tests_of_the_project_run_before_there_is_an_image(write: Write) -> None:
    lines = instructions(write())
    assert "RUN modelwire check service.py:runner" in lines
    assert "RUN python -m pytest -q tests" in lines
    # A stage whose files nobody takes is not built at all.
    assert "COPY --from=tested --chown=1000:1000 /app /app" in lines
    assert lines.index("RUN python -m pytest -q tests") < lines.index("COPY --from=tested --chown=1000:1000 /app /app")


def test_without_tests_it_is_only_checked(write: Write) -> None:
    lines = instructions(write(tests=False))
    assert "RUN modelwire check service.py:runner" in lines
    assert not [line for line in lines if "pytest" in line]


def test_the_health_check_is_a_program(write: Write) -> None:
    (found,) = re.findall(r'CMD \["python", "-c", "(.*)"\]', (write() / "Containerfile").read_text())
    ast.parse(found.replace('\\"', '"'))


def test_what_is_copied_is_there(write: Write) -> None:
    folder = write()
    copied = [line.split()[1:-1] for line in instructions(folder) if line.startswith("COPY") and "--from" not in line]
    sources = [source for one in copied for source in one if not source.startswith("--")]
    assert sources
    assert all((folder / source).exists() for source in sources)


def test_make_knows_every_target(write: Write) -> None:
    make = shutil.which("make")
    assert make
    folder = write()
    for target in ("help", "build", "test", "serve", "smoke", "stop"):
        subprocess.run([make, "--dry-run", target, "ENGINE=podman"], cwd=folder, check=True, capture_output=True)
    shown = subprocess.run([make], cwd=folder, check=True, capture_output=True, text=True).stdout
    assert [line.split()[0] for line in shown.splitlines()] == ["help", "build", "test", "serve", "smoke", "stop"]


def test_names_of_the_project_and_of_python_are_nothing_to_install(project: Path) -> None:
    assert imported_names(project, project.glob("*.py")) == {"numpy", "pandas", "sklearn", "pyarrow"}


def test_an_import_that_nothing_provides_is_told() -> None:
    found, unknown = requirements_of(["numpy", "no_such_module"])
    assert ([one.name for one in found], unknown) == (["numpy"], ["no_such_module"])
    assert pinned(found) == [f"numpy=={version('numpy')}"]
