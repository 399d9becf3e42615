"""A real server, and small ones over a socket for behaviour that no normal server shows."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from modelwire import Client, Model
from modelwire.v1 import (
    artifact_service_pb2_grpc,
    config_service_pb2_grpc,
    job_service_pb2_grpc,
    model_service_pb2_grpc,
    predict_service_pb2_grpc,
    runner_service_pb2_grpc,
    train_service_pb2_grpc,
)

sys.path.insert(0, str(Path(__file__).parent))


REGISTER: dict[type, Callable[[Any, grpc.Server], None]] = {
    artifact_service_pb2_grpc.ArtifactServiceServicer: artifact_service_pb2_grpc.add_ArtifactServiceServicer_to_server,
    config_service_pb2_grpc.ConfigServiceServicer: config_service_pb2_grpc.add_ConfigServiceServicer_to_server,
    job_service_pb2_grpc.JobServiceServicer: job_service_pb2_grpc.add_JobServiceServicer_to_server,
    model_service_pb2_grpc.ModelServiceServicer: model_service_pb2_grpc.add_ModelServiceServicer_to_server,
    predict_service_pb2_grpc.PredictServiceServicer: predict_service_pb2_grpc.add_PredictServiceServicer_to_server,
    runner_service_pb2_grpc.RunnerServiceServicer: runner_service_pb2_grpc.add_RunnerServiceServicer_to_server,
    train_service_pb2_grpc.TrainServiceServicer: train_service_pb2_grpc.add_TrainServiceServicer_to_server,
}

Serve = Callable[..., str]
RUNNER = Path(__file__).parent / "runners" / "line.py"


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with predictors and nothing else."""
    target = f"{Path(__file__).parent / 'runners' / 'words.py'}:predictors"
    command = [Path(sys.executable).parent / "modelwire", "--json", "serve", target, "--grpc-port=0", "--http-port=0"]
    folder = tmp_path_factory.mktemp("words")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*map(str, command), f"--data-dir={folder / 'data'}"], stdout=subprocess.PIPE, stderr=log)
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line, (folder / "log").read_text()
        yield json.loads(line)["grpc"]
        server.terminate()
        server.communicate(timeout=30)


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`modelwire serve`, as a user starts it; says where it listens in a line of JSON."""
    command = [Path(sys.executable).parent / "modelwire", "--json", "serve", f"{RUNNER}:runner", "--grpc-port=0", "--http-port=0"]
    folder = tmp_path_factory.mktemp("server")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*map(str, command), f"--data-dir={folder / 'data'}"], stdout=subprocess.PIPE, stderr=log)
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line, (folder / "log").read_text()
        yield json.loads(line)["grpc"]
        server.terminate()
        server.communicate(timeout=30)


@pytest.fixture
def client(target: str) -> Iterator[Client]:
    with Client(target) as client:
        yield client


@pytest.fixture(scope="session")
def model(target: str) -> Model:
    """A line with the slope 3."""
    with Client(target) as client:
        config = client.configs.create("line", {"slope": 3})
        return client.train(config, {"x": [1.0, 2.0], "y": [2.0, 4.0]}, tags=["kept"]).wait(timeout=60)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves generated servicers on a free loopback port; answers with the target. Stops with the test."""
    with ExitStack() as servers:

        def start(*servicers: object) -> str:
            server = grpc.server(servers.enter_context(ThreadPoolExecutor(8)), options=[("grpc.so_reuseport", 0)])
            for servicer in servicers:
                kinds = [kind for kind in REGISTER if isinstance(servicer, kind)]
                assert kinds, f"{servicer} serves nothing"
                for kind in kinds:
                    REGISTER[kind](servicer, server)
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            servers.callback(lambda: server.stop(0).wait())
            return f"127.0.0.1:{port}"

        yield start
