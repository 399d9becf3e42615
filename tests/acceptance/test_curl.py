"""Whole workflows with nothing but curl and jq, as people type them, with and without a content type."""

import csv
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import require
from serving import EXAMPLES, ServerProcess


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    require("bash", "curl", "jq")
    with ServerProcess(f"{EXAMPLES / 'disease.py'}:runner", data_dir=tmp_path_factory.mktemp("data")) as server:
        yield server


class Shell:
    """A shell in a folder of its own, in which the server listens on port 8000."""

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self.folder = folder

    def run(self, script: str) -> str:
        """What a script prints. Fails with its first command that does."""
        code = script.replace("localhost:8000", f"localhost:{self._port}")
        command = ["bash", "-euo", "pipefail", "-c", code]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def shell(service: ServerProcess, tmp_path: Path) -> Shell:
    return Shell(service.http_port, tmp_path)


def events(stream: str) -> list[Any]:
    return [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line]


WORKFLOW = r"""
CONFIG_ID=$(curl -s -X POST http://localhost:8000/api/v1/configs \
  -H "Content-Type: application/json" \
  -d '{"name": "weather_model", "data": {}}' | jq -r '.id')

TRAIN_RESPONSE=$(curl -s -X POST http://localhost:8000/api/v1/ml/\$train \
  -H "Content-Type: application/json" \
  -d '{
    "config_id": "'$CONFIG_ID'",
    "data": {
      "columns": ["rainfall", "mean_temperature", "disease_cases"],
      "data": [[10.0, 25.0, 5.0], [15.0, 28.0, 8.0], [8.0, 22.0, 3.0], [20.0, 30.0, 12.0], [12.0, 26.0, 6.0]]
    }
  }')
JOB_ID=$(echo $TRAIN_RESPONSE | jq -r '.job_id')
MODEL_ARTIFACT_ID=$(echo $TRAIN_RESPONSE | jq -r '.artifact_id')

curl -sN http://localhost:8000/api/v1/jobs/$JOB_ID/\$stream > training.txt
curl -s http://localhost:8000/api/v1/artifacts/$MODEL_ARTIFACT_ID | jq > model.json

PREDICT_RESPONSE=$(curl -s -X POST http://localhost:8000/api/v1/ml/\$predict \
  -H "Content-Type: application/json" \
  -d '{
    "artifact_id": "'$MODEL_ARTIFACT_ID'",
    "historic": {"columns": ["rainfall", "mean_temperature"], "data": []},
    "future": {"columns": ["rainfall", "mean_temperature"], "data": [[11.0, 26.0], [14.0, 27.0], [9.0, 24.0]]}
  }')
PRED_JOB_ID=$(echo $PREDICT_RESPONSE | jq -r '.job_id')
PRED_ARTIFACT_ID=$(echo $PREDICT_RESPONSE | jq -r '.artifact_id')

curl -sN http://localhost:8000/api/v1/jobs/$PRED_JOB_ID/\$stream > predicting.txt
curl -s http://localhost:8000/api/v1/artifacts/$PRED_ARTIFACT_ID | jq '.data.content' > predictions.json
echo $PRED_ARTIFACT_ID
"""


def test_the_complete_workflow(shell: Shell) -> None:
    prediction_id = shell.run(WORKFLOW).strip()
    training = events((shell.folder / "training.txt").read_text())
    assert training[-1]["status"] == "completed"
    model = json.loads((shell.folder / "model.json").read_text())
    assert (model["id"], model["level"], model["parent_id"]) == (training[-1]["artifact_id"], 0, None)
    assert model["data"]["metadata"]["status"] == "success"
    predicting = events((shell.folder / "predicting.txt").read_text())
    assert (predicting[-1]["status"], predicting[-1]["artifact_id"]) == ("completed", prediction_id)
    predictions = json.loads((shell.folder / "predictions.json").read_text())
    assert predictions["columns"][:3] == ["rainfall", "mean_temperature", "sample_0"]
    assert [row[:2] for row in predictions["data"]] == [[11.0, 26.0], [14.0, 27.0], [9.0, 24.0]]


