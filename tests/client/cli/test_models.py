"""The commands of models by name against a real server."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from modelwire import Client, Model

Run = Callable[..., Result]
RunJson = Callable[..., Any]
Program = Callable[..., Any]


@pytest.fixture(scope="session")
def models(target: str) -> tuple[Model, Model]:
    """Two trained models; the first predicts 4, the second 8."""
    with Client(target) as client:
        config = client.configs.create("named", runner="odd")
        first, second = (client.train(config, {"x": [1, 2, 3], "y": [2 * n, 4 * n, 6 * n]}) for n in (1, 2))
        return first.wait(), second.wait()


@pytest.fixture
def name() -> str:
    """The server is shared."""
    return f"numbers-{uuid.uuid4().hex}"


@pytest.fixture
def named(run: Run, name: str, models: tuple[Model, Model]) -> str:
    """A model with two versions, the first of which is production."""
    assert run("models", "register", name, models[0].id, "--alias", "production").stdout == f"{name}/1\n"
    assert run("models", "register", name, models[1].id, "--metric", "accuracy=0.93").stdout == f"{name}/2\n"
    return name


def predicted(run: Run, model: str, numbers: Path) -> str:
    """The last number of the predictions."""
    return run("predict", model, str(numbers)).stdout.strip().rpartition(",")[2]


def test_the_life_of_a_model(run: Run, named: str, numbers: Path) -> None:
    assert [float(predicted(run, by, numbers)) for by in (named, f"{named}/2", f"{named}@production")] == [4, 8, 4]
    assert run("models", "promote", named, "2").stdout == f"{named}@production is {named}/2 now\n"
    assert float(predicted(run, named, numbers)) == 8
    assert run("models", "rollback", named).stdout == f"{named}@production is {named}/1 now\n"
    assert float(predicted(run, named, numbers)) == 4
    assert run("models", "promote", named, "production", "--alias", "staging").stdout == f"{named}@staging is {named}/1 now\n"
    assert run("models", "unalias", named, "staging", "--yes").stdout == f"deleted {named}@staging\n"
    assert run("models", "delete", f"{named}/2", "--yes").stdout == f"deleted {named}/2\n"
    assert run("models", "delete", named, "--yes").stdout == f"deleted {named}\n"
    assert f"there is no model {named}" in run("models", "show", named, exits=3).stderr


def test_tables_of_models_and_versions(run: Run, named: str) -> None:
    head, *rows = run("models", "list").stdout.splitlines()
    assert head.split() == ["NAME", "LATEST", "ALIASES", "TAGS", "AGE", "DESCRIPTION"]
    assert next(row for row in rows if named in row).split()[:4] == [named, "2", "production=1", "-"]
    card, _, versions = run("models", "show", named).stdout.partition("\n\n")
    assert "production=1" in card
    head, second, first = versions.splitlines()
    assert head.split() == ["VERSION", "ALIASES", "STAGE", "METRICS", "ALGORITHM", "AGE", "ARTIFACT"]
    assert second.split()[0] == "2"
    assert "accuracy 0.93" in second
    assert first.split()[:3] == ["1", "production", "-"]


def test_documents(run_json: RunJson, named: str, models: tuple[Model, Model]) -> None:
    shown = run_json("models", "show", named)
    assert (shown["name"], shown["aliases"], shown["latest_version"]) == (named, {"production": 1}, 2)
    assert [version["version"] for version in shown["versions"]] == [2, 1]
    assert {named} <= {model["name"] for model in run_json("models", "list")}
    assert run_json("models", "show", f"{named}@production")["artifact_id"] == models[0].id
    assert run_json("models", "promote", named, "2")["aliases"] == {"production": 2}
    assert run_json("models", "delete", f"{named}/1", "--yes") == {"deleted": f"{named}/1"}


def test_what_is_said_of_a_version(run: Run, run_json: RunJson, name: str, models: tuple[Model, Model]) -> None:
    options = ["--description", "a line", "--tag", "t", "--stage", "staging", "--algorithm", "line", "--predicts", "y"]
    options += ["--feature", "x", "--framework", "none", "--metric", "rmse=1.5", "--metric", "accuracy=1"]
    version = run_json("models", "register", name, models[0].id, *options)
    assert version["metrics"] == {"accuracy": 1, "rmse": 1.5, "rows": 3}
    said = {key: version[key] for key in ("description", "tags", "stage", "algorithm", "target", "features", "framework")}
    assert said == {
        "description": "a line",
        "tags": ["t"],
        "stage": "staging",
        "algorithm": "line",
        "target": "y",
        "features": ["x"],
        "framework": "none",
    }
    shown = run("models", "show", f"{name}/1").stdout
    assert all(text in shown for text in (f"{name}/1", "a line", "staging", "accuracy 1, rmse 1.5, rows 3", models[0].id))
    assert "archived" in run("models", "update", f"{name}/1", "--stage", "archived").stdout
    assert run_json("models", "update", f"{name}/1", "--stage", "none")["stage"] == ""
    assert run_json("models", "update", name, "--description", "lines")["description"] == "lines"


def test_a_gate_is_shown_checked_kept_and_overridden(run: Run, run_json: RunJson, named: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate.toml"
    gate.write_text('required = ["description"]\nschema = "compatible"\n[metrics.accuracy]\nminimum = 0.95\n')
    shown = run("models", "update", named, "--gate", str(gate)).stdout
    assert all(rule in shown for rule in ("metrics.accuracy.minimum 0.95", "required description", "schema compatible"))
    checked = run("models", "promote", named, "2", "--dry-run", exits=1).stdout.splitlines()
    assert any(line.startswith("metrics.accuracy.minimum") and "broken" in line for line in checked)
    assert any(line.startswith("schema") and "kept" in line for line in checked)
    refused = run("models", "promote", named, "2", exits=2).stderr
    assert "does not pass the gate to production" in refused
    assert "--override WHY" in refused
    assert run_json("models", "show", named)["aliases"] == {"production": 1}
    assert run_json("models", "promote", named, "2", "--override", "it must be")["aliases"] == {"production": 2}


@pytest.mark.parametrize(
    ("arguments", "exits", "said"),
    [
        (("rollback", "NAME"), 2, "modelwire models show NAME lists the versions"),
        (("delete", "NAME/1", "--yes"), 2, "modelwire models promote"),
        (("delete", "NAME"), 2, "Forget the model NAME with all its versions and aliases (production=1)?"),
        (("unalias", "NAME", "production"), 2, "Add --yes."),
        (("unalias", "NAME", "none", "--yes"), 3, "has no alias none"),
        (("promote", "NAME", "9"), 3, "has no version 9"),
        (("show", "nobody"), 3, "modelwire models list"),
        (("show", "NAME/"), 2, "NAME/ names no version"),
        (("update", "NAME", "--stage", "staging"), 2, "--stage is a label of versions"),
        (("update", "NAME/1", "--gate", "gate.toml"), 2, "--gate belongs to models"),
        (("register", "NAME", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "--metric", "high"), 2, "--metric high: this is no"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_and_what_to_do(run: Run, named: str, arguments: tuple[str, ...], exits: int, said: str) -> None:
    result = run("models", *(argument.replace("NAME", named) for argument in arguments), exits=exits)
    assert said.replace("NAME", named) in result.stderr.replace("\n", " ")
    assert result.stdout == ""


def test_a_model_that_has_a_name_is_not_deleted(run: Run, named: str, models: tuple[Model, Model]) -> None:
    stderr = run("artifacts", "delete", models[1].id, "--yes", exits=2).stderr
    assert "modelwire models delete forgets a version" in stderr


def test_watching_tells_what_was_and_what_comes(run: Run, program: Program, named: str) -> None:
    with program("models", "watch", named) as watching:
        assert watching.stdout is not None
        told = [watching.stdout.readline() for _ in range(3)]
        assert [line.split("  ", 2)[2] for line in told] == [
            f"{named}/1 registered\n",
            f"{named}@production is {named}/1 now\n",
            f"{named}/2 registered\n",
        ]
        run("models", "promote", named, "2")
        assert watching.stdout.readline().endswith(f"{named}@production is {named}/2 now (was {named}/1)\n")
        run("models", "rollback", named)
        assert watching.stdout.readline().endswith(f"{named}@production is {named}/1 again (was {named}/2)\n")
        run("models", "unalias", named, "production", "--yes")
        assert watching.stdout.readline().endswith(f"{named}@production removed (was {named}/1)\n")
        run("models", "delete", named, "--yes")
        assert watching.stdout.readline().endswith(f"{named} deleted\n")
        watching.send_signal(2)
        assert watching.wait(timeout=30) == 130
        assert watching.stderr is not None
        assert watching.stderr.read() == ""


def test_watching_for_programs(program: Program, client: Client, named: str) -> None:
    last = next(event.sequence for event in client.registry.watch(named) if event.kind == "registered" and event.version == 2)
    with program("models", "watch", named, "--after", str(last), "--json") as watching:
        client.registry.promote(named, 2)
        assert watching.stdout is not None
        event = json.loads(watching.stdout.readline())
        assert (event["kind"], event["name"], event["version"], event["previous_version"]) == ("promoted", named, 2, 1)
        watching.terminate()


def test_models_that_can_predict(run: Run, run_json: RunJson, named: str) -> None:
    words = run("models", "ready", named).stdout.split()
    assert words[4:8] == [f"{named}@production", "ready", "1", "-"]
    (state,) = run_json("models", "ready", f"{named}@production")
    assert (state["model"], state["ready"], state["expected"], state["failed_attempts"]) == (f"{named}@production", True, False, 0)
    assert f"{named}@production" in {one["model"] for one in run_json("models", "ready")}
    assert "has no alias staging" in run("models", "ready", f"{named}@staging", exits=3).stderr


def test_having_models_looked_for(run: Run, run_json: RunJson, named: str) -> None:
    assert run_json("models", "reload", named) == []
    assert f"{named}@production" in run("models", "reload").stdout
    assert "there is no model nobody" in run("models", "reload", "nobody", exits=3).stderr
