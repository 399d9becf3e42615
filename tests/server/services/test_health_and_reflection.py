"""What tools ask of any gRPC server."""

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from modelwire_server.services import health
from modelwire_server.services.reflection import V1, V1ALPHA

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
NAMES = [
    "",
    "inference.GRPCInferenceService",
    *(f"modelwire.v1.{name}Service" for name in ("Runner", "Config", "Train", "Predict", "Predictor", "Job", "Artifact", "Model")),
]


def test_health_of_server_services_and_runners(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        stub = health_pb2_grpc.HealthStub(edge.channel)
        listed = (await stub.List(health_pb2.HealthListRequest())).statuses
        assert {name: answer.status for name, answer in listed.items()} == dict.fromkeys(
            [*NAMES, "runners/times", "runners/other"], SERVING
        )
        for name in listed:
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="runners/nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    run(scenario)


def test_watchers_learn_of_the_drain_for_good(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        stub = health_pb2_grpc.HealthStub(edge.channel)
        known, unknown = stub.Watch(health_pb2.HealthCheckRequest()), stub.Watch(health_pb2.HealthCheckRequest(service="x"))
        assert ((await known.read()).status, (await unknown.read()).status) == (SERVING, UNKNOWN)
        await edge.health.draining()
        assert (await known.read()).status == NOT_SERVING
        await edge.health.serving()
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING
        known.cancel()
        unknown.cancel()

    run(scenario)


def test_nothing_serves_before_it_is_told_to() -> None:
    assert set(health.Health(["a"])._server_status.values()) == {NOT_SERVING}


def test_watching_has_limits(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "MOST_WATCHERS", 2)

    async def scenario(edge: Any) -> None:
        stub = health_pb2_grpc.HealthStub(edge.channel)
        long = stub.Watch(health_pb2.HealthCheckRequest(service="x" * 201))
        assert await long.code() is grpc.StatusCode.INVALID_ARGUMENT
        calls = [stub.Watch(health_pb2.HealthCheckRequest(service=str(number))) for number in range(2)]
        for call in calls:
            await call.read()
        third = stub.Watch(health_pb2.HealthCheckRequest())
        assert await third.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for call in calls:
            call.cancel()

    run(scenario)


async def reflect(edge: Any, version: str, **question: Any) -> reflection_pb2.ServerReflectionResponse:
    method = edge.channel.stream_stream(
        f"/{version}/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    (answer,) = [answer async for answer in method(iter([reflection_pb2.ServerReflectionRequest(**question)]))]
    return answer


@pytest.mark.parametrize("version", [V1, V1ALPHA])
def test_the_contract_can_be_asked_for(run: Any, version: str) -> None:
    async def scenario(edge: Any) -> None:
        listed = await reflect(edge, version, list_services="")
        names = {service.name for service in listed.list_services_response.service}
        assert names == {*NAMES[1:], "grpc.health.v1.Health", V1, V1ALPHA}
        for name in names:
            answer = await reflect(edge, version, file_containing_symbol=name)
            files = [FileDescriptorProto.FromString(raw) for raw in answer.file_descriptor_response.file_descriptor_proto]
            assert any(f"{file.package}.{service.name}" == name for file in files for service in file.service)
        dependency = await reflect(edge, version, file_by_filename="google/rpc/status.proto")
        assert dependency.HasField("file_descriptor_response")

    run(scenario)


def test_reflection_can_be_off(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await reflect(edge, V1, list_services="")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    run(scenario, reflection=False)
