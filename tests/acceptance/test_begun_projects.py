"""What `modelwire init` begins in R and in the shell trains and predicts as it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from programs import require, require_r
from serving import EXAMPLES, ServerProcess
from workspaces import files_of, monthly_cases

from modelwire import Client
from modelwire.events import MetricEvent, ProgressEvent
from modelwire_server.scaffold import HERE


def modelwire(*arguments: str, folder: Path) -> str:
    program = [sys.executable, "-m", "modelwire", *arguments]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("template", "kept"), [("r", "model.rds"), ("shell", "means.csv")])
def test_a_begun_project_works_as_it_is(tmp_path: Path, template: str, kept: str) -> None:
    require_r("yaml") if template == "r" else require("awk", "sed")
    modelwire("init", "rain-forecast", "--template", template, folder=tmp_path)
    project = tmp_path / "rain-forecast"
    assert all("$title" not in path.read_text() for path in project.rglob("*") if path.is_file())
    assert "nothing is wrong" in modelwire("check", "rain_forecast.py:runner", "--sample", folder=project)

    with (
        ServerProcess(f"{project / 'rain_forecast.py'}:runner", data_dir=tmp_path / "data") as server,
        Client(server.target) as client,
    ):
        job = client.train(client.configs.create("first", {}), monthly_cases("seen"))
        model = job.wait(timeout=60)
        events = list(job.watch())
        assert [event.fraction for event in events if isinstance(event, ProgressEvent)][-1] == 1
        assert any(isinstance(event, MetricEvent) for event in events)
        assert kept in files_of(client, model.id)
        predicted = model.predict(monthly_cases("unseen").drop_columns("disease_cases"))
        assert min(predicted["sample_0"].to_pylist()) > 0


def test_the_example_has_the_snippet_of_the_scaffold() -> None:
    assert (EXAMPLES / "shell_r" / "modelwire.R").read_bytes() == (HERE / "r" / "modelwire.R").read_bytes()


def test_the_snippet_for_shells_makes_json_of_any_text(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = '. ./modelwire.sh; modelwire_log "$1" WARNING; modelwire_progress 0.5 "$1"; modelwire_metric "$1" -1.5e-3 7'
    text = 'a "quoted" \\ text,\twith ünïcödé\nand a second line'
    command = ["sh", "-c", script, "sh", text]
    subprocess.run(command, cwd=HERE / "shell", check=True, env={"PATH": "/usr/bin:/bin", "MODELWIRE_PROGRESS_FILE": str(told)})
    log, progress, metric = (json.loads(line) for line in told.read_text().splitlines())
    one_line = text.replace("\t", " ").replace("\n", " ")
    assert log == {"log": one_line, "level": "WARNING"}
    assert progress == {"progress": 0.5, "message": one_line}
    assert metric == {"metric": one_line, "value": -1.5e-3, "step": 7}


def test_the_snippet_for_r_makes_json_of_any_text(tmp_path: Path) -> None:
    require_r()
    told = tmp_path / "told"
    script = """
        source("modelwire.R"); text <- commandArgs(trailingOnly = TRUE)[1]
        modelwire_log(text, "WARNING"); modelwire_progress(0.5, text); modelwire_metric(text, -1.5e-3, step = 7L)
        modelwire_metric("none", NaN); modelwire_metric("large", 1e300)
    """
    text = 'a "quoted" \\ text,\twith ünïcödé\nand a second line'
    variables = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MODELWIRE_PROGRESS_FILE": str(told)}
    subprocess.run(["Rscript", "-e", script, text], cwd=HERE / "r", check=True, env=variables)
    log, progress, metric, none, large = (json.loads(line) for line in told.read_text(encoding="utf-8").splitlines())
    one_line = text.replace("\t", " ").replace("\n", " ")
    assert log == {"log": one_line, "level": "WARNING"}
    assert progress == {"progress": 0.5, "message": one_line}
    assert metric == {"metric": one_line, "value": -1.5e-3, "step": 7}
    assert (none["value"], large["value"]) == (None, 1e300)