WITHOUT_CONTENT_TYPE = r"""
CONFIG_ID=$(curl -s -X POST http://localhost:8000/api/v1/configs -d '{"name":"test","data":{}}' | jq -r '.id')
TRAIN=$(curl -s -X POST http://localhost:8000/api/v1/ml/\$train -d '{
  "config_id":"'$CONFIG_ID'",
  "data":{"columns":["a","b","y"],"data":[[1,2,10],[2,3,15],[3,4,20]]}
}')
MODEL_ID=$(echo $TRAIN | jq -r '.artifact_id')
JOB_ID=$(echo $TRAIN | jq -r '.job_id')
until curl -s http://localhost:8000/api/v1/jobs/$JOB_ID | jq -e '.finished_at' > /dev/null; do sleep 0.1; done
curl -s http://localhost:8000/api/v1/jobs/$JOB_ID | jq '.status'
PRED=$(curl -s -X POST http://localhost:8000/api/v1/ml/\$predict -d '{
  "artifact_id":"'$MODEL_ID'",
  "historic":{"columns":["a","b"],"data":[]},
  "future":{"columns":["a","b"],"data":[[1.5,2.5],[2.5,3.5]]}
}')
PRED_ID=$(echo $PRED | jq -r '.artifact_id')
curl -sN http://localhost:8000/api/v1/jobs/$(echo $PRED | jq -r '.job_id')/\$stream | tail -2 | cut -c7- | jq '.status'
ARTIFACT_ID=$(curl -s http://localhost:8000/api/v1/jobs/$JOB_ID | jq -r '.artifact_id')
[ "$ARTIFACT_ID" = "$MODEL_ID" ]
curl -s http://localhost:8000/api/v1/artifacts/$PRED_ID | jq -c '.data.content | .columns[:3], (.data | map(.[:2]))'
"""


def test_without_a_content_type(shell: Shell) -> None:
    lines = shell.run(WITHOUT_CONTENT_TYPE).splitlines()
    assert lines == ['"completed"', '"completed"', '["a","b","sample_0"]', "[[1.5,2.5],[2.5,3.5]]"]


DOWNLOADS = (
    WORKFLOW
    + r"""
curl -s -O -J http://localhost:8000/api/v1/artifacts/$MODEL_ARTIFACT_ID/\$download
curl -s -O -J http://localhost:8000/api/v1/artifacts/$PRED_ARTIFACT_ID/\$download
curl -s -o rows.csv -H 'Accept: text/csv' http://localhost:8000/api/v1/artifacts/$PRED_ARTIFACT_ID/%24download
curl -s http://localhost:8000/api/v1/artifacts/$MODEL_ARTIFACT_ID/\$metadata | jq > metadata.json
python3 -m zipfile --list artifact_$MODEL_ARTIFACT_ID.zip
"""
)


def test_downloads(shell: Shell) -> None:
    prediction_id, *listed = shell.run(DOWNLOADS).splitlines()
    assert any(line.startswith("model.pickle ") for line in listed)
    rows = json.loads((shell.folder / f"artifact_{prediction_id}.json").read_text())
    assert [(row["rainfall"], row["mean_temperature"]) for row in rows] == [(11.0, 26.0), (14.0, 27.0), (9.0, 24.0)]
    lines = list(csv.DictReader(io.StringIO((shell.folder / "rows.csv").read_text())))
    assert [float(line["sample_0"]) for line in lines] == [row["sample_0"] for row in rows]
    metadata = json.loads((shell.folder / "metadata.json").read_text())
    assert metadata["status"] == "success"
    assert metadata["duration_seconds"] > 0


MISTAKES = r"""
curl -s http://localhost:8000/api/v1/configs | jq -e 'type == "array"' > /dev/null
curl -s http://localhost:8000/api/v1/configs/01ARZ3NDEKTSV4RRFFQ69G5FAA | jq -c '.status, .detail'
TRAIN=$(curl -s http://localhost:8000/api/v1/ml/\$train -d '{"config_id":"01ARZ3NDEKTSV4RRFFQ69G5FAA","data":{"columns":[],"data":[]}}')
curl -s http://localhost:8000/api/v1/jobs/$(echo $TRAIN | jq -r '.job_id') | jq -c '.status, .error'
curl -s -o /dev/null -w '%{http_code}\n' http://localhost:8000/api/v1/artifacts/$(echo $TRAIN | jq -r '.artifact_id')
curl -s http://localhost:8000/api/v1/ml/\$train -d '{"config_id":"01ARZ3NDEKTSV4RRFFQ69G5FAA","data":[{"a":1}]}' | jq -c '.status'
"""


def test_mistakes(shell: Shell) -> None:
    assert shell.run(MISTAKES).splitlines() == [
        "404",
        '"Entity with id 01ARZ3NDEKTSV4RRFFQ69G5FAA not found"',
        '"failed"',
        '"ValueError: Config 01ARZ3NDEKTSV4RRFFQ69G5FAA not found"',
        "404",
        "422",
    ]
