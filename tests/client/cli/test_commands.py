"""The commands against a real server."""

import csv
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest
from typer.testing import Result

from modelwire import Client, Model

PROGRAM = [sys.executable, "-m", "modelwire"]

Run = Callable[..., Result]
RunJson = Callable[..., Any]


@pytest.fixture
def model(client: Client) -> Model:
    """A trained model that predicts 4."""
    config = client.configs.create("odd", runner="odd")
    return client.train(config, {"x": [1, 2, 3], "y": [2, 4, 6]}, tags=["mine"]).wait()


def named(test: str) -> str:
    """A name for what one test makes; the server is shared."""
    return f"{test}-{os.getpid()}"


def test_info(run: Run, run_json: RunJson, target: str) -> None:
    assert "diabetes (default), odd, strict" in run("info").stdout
    document = run_json("info")
    assert document["target"] == target
    assert document["health"] == "serving"
    assert document["runners"] == ["diabetes", "odd", "strict"]
    assert set(document["jobs"]) == {"running", "pending"}


def test_runners(run: Run, run_json: RunJson) -> None:
    listed = run("runners").stdout.splitlines()
    assert listed[0].split() == ["ID", "NAME", "VERSION", "PERIODS", "DESCRIPTION"]
    assert listed[1].startswith("diabetes  Diabetes progression")
    described = run("runners", "diabetes").stdout
    assert "alpha" in described
    assert "Strength of the regularization." in described
    assert run_json("runners", "odd")["config_schema"]["properties"]["behaviour"]["enum"] == ["mean", "raise", "wait"]
    assert [runner["id"] for runner in run_json("runners")] == ["diabetes", "odd", "strict"]


def test_an_unknown_runner(run: Run) -> None:
    result = run("runners", "nobody", exits=3)
    assert "nobody" in result.stderr
    assert result.stdout == ""


def test_the_life_of_a_config(run: Run, run_json: RunJson, tmp_path: Path) -> None:
    name = named("life")
    (tmp_path / "p.toml").write_text("alpha = 0.5\nepochs = 7\n")
    made = run_json(
        "configs", "create", name, "--data", str(tmp_path / "p.toml"), "--set", "alpha=0.25", "--tag", "a", "--tag", "b"
    )
    assert made["data"]["alpha"] == 0.25
    assert made["data"]["epochs"] == 7
    assert made["tags"] == ["a", "b"]
    assert run_json("configs", "show", name) == made
    assert made["id"] in run("configs", "list", "--tag", "b").stdout
    changed = run_json("configs", "update", name, "--set", "alpha=1", "--name", f"{name}-2")
    assert (changed["name"], changed["data"]["alpha"], changed["data"]["epochs"]) == (f"{name}-2", 1, 7)
    assert "alpha" in run("configs", "show", made["id"]).stdout
    assert run("configs", "delete", f"{name}-2", "--yes").stdout == f"deleted {made['id']}\n"
    assert made["id"] in run("configs", "show", made["id"], exits=3).stderr
    assert "there is no config named" in run("configs", "show", f"{name}-2", exits=3).stderr


def test_a_config_that_does_not_fit(run: Run) -> None:
    stderr = run("configs", "create", "wrong", "--set", "alpha=-1", "--set", "epochs=many", exits=2).stderr
    assert "data.alpha" in stderr
    assert "data.epochs" in stderr
    assert "modelwire runners diabetes" in stderr


def test_a_name_that_two_configs_have(run: Run, client: Client) -> None:
    first, second = (client.configs.create(named("twice")).id for _ in range(2))
    stderr = run("configs", "show", named("twice"), exits=2).stderr
    assert first in stderr
    assert second in stderr


def test_nothing_is_deleted_without_a_yes(run: Run, client: Client) -> None:
    config = client.configs.create(named("kept"))
    assert "Add --yes." in run("configs", "delete", config.id, exits=2).stderr
    assert client.configs.get(config.id).name == config.name


