"""Beginning a project."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

Modelwire = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.slow
def test_a_new_project_works_as_it_is(modelwire: Modelwire, tmp_path: Path) -> None:
    said = modelwire("init", "rain-forecast").stdout
    project = tmp_path / "rain-forecast"
    assert "modelwire serve rain_forecast.py:runner" in said
    files = sorted(str(path.relative_to(project)) for path in project.rglob("*") if path.is_file())
    assert files == [".gitignore", "README.md", "pyproject.toml", "rain_forecast.py", "tests/test_rain_forecast.py"]
    assert all("$" not in path.read_text() for path in project.rglob("*") if path.is_file())
    described = tomllib.loads((project / "pyproject.toml").read_text())
    assert described["project"]["entry-points"]["modelwire.runners"] == {"rain-forecast": "rain_forecast:runner"}

    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=project,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tests.returncode == 0, tests.stdout
    assert "2 passed" in tests.stdout
    checked = modelwire("check", "rain_forecast.py:runner", "--sample", folder=project)
    assert checked.stdout == "ok  rain-forecast 0.1.0: nothing is wrong\n"


def test_what_it_writes_is_formatted(modelwire: Modelwire, tmp_path: Path) -> None:
    modelwire("init", "tidy")
    ruff = str(Path(sys.executable).parent / "ruff")
    for command in (["check", "--select=B,E,F,I,UP,W"], ["format", "--check"]):
        done = subprocess.run(
            [ruff, *command, "--isolated", "--line-length=120", "."],
            cwd=tmp_path / "tidy",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_another_folder_and_json(modelwire: Modelwire, tmp_path: Path) -> None:
    made = json.loads(modelwire("init", "my-model", "--folder", str(tmp_path / "deep" / "down"), "--json").stdout)
    assert made["folder"] == str(tmp_path / "deep" / "down" / "my-model")
    assert all(Path(file).is_file() for file in made["files"])


@pytest.mark.parametrize("name", ["My Model", "my_model", "1st", "-x", "a--b", "../up", ""])
def test_names_that_are_no_ids(modelwire: Modelwire, tmp_path: Path, name: str) -> None:
    assert "is no runner id" in modelwire("init", "--", name, exits=2).stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(modelwire: Modelwire, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert "is there already" in modelwire("init", "mine", exits=2).stderr
    assert list((tmp_path / "mine").iterdir()) == []
