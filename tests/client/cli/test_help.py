"""What the program says of itself."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from modelwire._version import __version__
from modelwire.cli.main import app

HEAVY = ("grpc", "google.protobuf", "pyarrow", "pandas", "numpy", "sqlalchemy", "structlog", "modelwire_runners")


def commands(group: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    context = typer.Context(group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found += commands(command, (*path, name)) if hasattr(command, "list_commands") else [(*path, name)]
    return found


ALL = commands(typer.main.get_command(app))


def test_all_commands_are_there() -> None:
    assert {"serve", "check", "init", "demo", "info", "runners", "train", "predict"} <= {path[0] for path in ALL}
    assert {verb for group, *verbs in ALL if group == "jobs" for verb in verbs} == {"list", "show", "watch", "cancel", "delete"}
    assert {verb for group, *verbs in ALL if group == "configs" for verb in verbs} == {"list", "show", "create", "update", "delete"}
    models = {verb for group, *verbs in ALL if group == "models" for verb in verbs}
    expected = {
        "list",
        "show",
        "register",
        "promote",
        "rollback",
        "unalias",
        "update",
        "delete",
        "watch",
        "score",
        "ready",
        "reload",
    }
    assert expected <= models
    predictors = {verb for group, *verbs in ALL if group == "predictors" for verb in verbs}
    assert predictors == {"list", "show", "predict", "score", "ready"}
    artifacts = {verb for group, *verbs in ALL if group == "artifacts" for verb in verbs}
    assert artifacts == {"list", "tree", "show", "download", "upload", "delete"}


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_help_has_an_example_and_the_option_json(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "160"})
    assert result.exit_code == 0
    examples = result.stdout.partition("Examples")[2]
    assert f"$ modelwire {' '.join(path)}" in examples
    assert "--json" in result.stdout


def test_the_help_groups_commands_in_panels() -> None:
    result = CliRunner().invoke(app, ["--help"])
    places = [result.stdout.index(panel) for panel in ("Serve models", "Train and predict", "Look and manage", "First steps")]
    assert places == sorted(places)


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"modelwire {__version__}\n"


def test_a_typo_gets_a_suggestion() -> None:
    result = CliRunner().invoke(app, ["jobs", "lst"])
    assert result.exit_code == 2
    assert "Did you mean 'list'?" in result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["jobs", "watch", "--help"], ["serve", "--help"]], ids=" ".join)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from modelwire.cli.main import app
try:
    app({arguments!r})
finally:
    print("loaded:", [name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("loaded: []\n")


def plug_in(folder: Path, name: str, code: str) -> dict[str, str]:
    """An installed package with one command; the environment in which it is found."""
    (folder / f"{name}_commands.py").write_text(code)
    info = folder / f"{name}_commands-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {name}-commands\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[modelwire.commands]\n{name} = {name}_commands:{name}\n")
    return {**os.environ, "PYTHONPATH": str(folder)}


def modelwire(*arguments: str, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "modelwire", *arguments], capture_output=True, text=True, env=env, check=False)


def test_other_packages_add_commands(tmp_path: Path) -> None:
    code = (
        'import typer\ndef greet(name: str, loud: bool = False) -> None:\n    """Say hello."""\n    typer.echo(f"hello {name}")\n'
    )
    env = plug_in(tmp_path, "greet", code)
    assert "Say hello." in modelwire("--help", env=env).stdout
    assert modelwire("greet", "world", env=env).stdout == "hello world\n"


def test_a_command_that_cannot_be_imported_does_no_harm_to_the_others(tmp_path: Path) -> None:
    env = plug_in(tmp_path, "broken", "import a_module_that_is_not_there\n")
    shown = modelwire("--help", env=env)
    assert shown.returncode == 0
    assert "a_module_that_is_not_there" in shown.stdout
    failed = modelwire("broken", env=env)
    assert failed.returncode == 2
    assert "`modelwire broken` cannot be loaded" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_shells(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "modelwire"],
        env={**os.environ, "_MODELWIRE_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "modelwire jo", **WORDS[shell]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "jobs" in done.stdout


WORDS = {
    "bash": {"COMP_WORDS": "modelwire jo", "COMP_CWORD": "1"},
    "zsh": {},
    "fish": {"_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}