def test_train_and_predict_in_a_script(run: Run, client: Client, patients: Path, tmp_path: Path) -> None:
    config = client.configs.create(named("script"), {"epochs": 5})
    trained = run("train", config.name, str(patients), "--tag", "cli")
    model_id = trained.stdout.strip()
    assert client.models.get(model_id).tags == ("cli",)
    assert "100% epoch 5  rmse" in trained.stderr
    assert "| trained on 442 rows" in trained.stderr
    piped = run("predict", model_id, str(patients)).stdout
    head, *rows = csv.reader(piped.splitlines())
    assert head[-2:] == ["target", "sample_0"]
    assert len(rows) == 442
    out = tmp_path / "predictions.parquet"
    assert str(out) in run("predict", model_id, str(patients), "--out", str(out)).stderr
    assert pyarrow.parquet.read_table(out).num_rows == 442


def test_training_without_config_makes_one(run: Run, run_json: RunJson, numbers: Path) -> None:
    job = run_json("train", str(numbers), "--set", "note=hello", "--runner", "odd", "--name", named("inline"))
    assert job["status"] == "completed"
    config = run_json("configs", "show", job["config_id"])
    assert config["name"] == named("inline")
    assert config["data"]["note"] == "hello"
    assert run("train", str(numbers), "--runner", "odd", "--no-wait").stderr.startswith("made config numbers-")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["v1", "{data}", "--set", "a=1"], "make a config of their own"),
        (["a", "b", "c"], "too many arguments"),
        (["no-such-file.csv"], "there is no file"),
        (["{data}", "--geo", "no-such-file.json"], "cannot be read"),
    ],
)
def test_what_train_refuses_before_it_calls_the_server(run: Run, numbers: Path, arguments: list[str], complaint: str) -> None:
    assert complaint in run("train", *(a.format(data=numbers) for a in arguments), exits=2).stderr


def test_columns_that_the_runner_misses(run: Run, numbers: Path) -> None:
    stderr = run("train", str(numbers), "--runner", "strict", exits=2).stderr
    assert "rainfall" in stderr
    assert "modelwire runners RUNNER shows the columns" in stderr


def test_a_job_that_fails(run: Run, run_json: RunJson, numbers: Path) -> None:
    failed = run("train", str(numbers), "--runner", "odd", "--set", "behaviour=raise", exits=1)
    assert failed.stdout == ""
    assert "ValueError: no luck today" in failed.stderr
    assert "| looking at [brackets]" in failed.stderr
    job = run_json("jobs", "list", "--status", "failed", "--limit", "1")[0]
    shown = run("jobs", "show", job["id"]).stdout
    assert "Traceback" in shown
    watched = run("jobs", "watch", job["id"], exits=1)
    assert "failed" in watched.stdout
    events = [json.loads(line) for line in run("jobs", "watch", job["id"], "--json", exits=1).stdout.splitlines()]
    assert [event["sequence"] for event in events] == list(range(1, job["last_sequence"] + 1))
    assert {"state", "stage", "log", "metric", "progress"} <= {event["kind"] for event in events}
    assert events[-1]["status"] == "failed"
    later = run("jobs", "watch", job["id"], "--json", "--after", str(job["last_sequence"] - 1), exits=1).stdout
    assert json.loads(later) == events[-1]


def test_predictions_as_json_and_from_standard_input(run: Run, model: Model) -> None:
    result = run("predict", model.id, "-", "--json", stdin="x\n7\n")
    assert json.loads(result.stdout) == {"model": model.id, "rows": 1, "predictions": [{"x": 7, "sample_0": 4.0}]}
    # A leading zero makes a text of it, and the model was trained on numbers.
    assert "was int64 in the training and is string here" in run("predict", model.id, "-", stdin="x\n07\n", exits=2).stderr


def test_a_model_tells_its_columns(run: Run, run_json: RunJson, model: Model) -> None:
    shown = run("artifacts", "show", model.id).stdout
    assert "2 columns, see below" in shown
    table = [line.split() for line in shown.splitlines()[-3:]]
    assert table == [["TRAINED", "ON", "TYPE", "REMARKS"], ["x", "int64", "-"], ["y", "int64", "-"]]
    signature = run_json("artifacts", "show", model.id)["metadata"]["signature"]
    assert signature["inputs"][0] == {"name": "x", "type": "int64", "nullable": False}


