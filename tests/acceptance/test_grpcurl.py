"""grpcurl, knowing nothing but the address, can do all of it."""

import json
import shutil
import subprocess
from typing import Any

import pytest
from serving import ServerProcess

SERVICES = ["RunnerService", "ConfigService", "TrainService", "PredictService", "ModelService", "JobService", "ArtifactService"]


@pytest.fixture(scope="module")
def grpcurl() -> str:
    path = shutil.which("grpcurl")
    if path is None:
        pytest.fail("grpcurl is not installed; `make tools` installs it")
    return path


class Grpcurl:
    def __init__(self, path: str, target: str) -> None:
        self._path, self._target = path, target

    def run(self, *arguments: str) -> str:
        done = subprocess.run([self._path, "-plaintext", *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def services(self) -> str:
        return self.run(self._target, "list")

    def call(self, method: str, **request: object) -> list[dict[str, Any]]:
        text = self.run("-d", json.dumps(request), self._target, f"modelwire.v1.{method}")
        answers, decoder, rest = [], json.JSONDecoder(), text.strip()
        while rest:
            answer, end = decoder.raw_decode(rest)
            answers.append(answer)
            rest = rest[end:].lstrip()
        return answers


def test_the_whole_of_the_main_job(grpcurl: str, server: ServerProcess) -> None:
    tool = Grpcurl(grpcurl, server.target)
    listed = tool.services()
    assert all(f"modelwire.v1.{name}" in listed for name in SERVICES)
    assert tool.call("RunnerService/GetRunner")[0]["info"]["id"] == "diabetes"

    config = tool.call("ConfigService/CreateConfig", name="typed", data={"features": ["bmi"]})[0]["config"]
    rows = [[float(n), 2.0 * n + 1] for n in range(10)]
    submitted = tool.call(
        "TrainService/Train", configId=config["id"], data={"table": {"columns": ["bmi", "target"], "data": rows}}
    )[0]
    events = tool.call("JobService/WatchJob", jobId=submitted["job_id"])
    assert events[-1]["event"]["state"]["status"] == "JOB_STATUS_COMPLETED"

    answer = tool.call(
        "PredictService/Predict", model=submitted["artifact_id"], future={"table": {"columns": ["bmi"], "data": [[4.0]]}}
    )[0]
    assert answer["predictions"]["table"]["data"]
    tree = tool.call("ArtifactService/GetArtifactTree", artifactId=submitted["artifact_id"])[0]
    assert tree["node"]["id"] == submitted["artifact_id"]


@pytest.mark.parametrize("name", ["", *(f"modelwire.v1.{name}" for name in SERVICES), "runners/diabetes"])
def test_health_is_serving(grpcurl: str, server: ServerProcess, name: str) -> None:
    request = json.dumps({"service": name})
    done = subprocess.run(
        [grpcurl, "-plaintext", "-d", request, server.target, "grpc.health.v1.Health/Check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout) == {"status": "SERVING"}


def test_an_error_is_shown_with_its_reason(grpcurl: str, server: ServerProcess) -> None:
    request = json.dumps({"job_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"})
    done = subprocess.run(
        [grpcurl, "-plaintext", "-d", request, server.target, "modelwire.v1.JobService/GetJob"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Code: NotFound" in done.stderr
    assert '"reason": "JOB_NOT_FOUND"' in done.stderr
    assert "not recognized" not in done.stderr
