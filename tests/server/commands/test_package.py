"""Writing what an image is built from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Modelwire = Callable[..., Any]


@pytest.fixture
def wheel(tmp_path: Path) -> str:
    (tmp_path / "modelwire-9.9.9-py3-none-any.whl").write_bytes(b"")
    return "modelwire-9.9.9-py3-none-any.whl"


def test_a_new_project_can_be_packaged(modelwire: Modelwire, wheel: str, tmp_path: Path) -> None:
    modelwire("init", "rain-forecast")
    told = modelwire("package", "rain-forecast/rain_forecast.py:runner", "--wheel", wheel, "--version", "1.4.0").stdout
    assert "make -C image build" in told
    assert (tmp_path / "image" / "app" / "rain_forecast.py").is_file()
    assert "VERSION ?= 1.4.0" in (tmp_path / "image" / "Makefile").read_text()
    assert 'CMD ["serve", "rain_forecast.py:runner"]' in (tmp_path / "image" / "Containerfile").read_text()


def test_what_is_to_be_looked_at_is_told(modelwire: Modelwire, wheel: str, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("import no_such_module\n")
    found = modelwire("package", "service.py:runner", "--wheel", wheel, "--output", "here", "--name", "My Model", "--json").stdout
    document = json.loads(found)
    assert document["name"] == "my-model"
    assert document["notes"] == ["nothing that is installed here provides the module no_such_module, which is imported"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["package.module:runner"], "is no file"),
        (["missing.py:runner"], "there is no file missing.py"),
        (["service.py:runner", "other/service.py:runner"], "several folders"),
        (["service.py:runner", "--wheel", "missing.whl"], "there is no file missing.whl"),
        (["service.py:runner", "--output", "other"], "other is there already"),
    ],
)
def test_mistakes_are_told(modelwire: Modelwire, tmp_path: Path, arguments: list[str], told: str) -> None:
    (tmp_path / "other").mkdir()
    for folder in (tmp_path, tmp_path / "other"):
        (folder / "service.py").write_text("")
    assert told in modelwire("package", *arguments, exits=2).stderr
    assert not (tmp_path / "image").exists()
