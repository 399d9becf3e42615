"""Calls with one answer: deadlines, retries, metadata, errors."""
# ruff: noqa: N802 - servicers have the names of the contract

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from modelwire import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    InvalidArgument,
    Job,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
    __version__,
)
from modelwire.transport import CONTRACT, DEFAULT_TARGET, channel_options, find_target, service_config
from modelwire.v1 import config_pb2, config_service_pb2, train_service_pb2
from modelwire.v1.config_service_pb2_grpc import ConfigServiceServicer
from modelwire.v1.train_service_pb2_grpc import TrainServiceServicer


def refuses(code: int, reason: str, *, delay: float | None = None) -> Callable[[Any], None]:
    status = status_pb2.Status(code=code, message="not now")  # type: ignore[arg-type]
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=reason, domain="modelwire")]
    if delay is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=int(delay), nanos=int(delay % 1 * 1e9))))
    for detail in details:
        status.details.add().Pack(detail)
    return lambda context: context.abort_with_status(rpc_status.to_status(status))


def unreachable(context: Any) -> None:
    context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset by a proxy")


class Reluctant(TrainServiceServicer, ConfigServiceServicer):
    """Refuses as often as it is told to, then accepts. Notes what came."""

    def __init__(self, *refusals: Callable[[Any], None]) -> None:
        self._refusals = list(refusals)
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.remaining: list[float] = []

    def _receive(self, request: Any, context: Any) -> None:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.remaining.append(context.time_remaining())
        if self._refusals:
            self._refusals.pop(0)(context)

    def Train(self, request: Any, context: Any) -> train_service_pb2.TrainResponse:
        self._receive(request, context)
        return train_service_pb2.TrainResponse(job_id="J", artifact_id="M")

    def LinkArtifact(self, request: Any, context: Any) -> config_service_pb2.LinkArtifactResponse:
        self._receive(request, context)
        return config_service_pb2.LinkArtifactResponse()

    def ListConfigs(self, request: Any, context: Any) -> config_service_pb2.ListConfigsResponse:
        self._receive(request, context)
        begin = int(request.page_token or 0)
        end = min(begin + request.page_size, 1200)
        configs = [config_pb2.Config(id=str(number)) for number in range(begin, end)]
        return config_service_pb2.ListConfigsResponse(configs=configs, next_page_token=str(end) if end < 1200 else "")


def train(target: str, **options: Any) -> Job[Any]:
    with Client(target, **options) as client:
        return client.train("C", {"x": [1]})


def train_async(target: str, **options: Any) -> Any:
    async def submit() -> Any:
        async with AsyncClient(target, **options) as client:
            return await client.train("C", {"x": [1]})

    return asyncio.run(submit())


both = pytest.mark.parametrize("train", [train, train_async], ids=["blocking", "asyncio"])
Train = Callable[..., Any]


@both
def test_an_unreachable_server_is_tried_again_with_the_same_request_id(serve: Any, train: Train) -> None:
    servicer = Reluctant(unreachable, unreachable)
    job = train(serve(servicer))
    assert (job.id, job.artifact_id, job.config_id, job.kind, job.status) == ("J", "M", "C", "train", "pending")
    ids = [request.request_id for request in servicer.requests]
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert re.fullmatch("[0-9a-f]{32}", ids[0])


@both
def test_who_waits_for_a_server_gets_through_to_one_that_breaks_off_again_and_again(serve: Any, train: Train) -> None:
    servicer = Reluctant(*[unreachable] * 6)
    assert train(serve(servicer), wait_for_ready=True).id == "J"
    assert len({request.request_id for request in servicer.requests}) == 1


def test_each_request_has_an_id_of_its_own(serve: Any) -> None:
    servicer = Reluctant()
    with Client(serve(servicer)) as client:
        client.train("C", {"x": [1]})
        client.train("C", {"x": [1]})
    assert len({request.request_id for request in servicer.requests}) == 2


