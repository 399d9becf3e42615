"""Values that people type."""

from pathlib import Path

import pytest

from modelwire.cli.ends import Stop
from modelwire.cli.values import is_id, read_parameters, settings_of


def test_settings_are_json_or_text() -> None:
    pairs = [
        "alpha=0.1",
        "name=two words",
        'features=["a", "b"]',
        "deep=true",
        "none=null",
        "tree.depth=3",
        "tree.kind=x=y",
        "zip=007",
    ]
    assert settings_of(pairs) == {
        "alpha": 0.1,
        "name": "two words",
        "features": ["a", "b"],
        "deep": True,
        "none": None,
        "tree": {"depth": 3, "kind": "x=y"},
        "zip": "007",
    }


def test_settings_are_laid_over_others_and_leave_them_alone() -> None:
    base = {"alpha": 1, "tree": {"depth": 3, "kind": "a"}}
    assert settings_of(["tree.depth=5"], base) == {"alpha": 1, "tree": {"depth": 5, "kind": "a"}}
    assert base == {"alpha": 1, "tree": {"depth": 3, "kind": "a"}}


@pytest.mark.parametrize("pair", ["alpha", "=1", "tree..depth=1", ".a=1", "alpha=1 alpha.x=2"])
def test_what_is_no_setting_is_refused(pair: str) -> None:
    with pytest.raises(Stop, match="--set"):
        settings_of(pair.split(" "))


def test_files_of_parameters(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"alpha": 1}')
    (tmp_path / "a.toml").write_text("alpha = 1\n[tree]\ndepth = 3\n")
    assert read_parameters(tmp_path / "a.json") == {"alpha": 1}
    assert read_parameters(tmp_path / "a.toml") == {"alpha": 1, "tree": {"depth": 3}}
    assert read_parameters(None) == {}


@pytest.mark.parametrize(("name", "text"), [("a.json", "{"), ("a.json", "[1]"), ("a.toml", "=")])
def test_files_that_hold_no_parameters(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Stop):
        read_parameters(tmp_path / name)
    with pytest.raises(Stop, match="cannot be read"):
        read_parameters(tmp_path / "none.json")


def test_ids() -> None:
    assert is_id("01J8Z6N4RS0QGJ9E2T3W5X7Y9A")
    assert not is_id("v1")
    assert not is_id("81J8Z6N4RS0QGJ9E2T3W5X7Y9A")
