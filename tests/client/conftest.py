"""Small real servers over a socket, for behaviour that no normal server shows."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from modelwire.v1 import (
    artifact_service_pb2_grpc,
    config_service_pb2_grpc,
    job_service_pb2_grpc,
    predict_service_pb2_grpc,
    runner_service_pb2_grpc,
    train_service_pb2_grpc,
)

REGISTER: dict[type, Callable[[Any, grpc.Server], None]] = {
    artifact_service_pb2_grpc.ArtifactServiceServicer: artifact_service_pb2_grpc.add_ArtifactServiceServicer_to_server,
    config_service_pb2_grpc.ConfigServiceServicer: config_service_pb2_grpc.add_ConfigServiceServicer_to_server,
    job_service_pb2_grpc.JobServiceServicer: job_service_pb2_grpc.add_JobServiceServicer_to_server,
    predict_service_pb2_grpc.PredictServiceServicer: predict_service_pb2_grpc.add_PredictServiceServicer_to_server,
    runner_service_pb2_grpc.RunnerServiceServicer: runner_service_pb2_grpc.add_RunnerServiceServicer_to_server,
    train_service_pb2_grpc.TrainServiceServicer: train_service_pb2_grpc.add_TrainServiceServicer_to_server,
}

Serve = Callable[..., str]


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
