"""What a server with predictors starts with, and what it refuses to start with: junk is not served."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from serving import ServerProcess

from modelwire.v1 import predictor_service_pb2 as pb
from modelwire.v1 import predictor_service_pb2_grpc
from modelwire_runners import TargetError
from modelwire_server.runners import RunnerRegistry
from modelwire_server.settings import Settings

ZOO = Path(__file__).parent / "zoo.py"


def test_two_predictors_of_a_name_are_refused_at_the_start() -> None:
    with pytest.raises(TargetError, match="two predictors have the name `twin`; give each a name of its own"):
        RunnerRegistry.load([f"{ZOO}:twins"])


def test_the_same_target_twice_is_refused_at_the_start() -> None:
    with pytest.raises(TargetError, match="two predictors have the name `free`"):
        RunnerRegistry.load([f"{ZOO}:free", f"{ZOO}:free"])


def test_a_model_that_fails_its_self_test_is_not_served() -> None:
    with pytest.raises(TargetError, match=re.escape("fails its self-test at predict: RuntimeError: it is broken")):
        RunnerRegistry.load([f"{ZOO}:failing"])


def test_nothing_to_serve_is_refused() -> None:
    with pytest.raises(TargetError, match="there is nothing to serve"):
        RunnerRegistry.load(Settings(targets=[]).targets)


def test_a_server_with_predictors_only_has_no_runner_and_says_so(server: Any) -> None:
    status, problem = server.ask("GET", "/api/v1/info")
    assert (status, problem["reason"]) == (404, "RUNNER_NOT_FOUND")
    assert problem["detail"] == "this server has predictors, but no runner"
    assert server.ask("GET", "/api/v1/configs") == (200, [])


def test_runners_and_predictors_are_served_together(new_server: Callable[..., Any]) -> None:
    with new_server("mixed") as server:
        assert server.ask("GET", "/list") == (200, ["free"])
        assert server.ask("GET", "/api/v1/info")[1]["id"] == "counting"
        assert server.ask("POST", "/predict/", {"predictor": "free", "payload": 1}) == (200, 1)
        made = server.ask("POST", "/api/v1/configs", {"name": "a", "data": {}})[1]
        frame = {"columns": ["x"], "data": [[1], [2]]}
        submitted = server.ask("POST", "/api/v1/ml/$train", {"config_id": made["id"], "data": frame})[1]
        told = server.ask("GET", f"/api/v1/jobs/{submitted['job_id']}/$stream")[1]
        assert b'"status":"completed"' in told


@pytest.mark.slow
def test_every_one_of_several_workers_serves_them(tmp_path: Path) -> None:
    with ServerProcess(f"{ZOO}:composed", data_dir=tmp_path, workers=2) as server:
        for _ in range(10):
            with grpc.insecure_channel(server.target) as channel:
                stub = predictor_service_pb2_grpc.PredictorServiceStub(channel)
                assert stub.CheckReadiness(pb.CheckReadinessRequest()).ready


@pytest.mark.slow
def test_a_model_that_does_not_work_in_a_worker_is_not_served(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "modelwire"), "serve", f"{ZOO}:failing_elsewhere"]
    options = ["--workers=2", "--grpc-port=0", "--http-port=0", f"--data-dir={tmp_path}"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "the predictor `far` fails its self-test at predict: ZeroDivisionError" in done.stderr
