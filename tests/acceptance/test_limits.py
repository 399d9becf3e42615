"""What a server refuses because of its limits, of what is stored, or of who is asking: with reason, code and a sentence."""

import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_status import rpc_status
from serving import RUNNERS, ServerProcess

from modelwire import (
    Client,
    DataLoss,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from modelwire.events import ProgressEvent
from modelwire.v1 import config_service_pb2, frame_pb2, predict_service_pb2
from modelwire.v1.config_service_pb2_grpc import ConfigServiceStub
from modelwire.v1.predict_service_pb2_grpc import PredictServiceStub

DATA = {"x": [1.0, 2.0, 3.0]}


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with limits that are easily reached."""
    target = f"{RUNNERS / 'behaviours.py'}:runner"
    limits = {"max_jobs": 1, "max_pending_jobs": 1, "max_artifact_bytes": 20_000, "max_columns": 5}
    with ServerProcess(target, data_dir=tmp_path_factory.mktemp("tight"), **limits) as server:
        yield server


def test_too_many_waiting_jobs_are_refused_with_the_time_to_retry(tight: ServerProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with Client(tight.target, timeout=2.0) as client:
        config = client.configs.create("gated", {"behaviour": "gate", "gate": str(gate)})
        accepted = []
        with pytest.raises(ResourceExhausted, match="waiting already") as refusal:
            accepted.extend(client.train(config, DATA) for _ in range(4))
        assert refusal.value.reason == "OVERLOADED"
        assert refusal.value.metadata == {"limit": "1"}
        assert refusal.value.retry_after == 1.0
        for job in client.jobs.list():
            job.cancel()


def test_content_above_the_limit_is_refused(tight: ServerProcess) -> None:
    with Client(tight.target) as client, pytest.raises(ResourceExhausted, match="larger than 20000 bytes") as refusal:
        client.artifacts.upload(bytes(30_000))
    assert refusal.value.reason == "CONTENT_TOO_LARGE"


def test_a_frame_with_too_many_columns_is_refused(tight: ServerProcess) -> None:
    with Client(tight.target) as client, pytest.raises(InvalidArgument) as refusal:
        client.train(client.configs.create("wide", {}), {f"c{n}": [1] for n in range(9)})
    assert refusal.value.reason == "FRAME_TOO_LARGE"
    assert refusal.value.metadata["limit"] == "5"


def test_a_tree_that_is_too_deep_is_refused(client: Client) -> None:
    deepest = client.artifacts.upload(b"x").id
    for _ in range(63):
        deepest = client.artifacts.upload(b"x", parent=deepest).id
    with pytest.raises(FailedPrecondition, match="64 levels") as refusal:
        client.artifacts.upload(b"x", parent=deepest)
    assert refusal.value.reason == "TREE_TOO_DEEP"


def test_an_artifact_without_content_cannot_be_downloaded(client: Client) -> None:
    empty = client.artifacts.create(type="note")
    with pytest.raises(NotFound, match="no content") as refusal:
        client.artifacts.download(empty.id)
    assert refusal.value.reason == "NO_CONTENT"


def test_an_uploaded_model_is_never_unpickled(client: Client, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    malicious = b"cos\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR."
    upload = client.artifacts.upload(malicious, type="ml_training", content_type="application/x-pickle")
    with pytest.raises(PermissionDenied, match="stranger's code") as refusal:
        client.predict(upload.id, DATA)
    assert refusal.value.reason == "UNTRUSTED_CONTENT"
    with pytest.raises(PermissionDenied):
        client.submit_prediction(upload.id, DATA, DATA)
    assert not canary.exists()


def test_changed_content_is_noticed_before_it_is_used(own_server: ServerProcess) -> None:
    with Client(own_server.target) as client:
        model = client.train(client.configs.create("a", {}), DATA).wait(timeout=30)
        digest = client.artifacts.get(model.id).digest.removeprefix("sha256:")
        content = own_server.data_dir / "blobs" / "sha256" / digest[:2] / digest[2:]
        content.chmod(0o600)
        content.write_bytes(b"something else")
        with pytest.raises(DataLoss, match="was changed") as refusal:
            model.predict(DATA)
    assert refusal.value.reason == "CONTENT_CORRUPTED"


def test_a_model_whose_runner_is_not_served_says_so(own_server: ServerProcess) -> None:
    with Client(own_server.target) as client:
        model = client.train(client.configs.create("a", {}, runner="lasting"), DATA).wait(timeout=30)
    own_server.stop()
    own_server.targets = own_server.targets[:1]
    own_server.start()
    with Client(own_server.target) as client, pytest.raises(FailedPrecondition, match="lasting") as refusal:
        client.predict(model.id, DATA)
    assert refusal.value.reason == "RUNNER_NOT_SERVED"


def reason_of(error: grpc.RpcError) -> tuple[int, str]:
    status, info = rpc_status.from_call(error), error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return status.code, info.reason


def test_a_request_id_belongs_to_one_request(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.target) as channel:
        stub = ConfigServiceStub(channel)
        request = config_service_pb2.CreateConfigRequest(name="a", request_id="only-once")
        first = stub.CreateConfig(request).config
        assert stub.CreateConfig(request).config == first
        request.name = "b"
        with pytest.raises(grpc.RpcError) as refusal:
            stub.CreateConfig(request)
    assert reason_of(refusal.value) == (grpc.StatusCode.INVALID_ARGUMENT.value[0], "REQUEST_ID_REUSED")


def test_bytes_that_are_no_frame_are_refused_by_name(server: ServerProcess, client: Client) -> None:
    model = client.train(client.configs.create("a", {}, runner="behaviours"), DATA).wait(timeout=30)
    request = predict_service_pb2.PredictRequest(model=model.id, future=frame_pb2.Frame(arrow=b"no frame"))
    with grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError) as refusal:
        PredictServiceStub(channel).Predict(request)
    assert reason_of(refusal.value) == (grpc.StatusCode.INVALID_ARGUMENT.value[0], "INVALID_FRAME")
    assert "future" in refusal.value.details()


RUNNER = """
import pyarrow as pa
from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo

class {name}:
    pass

def train(config: BaseConfig, data: pa.Table):
    return {name}()

def predict(config: BaseConfig, model, historic: pa.Table, future: pa.Table):
    return future

runner = FunctionalModelRunner(train, predict, info=RunnerInfo(id="changing"))
"""


def test_a_model_whose_class_is_gone_cannot_be_loaded(tmp_path: Path) -> None:
    file = tmp_path / "changing_service.py"
    server = ServerProcess(f"{file}:runner", data_dir=tmp_path / "data")
    file.write_text(RUNNER.format(name="Before"))
    with server, Client(server.target) as client:
        model = client.train(client.configs.create("a", {}), DATA).wait(timeout=30)
    file.write_text(RUNNER.format(name="After"))
    with server, Client(server.target) as client, pytest.raises(Internal, match="Before") as refusal:
        client.predict(model.id, DATA)
    assert refusal.value.reason == "MODEL_NOT_LOADABLE"


def test_a_server_that_drains_takes_no_new_jobs_and_finishes_those_it_has(own_server: ServerProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    # Shorter than the two seconds after which the server says to try again: the client does not.
    with Client(own_server.target, timeout=1.9) as client:
        config = client.configs.create("gated", {"behaviour": "gate", "gate": str(gate)}, runner="behaviours")
        job = client.train(config, DATA)
        next(event for event in job.watch() if isinstance(event, ProgressEvent))
        own_server.process.terminate()
        with grpc.insecure_channel(own_server.target) as channel:
            answers = HealthStub(channel).Watch(HealthCheckRequest())
            next(answer for answer in answers if answer.status == HealthCheckResponse.NOT_SERVING)
        with pytest.raises(Unavailable, match="shutting down") as refusal:
            client.train(config, DATA)
        assert refusal.value.reason == "SHUTTING_DOWN"
        gate.write_text("")
        assert own_server.stop() == 0
    own_server.start()
    with Client(own_server.target) as client:
        assert client.jobs.get(job.id).status == "completed"