@both
def test_a_refusal_with_a_time_is_honoured(serve: Any, train: Train) -> None:
    servicer = Reluctant(
        refuses(code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED", delay=0.2),
        refuses(code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED", delay=0.2),
    )
    begin = time.monotonic()
    assert train(serve(servicer)).id == "J"
    assert time.monotonic() - begin >= 0.4
    assert len({request.request_id for request in servicer.requests}) == 1


@both
def test_retries_have_an_end(serve: Any, train: Train) -> None:
    servicer = Reluctant(*[refuses(code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED", delay=0.01)] * 50)
    with pytest.raises(ResourceExhausted, match="not now") as caught:
        train(serve(servicer))
    assert caught.value.retry_after == 0.01
    assert len(servicer.requests) == 5


@both
def test_no_retry_goes_beyond_the_deadline(serve: Any, train: Train) -> None:
    servicer = Reluctant(refuses(code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED", delay=30.0))
    begin = time.monotonic()
    with pytest.raises(ResourceExhausted):
        train(serve(servicer), timeout=10.0)
    assert time.monotonic() - begin < 10.0


@both
@pytest.mark.parametrize("refusal", [refuses(code_pb2.RESOURCE_EXHAUSTED, "STORAGE_FULL"), refuses(code_pb2.INTERNAL, "INTERNAL")])
def test_other_refusals_are_final(serve: Any, train: Train, refusal: Callable[[Any], None]) -> None:
    servicer = Reluctant(refusal)
    with pytest.raises(Exception, match="not now") as caught:
        train(serve(servicer))
    assert len(servicer.requests) == 1
    assert caught.value.__suppress_context__, "callers should not see frames of grpc"


@pytest.mark.parametrize("wait_for_ready", [False, True])
def test_a_call_that_could_have_had_its_effect_is_not_repeated(serve: Any, wait_for_ready: bool) -> None:
    servicer = Reluctant(unreachable)
    with Client(serve(servicer), wait_for_ready=wait_for_ready) as client, pytest.raises(Unavailable):
        client.configs.link("C", "A")
    assert len(servicer.requests) == 1


@both
def test_calls_have_a_deadline(serve: Any, train: Train) -> None:
    servicer = Reluctant(lambda context: time.sleep(1.0))
    with pytest.raises(DeadlineExceeded, match=r"no answer from 127.0.0.1:"):
        train(serve(servicer), timeout=0.2)
    servicer = Reluctant()
    train(serve(servicer))
    assert 25 < servicer.remaining[0] < 31


def test_metadata_token_and_user_agent_are_sent(serve: Any) -> None:
    servicer = Reluctant()
    train(serve(servicer), token="secret", metadata={"X-Tenant": "a"})
    sent = servicer.metadata[0]
    assert sent["authorization"] == "Bearer secret"
    assert sent["x-tenant"] == "a"
    assert str(sent["user-agent"]).startswith(f"modelwire-python/{__version__} ")


def test_secrets_are_not_shown() -> None:
    with Client("localhost:1", token="secret") as client:
        assert "secret" not in repr(client)
        assert "secret" not in repr(client._connection.settings)


@both
def test_a_server_that_is_not_there(train: Train) -> None:
    with pytest.raises(Unavailable, match=r"cannot reach modelwire at 127.0.0.1:1: .*is `modelwire serve` running\?"):
        train("127.0.0.1:1")


def test_a_server_that_is_something_else(serve: Any) -> None:
    with Client(serve(Reluctant())) as client, pytest.raises(Unimplemented, match="is it modelwire"):
        client.jobs.get("J")


def test_waiting_for_a_server_that_is_about_to_start(serve: Any) -> None:
    with pytest.raises(DeadlineExceeded):
        train("127.0.0.1:1", wait_for_ready=True, timeout=0.5)


def test_a_client_with_other_options_shares_the_connection(serve: Any) -> None:
    servicer = Reluctant()
    with Client(serve(servicer), metadata={"a": "1"}) as client:
        client.with_options(timeout=5, metadata={"b": "2"}).train("C", {"x": [1]})
        client.train("C", {"x": [1]})
    assert servicer.remaining[0] <= 5 < servicer.remaining[1]
    assert [(m.get("a"), m.get("b")) for m in servicer.metadata] == [("1", "2"), ("1", None)]


@pytest.mark.parametrize(("limit", "sizes"), [(None, [500, 500, 500]), (600, [500, 100]), (3, [3]), (0, [])])
def test_lists_go_over_all_pages(serve: Any, limit: int | None, sizes: list[int]) -> None:
    servicer = Reluctant()
    with Client(serve(servicer)) as client:
        ids = [config.id for config in client.configs.list(limit=limit)]
    assert ids == [str(number) for number in range(1200 if limit is None else limit)]
    assert [request.page_size for request in servicer.requests] == sizes


def test_pages_are_read_when_they_are_needed(serve: Any) -> None:
    servicer = Reluctant()
    with Client(serve(servicer)) as client:
        next(client.configs.list())
    assert len(servicer.requests) == 1


def test_values_that_would_change_are_not_sent(serve: Any) -> None:
    servicer = Reluctant()
    with Client(serve(servicer)) as client, pytest.raises(InvalidArgument, match=r"data.x: must be a finite number"):
        client.configs.create("v1", {"x": float("nan")})
    assert servicer.requests == []


def test_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELWIRE_TARGET", raising=False)
    assert find_target(None) == DEFAULT_TARGET
    monkeypatch.setenv("MODELWIRE_TARGET", "elsewhere:1")
    assert find_target(None) == "elsewhere:1"
    assert find_target("here:1") == "here:1"


def test_a_unix_socket_is_a_target(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from modelwire.v1.train_service_pb2_grpc import add_TrainServiceServicer_to_server

    server = grpc.server(ThreadPoolExecutor(1))
    add_TrainServiceServicer_to_server(Reluctant(), server)
    server.add_insecure_port(f"unix:{tmp_path}/socket")
    server.start()
    try:
        assert train(f"unix:{tmp_path}/socket").id == "J"
    finally:
        server.stop(0).wait()


def test_closed_clients_open_again(serve: Any) -> None:
    client = Client(serve(Reluctant()))
    assert client.train("C", {"x": [1]}).id == "J"
    client.close()
    client.close()
    assert client.train("C", {"x": [1]}).id == "J"
    client.close()


def test_only_calls_that_may_be_made_twice_are_retried_by_grpc() -> None:
    retried = {f"{name['service'].split('.')[-1]}.{name['method']}" for name in service_config()["methodConfig"][0]["name"]}
    every = {
        f"{service.name}.{method.name}"
        for file in CONTRACT
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert every - retried == {
        *("ConfigService.LinkArtifact", "ConfigService.UnlinkArtifact", "JobService.DeleteJob"),
        *("TrainService.TrainStream", "PredictService.PredictStream", "PredictService.SubmitPredictionStream"),
        *(f"ModelService.{name}" for name in ("DeleteModel", "DeleteModelVersion", "DeleteModelAlias")),
        *(f"ModelService.{name}" for name in ("ImportModel", "PromoteModel", "RollbackModel", "WatchModels")),
        *("JobService.WatchJob", "ArtifactService.DownloadArtifact", "ArtifactService.UploadArtifact"),
    }


def test_the_caller_never_sets_a_message_limit() -> None:
    options = dict(channel_options())
    assert options["grpc.max_receive_message_length"] == -1
    assert options["grpc.keepalive_time_ms"] >= 10_000, "servers take more frequent pings for an attack"


def test_many_threads_share_one_client(serve: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with Client(serve(Reluctant())) as client, ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda _: client.train("C", {"x": [1]}).id, range(40)))
    assert jobs == ["J"] * 40