def test_a_prediction_as_a_job(run: Run, run_json: RunJson, model: Model, numbers: Path, tmp_path: Path) -> None:
    out = tmp_path / "predictions.csv"
    made = run("predict", model.id, str(numbers), "--job", "--historic", str(numbers), "--tag", "kept", "--out", str(out))
    prediction = run_json("artifacts", "show", made.stdout.strip())
    assert (prediction["parent_id"], prediction["tags"]) == (model.id, ["kept"])
    assert pyarrow.csv.read_csv(out)["sample_0"].to_pylist() == [4, 4, 4]
    tree = run("artifacts", "tree", model.id).stdout.splitlines()
    assert tree[0].startswith(f"ml_training  {model.id}  odd, ")
    assert tree[0].endswith("#mine")
    assert tree[1].startswith(f"└── ml_prediction  {prediction['id']}")
    assert run_json("artifacts", "tree", model.id)["children"][0]["id"] == prediction["id"]
    assert prediction["id"] in [child["id"] for child in run_json("artifacts", "list", "--parent", model.id)]


def test_options_of_jobs_need_job(run: Run, model: Model, numbers: Path) -> None:
    assert "belong to --job" in run("predict", model.id, str(numbers), "--tag", "x", exits=2).stderr


def test_an_unknown_model(run: Run, numbers: Path) -> None:
    stderr = run("predict", "01J8Z6N4RS0QGJ9E2T3W5X7Y9A", str(numbers), exits=3).stderr
    assert "modelwire artifacts list --type ml_training" in stderr


def test_datasets_there_and_back(run: Run, run_json: RunJson, tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text("code,n\n007,1\n")
    made = run_json("artifacts", "upload", str(tmp_path / "codes.csv"), "--metadata", "source=hospital", "--tag", "raw")
    assert made["type"] == "dataset"
    assert made["metadata"] == {"filename": "codes.csv", "source": "hospital"}
    out = tmp_path / "back.csv"
    run("artifacts", "download", made["id"], "--out", str(out))
    assert list(csv.reader(out.read_text().splitlines())) == [["code", "n"], ["007", "1"]]
    assert f"dataset  {made['id']}  uploaded" in run("artifacts", "tree").stdout
    assert "hospital" in run("artifacts", "show", made["id"]).stdout
    run("artifacts", "delete", made["id"], "--yes")
    run("artifacts", "show", made["id"], exits=3)


def test_files_there_and_back(run: Run, run_json: RunJson, model: Model, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("good")
    made = run_json("artifacts", "upload", str(tmp_path / "notes.txt"), "--type", "note", "--parent", model.id)
    assert (made["type"], made["content_type"], made["parent_id"]) == ("note", "text/plain", model.id)
    assert run("artifacts", "download", made["id"], "--out", "-").stdout == "good"
    folder = tmp_path / "folder"
    folder.mkdir()
    written = run_json("artifacts", "download", model.id, "--out", str(folder))
    assert pickle.loads(Path(written["path"]).read_bytes()) == 4.0
    assert "there is no file" in run("artifacts", "upload", str(tmp_path / "none"), exits=2).stderr


def test_jobs_are_listed_and_forgotten(run: Run, run_json: RunJson, model: Model, client: Client) -> None:
    job = run_json("jobs", "list", "--runner", "odd", "--kind", "train")[0]
    assert job["artifact_id"] == model.id
    assert job["id"] in run("jobs", "list", "--status", "completed", "--limit", "1000").stdout
    assert run("jobs", "cancel", job["id"]).stdout == f"{job['id']} is completed\n"
    run("jobs", "delete", job["id"], "--yes")
    assert "modelwire jobs list" in run("jobs", "show", job["id"], exits=3).stderr
    assert client.models.get(model.id).id == model.id


def test_a_wrong_state_is_refused_with_the_right_ones(run: Run) -> None:
    assert "completed" in run("jobs", "list", "--status", "done", exits=2).stderr


def test_a_broken_pipe_is_no_traceback(target: str) -> None:
    listing = subprocess.Popen([*PROGRAM, "--target", target, "runners"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert listing.stdout is not None
    assert listing.stderr is not None
    listing.stdout.close()
    with listing.stderr as stderr:
        assert b"Traceback" not in stderr.read()
    listing.wait(timeout=30)
