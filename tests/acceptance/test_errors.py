"""Every reason of the contract that a caller or a job can be made to see: its code, metadata, and the sentence for people."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from serving import ServerProcess

from modelwire import (
    AlreadyExists,
    Client,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    JobFailed,
    ModelwireError,
    NotFound,
)
from modelwire.v1 import artifact_service_pb2 as pb
from modelwire.v1.artifact_service_pb2_grpc import ArtifactServiceStub

DATA = {"x": [1.0, 2.0, 3.0]}
UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

Call = Callable[[Client], Any]


def config_of(client: Client, behaviour: str = "mean", runner: str = "behaviours") -> str:
    return client.configs.create("test", {"behaviour": behaviour}, runner=runner).id


def model_of(client: Client, behaviour: str = "mean") -> str:
    return client.train(config_of(client, behaviour), DATA).wait(timeout=30).id


def moved_under_itself(client: Client) -> None:
    root = client.artifacts.upload(b"root").id
    child = client.artifacts.upload(b"child", parent=root).id
    client.artifacts.update(root, parent=child)


def linked_twice(client: Client) -> None:
    config, root = config_of(client), client.artifacts.upload(b"root").id
    client.configs.link(config, root)
    client.configs.link(config_of(client), root)


def linked_a_child(client: Client) -> None:
    root = client.artifacts.upload(b"root").id
    client.configs.link(config_of(client), client.artifacts.upload(b"child", parent=root).id)


def created_twice(client: Client) -> None:
    config = client.configs.create("test", {}, runner="behaviours")
    client.configs.create("test", {}, runner="behaviours", id=config.id)


def predicted_with_a_dataset(client: Client) -> None:
    client.predict(client.datasets.upload(DATA).id, DATA)


REFUSALS: list[tuple[str, type[ModelwireError], Call, set[str], str]] = [
    ("INVALID_FIELD", InvalidArgument, lambda c: c.configs.create("", {}), {"count"}, "name"),
    ("INVALID_ID", InvalidArgument, lambda c: c.configs.get("xyz"), {"field", "value"}, "xyz"),
    ("MISSING_COLUMNS", InvalidArgument, lambda c: c.train(config_of(c, runner="demanding"), DATA), {"columns"}, "rainfall"),
    ("INVALID_CONFIG", InvalidArgument, lambda c: c.configs.create("x", {"lines": "many"}, runner="behaviours"), {"runner"}, "lines"),
    ("HORIZON_OUT_OF_BOUNDS", InvalidArgument, lambda c: c.train(config_of(c), DATA, run_info={"prediction_periods": 5000}),
     {"periods", "minimum", "maximum"}, "5000"),
    ("INVALID_GEO", InvalidArgument, lambda c: c.train(config_of(c), DATA, geo={"type": "Point"}), {"field"}, "FeatureCollection"),
    ("RUNNER_NOT_FOUND", NotFound, lambda c: c.runners.get("nobody"), {"runner", "known"}, "behaviours"),
    ("CONFIG_NOT_FOUND", NotFound, lambda c: c.train(UNKNOWN, DATA), {"config"}, UNKNOWN),
    ("MODEL_NOT_FOUND", NotFound, lambda c: c.predict(UNKNOWN, DATA), {"model"}, UNKNOWN),
    ("ARTIFACT_NOT_FOUND", NotFound, lambda c: c.artifacts.get(UNKNOWN), {"artifact"}, UNKNOWN),
    ("JOB_NOT_FOUND", NotFound, lambda c: c.jobs.get(UNKNOWN), {"job"}, UNKNOWN),
    ("NOT_LINKED", NotFound, lambda c: c.artifacts.config(c.artifacts.upload(b"x").id), {"artifact"}, "config"),
    ("ALREADY_EXISTS", AlreadyExists, created_twice, {"id"}, "exists"),
    ("ALREADY_LINKED", AlreadyExists, linked_twice, {"artifact", "config"}, "linked"),
    ("NOT_A_MODEL", FailedPrecondition, predicted_with_a_dataset, {"artifact", "type"}, "training artifact"),
    ("PARENT_NOT_FOUND", FailedPrecondition, lambda c: c.artifacts.upload(b"x", parent=UNKNOWN), {"parent"}, UNKNOWN),
    ("ARTIFACT_CYCLE", FailedPrecondition, moved_under_itself, {"artifact", "parent"}, ""),
    ("NOT_A_ROOT", FailedPrecondition, linked_a_child, {"artifact", "parent"}, "root"),
    ("RUNNER_FAILED", Internal, lambda c: c.predict(model_of(c, "predict_raises"), DATA), {"type", "message"}, "no answer today"),
    ("INVALID_PREDICTION", Internal, lambda c: c.predict(model_of(c, "short"), DATA), {"rule"}, "2 rows"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "kind", "call", "metadata", "words"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_refused_call(client: Client, reason: str, kind: type[ModelwireError], call: Call, metadata: set[str], words: str) -> None:
    with pytest.raises(kind) as refusal:
        call(client)
    error = refusal.value
    assert error.reason == reason
    assert metadata <= set(error.metadata)
    assert words in str(error)


FAILURES = [
    ("raise", "RUNNER_FAILED", "ValueError: the data are not good enough"),
    ("exit", "RUNNER_EXITED", "3"),
    ("segfault", "RUNNER_KILLED", "SIGSEGV"),
    ("memory", "MEMORY_LIMIT", "memory"),
    ("unpicklable", "MODEL_NOT_SERIALIZABLE", "lock"),
]


@pytest.mark.parametrize(("behaviour", "reason", "words"), FAILURES, ids=[row[0] for row in FAILURES])
def test_failed_job(client: Client, behaviour: str, reason: str, words: str) -> None:
    job = client.train(config_of(client, behaviour), DATA)
    with pytest.raises(JobFailed) as failure:
        job.wait(timeout=30)
    assert failure.value.reason == reason
    assert words in str(failure.value)
    assert client.jobs.get(job.id).status == "failed"
    with pytest.raises(NotFound):
        client.artifacts.get(job.artifact_id)


def test_a_failed_job_has_the_full_traceback(client: Client) -> None:
    with pytest.raises(JobFailed) as failure:
        client.train(config_of(client, "raise"), DATA).wait(timeout=30)
    assert "behaviours.py" in (failure.value.traceback or "")
    assert 'raise ValueError("the data are not good enough")' in (failure.value.traceback or "")


def test_a_prediction_job_with_the_wrong_number_of_rows_fails(client: Client) -> None:
    job = client.submit_prediction(model_of(client, "short"), DATA, DATA)
    with pytest.raises(JobFailed, match="2 rows") as failure:
        job.wait(timeout=30)
    assert failure.value.reason == "INVALID_PREDICTION"


def test_content_with_another_digest_than_announced_is_refused(server: ServerProcess) -> None:
    parts = [pb.UploadArtifactRequest(header=pb.UploadHeader(digest="sha256:" + "0" * 64)), pb.UploadArtifactRequest(chunk=b"abc")]
    with grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError) as refusal:
        ArtifactServiceStub(channel).UploadArtifact(iter(parts))
    status = rpc_status.from_call(refusal.value)
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    assert (status.code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT.value[0], "DIGEST_MISMATCH")
    assert info.metadata["actual"].startswith("sha256:ba7816bf")
