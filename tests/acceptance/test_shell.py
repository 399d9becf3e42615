"""Scripts of any language as models: what they leave is kept, what they say is heard, and a failure explains itself."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from programs import require_r
from serving import EXAMPLES, ServerProcess
from workspaces import DATA, FUTURE, SCRIPTED, files_of, monthly_cases, snapshot, submit, texts_of

from modelwire import Client, JobFailed, ModelwireError
from modelwire.events import LogEvent, MetricEvent, ProgressEvent

POINT = {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": None}]}
LITTER = (".git/HEAD", ".venv/bin/python", "node_modules/left-pad/index.js", "lib/__pycache__/x.pyc", "drafts/old.txt", "notes.db")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the scripts, and things in it that no workspace needs."""
    folder = tmp_path_factory.mktemp("projects") / "shell_project"
    shutil.copytree(SCRIPTED, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for litter in LITTER:
        (folder / litter).parent.mkdir(parents=True, exist_ok=True)
        (folder / litter).write_text("litter")
    (folder / ".modelwireignore").write_text("drafts/\n")
    return folder


@pytest.fixture(scope="module")
def server(project: Path) -> Iterator[ServerProcess]:
    """A server that keeps its data inside of the project, where none of it may get into a workspace."""
    targets = [f"{project / 'scripted.py'}:{name}" for name in ("runner", "nested")]
    with ServerProcess(*targets, data_dir=project / "kept") as server:
        yield server


def scripts_of(project: Path) -> dict[str, tuple[bytes, int]]:
    return {path: found for path, found in snapshot(project).items() if not path.startswith(("kept/", "__pycache__/"))}


def test_the_workspace_is_the_model(client: Client, project: Path) -> None:
    before = scripts_of(project)
    model = submit(client).wait(timeout=30)
    files = texts_of(client, model.id)
    assert files["model/answer.txt"] == "42\n"
    assert files["model/deep/arguments.txt"] == "arguments data.csv \n"
    assert files["notes.txt"] == "written by hand\nchanged by a training\n"
    assert "behaviour: mean\n" in files["config.yml"]
    assert {"train.sh", "predict.sh", "lib/settings.sh", "data.csv"} <= files.keys()
    assert not {path for path in files if path.startswith("kept/")}
    assert not any("litter" in text for text in files.values())
    assert model.predict(FUTURE).to_pydict() == {**FUTURE, "sample_0": [42, 42]}
    assert scripts_of(project) == before


def test_every_job_has_a_folder_of_its_own(client: Client) -> None:
    folders = {texts_of(client, submit(client).wait(timeout=30).id)["model/deep/folder.txt"] for _ in range(2)}
    assert len(folders) == 2
    assert not any(Path(folder.strip()).exists() for folder in folders)


def test_codes_stay_codes_on_the_way_there_and_back(client: Client) -> None:
    model = submit(client).wait(timeout=30)
    assert files_of(client, model.id)["data.csv"].splitlines()[1].split(b",")[1].strip(b'"') == b"001"
    assert model.predict(FUTURE)["code"].to_pylist() == ["001", "010"]


def test_geo_reaches_the_script_if_it_is_given(client: Client) -> None:
    files = texts_of(client, submit(client, geo=POINT).wait(timeout=30).id)
    assert files["model/deep/arguments.txt"] == "arguments data.csv geo.json\n"
    assert '"FeatureCollection"' in files["geo.json"]


def test_a_prediction_as_a_job_is_a_child_of_its_model(client: Client) -> None:
    model = submit(client).wait(timeout=30)
    prediction = model.submit_prediction(FUTURE, DATA).wait(timeout=30)
    assert prediction.frame().to_pydict() == {**FUTURE, "sample_0": [42, 42]}
    assert prediction.parent_id == model.id


def test_the_past_may_be_empty(client: Client) -> None:
    job = submit(client).wait(timeout=30).submit_prediction(FUTURE)
    job.wait(timeout=30)
    lines = [event.text for event in job.watch() if isinstance(event, LogEvent)]
    assert lines == ["predicting with historic.csv future.csv predictions.csv ", "rows of the past: 0"]


def test_a_prediction_is_told_the_periods_that_it_is_asked_for(client: Client) -> None:
    model = submit(client, predicting="horizon").wait(timeout=30)
    assert [model.predict(FUTURE, run_info={"prediction_periods": n})["sample_0"].to_pylist() for n in (2, 5)] == [[2, 2], [5, 5]]


def test_a_model_keeps_the_scripts_that_it_was_trained_with(client: Client, project: Path) -> None:
    model = submit(client).wait(timeout=30)
    script = (project / "predict.sh").read_text()
    (project / "predict.sh").write_text("exit 9\n")
    try:
        assert model.predict(FUTURE)["sample_0"].to_pylist() == [42, 42]
    finally:
        (project / "predict.sh").write_text(script)


def test_the_nested_layout_of_the_config_has_aliases_as_keys(client: Client) -> None:
    data = {"time_period": ["2024-01", "2024-12"], "place": ["a", "b"]}
    model = client.train(client.configs.create("nested", {"n-lags": 6}, runner="nested"), data).wait(timeout=30)
    files = texts_of(client, model.id)
    assert yaml.safe_load(files["told.yml"]) == {
        "prediction_periods": 3,
        "additional_continuous_covariates": [],
        "user_option_values": {"behaviour": "mean", "n-lags": 6},
    }
    assert files["seen.csv"].splitlines() == ["time_period,place,where,y,m", "2024-01,a,a,2024,1", "2024-12,b,b,2024,12"]


def test_a_script_that_exits_with_3_leaves_what_is_needed_to_see_why(client: Client) -> None:
    job = submit(client, behaviour="fail")
    with pytest.raises(JobFailed) as failure:
        job.wait(timeout=30)
    assert "exit code 3" in str(failure.value)
    assert "the loss is not a number" in str(failure.value)

    left = client.artifacts.get(job.artifact_id)
    assert left.type == "ml_training_workspace"
    assert left.metadata["status"] == "failed"
    assert left.metadata["exit_code"] == 3
    assert "training on data.csv" in left.metadata["stdout"]
    assert "the loss is not a number" in left.metadata["stderr"]
    files = texts_of(client, left.id)
    assert files["logs/training.log"] == "epoch 1: loss 12.5\n"
    assert "model/answer.txt" not in files
    with pytest.raises(ModelwireError):
        client.predict(left.id, FUTURE)


def test_what_is_left_can_be_looked_at_from_a_terminal(client: Client, server: ServerProcess, tmp_path: Path) -> None:
    job = submit(client, behaviour="fail")
    with pytest.raises(JobFailed):
        job.wait(timeout=30)
    download = ["artifacts", "download", job.artifact_id, "--out", "left.zip", "--target", server.target]
    subprocess.run([sys.executable, "-m", "modelwire", *download], cwd=tmp_path, check=True, capture_output=True)
    with zipfile.ZipFile(tmp_path / "left.zip") as archive:
        assert archive.read("logs/training.log") == b"epoch 1: loss 12.5\n"


def test_a_prediction_that_fails_leaves_its_workspace_too(client: Client) -> None:
    model = submit(client, predicting="fail").wait(timeout=30)
    job = model.submit_prediction(FUTURE)
    with pytest.raises(JobFailed, match="no answer today") as failure:
        job.wait(timeout=30)
    assert "exit code 4" in str(failure.value)
    left = client.artifacts.get(job.artifact_id)
    assert (left.type, left.parent_id, left.metadata["exit_code"]) == ("ml_prediction_workspace", model.id, 4)
    assert "future.csv" in files_of(client, left.id)


def test_a_prediction_at_once_that_fails_tells_why(client: Client) -> None:
    model = submit(client, predicting="fail").wait(timeout=30)
    with pytest.raises(ModelwireError, match="no answer today"):
        model.predict(FUTURE)


def test_a_prediction_without_output_names_the_file(client: Client) -> None:
    model = submit(client, predicting="silent").wait(timeout=30)
    with pytest.raises(JobFailed, match=r"predictions\.csv"):
        model.submit_prediction(FUTURE).wait(timeout=30)


def test_lines_and_progress_are_seen_while_the_script_runs(client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    job = submit(client, behaviour="gate", gate=str(gate))
    seen: list[object] = []
    for event in job.watch():
        seen.append(event)
        if any(isinstance(e, ProgressEvent) for e in seen) and any(isinstance(e, LogEvent) for e in seen):
            break
    assert client.jobs.get(job.id).status == "running"
    gate.write_text("go on\n")
    job.wait(timeout=30)
    (progress,) = (event for event in job.watch() if isinstance(event, ProgressEvent))
    assert (progress.fraction, progress.message) == (0.25, "at the gate")
    assert any(isinstance(event, LogEvent) and event.text == "training on data.csv" for event in seen)


def test_lines_that_are_no_reports_do_no_harm(client: Client) -> None:
    job = submit(client, behaviour="nonsense")
    job.wait(timeout=30)
    events = list(job.watch())
    assert [(e.name, e.value, e.step) for e in events if isinstance(e, MetricEvent)] == [("rmse", 1.5, 2)]
    assert [e.level for e in events if isinstance(e, LogEvent) and e.text == "still here"] == ["WARNING"]


def test_a_script_knows_its_job_its_deadline_and_what_is_asked(client: Client) -> None:
    config = client.configs.create("test", {"behaviour": "told"}, runner="scripted")
    job = client.train(config, DATA, timeout=60, run_info={"prediction_periods": 5})
    job_id, deadline, run_info = texts_of(client, job.wait(timeout=30).id)["model/told.txt"].splitlines()
    assert job_id == job.id
    assert deadline.startswith("20")
    assert '"prediction_periods"' in run_info


def test_r_trains_and_predicts_and_is_heard_while_it_does(tmp_path: Path) -> None:
    require_r("yaml")
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    shutil.copytree(EXAMPLES / "shell_r", tmp_path / "shell_r")
    script = tmp_path / "shell_r" / "train.R"
    last_step = "saveRDS("
    assert last_step in script.read_text()
    wait = f'cat("waiting\\n"); invisible(readLines("{gate}"))\n'
    script.write_text(script.read_text().replace(last_step, wait + last_step))

    target = f"{tmp_path / 'shell_r' / 'shell_r.py'}:runner"
    with ServerProcess(target, data_dir=tmp_path / "data") as server, Client(server.target) as client:
        job = client.train(client.configs.create("r", {}), monthly_cases("seen"))
        before = []
        for event in job.watch():
            before.append(event)
            if isinstance(event, LogEvent) and event.text == "waiting":
                break
        assert client.jobs.get(job.id).status == "running"
        gate.write_text("go on\n")
        model = job.wait(timeout=60)
        events = list(job.watch())
        assert [event.step for event in events if isinstance(event, MetricEvent) and event.name == "rmse"] == [1, 2, 3, 4]
        assert [event.fraction for event in events if isinstance(event, ProgressEvent)] == [0.2, 0.4, 0.6, 0.8, 1.0]
        assert model.predict(monthly_cases("unseen").drop_columns("disease_cases"))["sample_0"].to_pylist()[0] > 0
        assert "model.rds" in files_of(client, model.id)
