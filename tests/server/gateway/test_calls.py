"""Calls inside a process and over a port: what one of them does, the other does too."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2
from grpc_serving import serving

from modelwire_server.errors import ConfigNotFound, FieldViolation, InvalidField
from modelwire_server.gateway.calls import CallFailed, Calls, Sending
from modelwire_server.gateway.inside import InsideCalls, Registered
from modelwire_server.gateway.remote import RemoteCalls
from modelwire_server.interceptors.around import Surrounded
from modelwire_server.metrics import ServerMetrics
from modelwire_server.services.registration import around_calls
from modelwire_server.settings import Settings

Struct = struct_pb2.Struct


def told(**values: Any) -> Struct:
    message = Struct()
    message.update(values)
    return message


def parrot() -> Any:
    """A service with a method of each shape, whose messages are any objects."""
    file = descriptor_pb2.FileDescriptorProto(name="parrot.proto", package="test", syntax="proto3")
    file.dependency.append("google/protobuf/struct.proto")
    service = file.service.add(name="Parrot")
    for name, (asks, answers) in {"One": (False, False), "Many": (False, True), "Sum": (True, False), "Each": (True, True)}.items():
        kind = ".google.protobuf.Struct"
        service.method.add(name=name, input_type=kind, output_type=kind, client_streaming=asks, server_streaming=answers)
    pool = descriptor_pool.DescriptorPool()
    needed = descriptor_pb2.FileDescriptorProto()
    struct_pb2.DESCRIPTOR.CopyToProto(needed)
    pool.Add(needed)
    pool.Add(file)
    return pool.FindServiceByName("test.Parrot")


PARROT = parrot()


@dataclass
class Cage:
    """What the methods do beyond answering, for tests to see."""

    entered: asyncio.Event
    left: asyncio.Event
    written: int = 0

    async def one(self, request: Struct, context: Any) -> Struct:
        match request["do"]:
            case "metadata":
                return told(**dict(context.invocation_metadata()))
            case "time":
                return told(left=context.time_remaining())
            case "refuse":
                raise ConfigNotFound("Config 1 not found", config="1")
            case "find fault":
                raise InvalidField.of(FieldViolation("a.b", "is wrong"), FieldViolation("c", "is missing"))
            case "break":
                raise RuntimeError("password=secret")
            case "abort":
                await context.abort(grpc.StatusCode.ABORTED, "enough")
        return await self._wait()

    async def _wait(self) -> Struct:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()
        raise AssertionError

    async def many(self, request: Struct, context: Any) -> AsyncIterator[Struct]:
        for number in range(int(request["count"])):
            yield told(number=number)
            self.written = number + 1
        if request["then"] == "refuse":
            raise ConfigNotFound("Config 1 not found", config="1")
        if request["then"] == "wait":
            await self._wait()

    async def sum(self, requests: AsyncIterator[Struct], context: Any) -> Struct:
        self.entered.set()
        try:
            return told(sum=sum([request["number"] async for request in requests]))
        finally:
            self.left.set()

    async def each(self, requests: AsyncIterator[Struct], context: Any) -> AsyncIterator[Struct]:
        async for request in requests:
            yield told(again=request["number"])


def handlers(cage: Cage) -> dict[str, Any]:
    coded = {"request_deserializer": Struct.FromString, "response_serializer": Struct.SerializeToString}
    return {
        "One": grpc.unary_unary_rpc_method_handler(cage.one, **coded),
        "Many": grpc.unary_stream_rpc_method_handler(cage.many, **coded),
        "Sum": grpc.stream_unary_rpc_method_handler(cage.sum, **coded),
        "Each": grpc.stream_stream_rpc_method_handler(cage.each, **coded),
    }


@asynccontextmanager
async def calling(kind: str, cage: Cage) -> AsyncIterator[Calls]:
    around = around_calls(Settings(), ServerMetrics())
    surrounded = Surrounded(around)
    registered = Registered(surrounded)
    found = handlers(cage)
    registered.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Parrot", found),))
    registered.add_registered_method_handlers("test.Parrot", found)
    if kind == "inside":
        yield InsideCalls(registered.handlers, around)
        return
    async with serving(surrounded.find) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield RemoteCalls(channel)


Scenario = Callable[[Calls, Cage], Awaitable[None]]


@pytest.fixture(params=["inside", "remote"])
def run(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    def run_scenario(scenario: Scenario) -> None:
        async def main() -> None:
            cage = Cage(asyncio.Event(), asyncio.Event())
            async with calling(request.param, cage) as calls, asyncio.timeout(30):
                await scenario(calls, cage)

        asyncio.run(main())

    return run_scenario


def rpc(name: str) -> Any:
    return PARROT.methods_by_name[name]


async def one(calls: Calls, do: str, sending: Sending = Sending()) -> Any:  # noqa: B008 - it does not change
    return MessageToDict(await calls.unary(rpc("One"), told(do=do), sending))


async def failure(calls: Calls, do: str, sending: Sending = Sending()) -> CallFailed:  # noqa: B008
    with pytest.raises(CallFailed) as raised:
        await one(calls, do, sending)
    return raised.value


async def numbers(*values: float) -> AsyncIterator[Struct]:
    for value in values:
        yield told(number=value)


def test_metadata_go_along(run: Any) -> None:
    async def scenario(calls: Calls, cage: Cage) -> None:
        seen = await one(calls, "metadata", Sending((("authorization", "Bearer x"), ("x-request-id", "r1"))))
        assert (seen["authorization"], seen["x-request-id"]) == ("Bearer x", "r1")

    run(scenario)


def test_the_deadline_is_known(run: Any) -> None:
    async def scenario(calls: Calls, cage: Cage) -> None:
        # On the wire it may be rounded up, by 1 % at most.
        assert 50 < (await one(calls, "time", Sending(timeout=60)))["left"] <= 60.6
        assert (await one(calls, "time"))["left"] is None

    run(scenario)


def test_errors_come_with_their_details(run: Any) -> None:
    async def scenario(calls: Calls, cage: Cage) -> None:
        refused = await failure(calls, "refuse")
        info = error_details_pb2.ErrorInfo()
        assert refused.status.details[0].Unpack(info)
        assert (refused.code, refused.message) == (grpc.StatusCode.NOT_FOUND, "Config 1 not found")
        assert (info.reason, dict(info.metadata)) == ("CONFIG_NOT_FOUND", {"config": "1"})
        fault = await failure(calls, "find fault")
        request = error_details_pb2.BadRequest()
        assert fault.status.details[1].Unpack(request)
        assert [violation.field for violation in request.field_violations] == ["a.b", "c"]

    run(scenario)


def test_faults_are_not_told(run: Any) -> None:
    async def scenario(calls: Calls, cage: Cage) -> None:
        broken = await failure(calls, "break")
        assert broken.code is grpc.StatusCode.INTERNAL
        assert "secret" not in str(broken.status)

    run(scenario)


def test_a_status_without_details(run: Any) -> None:
    async def scenario(calls: Calls, cage: Cage) -> None:
        aborted = await failure(calls, "abort")
        assert (aborted.code, aborted.message, aborted.status.code) == (grpc.StatusCode.ABORTED, "enough", 10)

    run(scenario)


def test_what_takes_too_long_is_ended(run: Any) -> None:
    async def scenario(calls: Calls, cage: Cage) -> None:
        assert (await failure(calls, "wait", Sending(timeout=1))).code is grpc.StatusCode.DEADLINE_EXCEEDED
        await cage.left.wait()
        with pytest.raises(CallFailed) as raised:
            async for _ in calls.stream(rpc("Many"), told(count=1, then="wait"), Sending(timeout=0.1)):
                pass
        assert raised.value.code is grpc.StatusCode.DEADLINE_EXCEEDED

    run(scenario)


def test_who_stops_waiting_ends_the_call(run: Any) -> None:
    async def scenario(calls: Calls, cage: Cage) -> None:
        waiting = asyncio.create_task(one(calls, "wait"))
        await cage.entered.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await cage.left.wait()

    run(scenario)


def test_streams_of_answers(run: Any) -> None:
    async def scenario(calls: Calls, cage: Cage) -> None:
        answers = [MessageToDict(one) async for one in calls.stream(rpc("Many"), told(count=3, then=""), Sending())]
        assert answers == [{"number": 0}, {"number": 1}, {"number": 2}]

    run(scenario)


def test_a_stream_may_end_with_an_error(run: Any) -> None:
    async def scenario(calls: Calls, cage: Cage) -> None:
        answers = calls.stream(rpc("Many"), told(count=2, then="refuse"), Sending())
        assert [MessageToDict(await anext(answers)) for _ in range(2)] == [{"number": 0}, {"number": 1}]
        with pytest.raises(CallFailed, match="not found"):
            await anext(answers)

    run(scenario)


def test_closing_a_stream_ends_the_call(run: Any) -> None:
    async def scenario(calls: Calls, cage: Cage) -> None:
        async with aclosing(calls.stream(rpc("Many"), told(count=1, then="wait"), Sending())) as answers:
            await anext(answers)
            await cage.entered.wait()
        await cage.left.wait()

    run(scenario)


def test_streams_of_requests(run: Any) -> None:
    async def scenario(calls: Calls, cage: Cage) -> None:
        assert MessageToDict(await calls.unary(rpc("Sum"), numbers(1, 2, 3), Sending())) == {"sum": 6}
        again = [MessageToDict(one) async for one in calls.stream(rpc("Each"), numbers(1, 2), Sending())]
        assert again == [{"again": 1}, {"again": 2}]

    run(scenario)


def test_a_broken_stream_of_requests_ends_the_call_and_is_raised(run: Any) -> None:
    class Torn(Exception):
        pass

    async def torn(cage: Cage) -> AsyncIterator[Struct]:
        yield told(number=1)
        await cage.entered.wait()
        raise Torn

    async def scenario(calls: Calls, cage: Cage) -> None:
        with pytest.raises(Torn):
            await calls.unary(rpc("Sum"), torn(cage), Sending())
        await cage.left.wait()
        with pytest.raises(Torn):
            async for _ in calls.stream(rpc("Each"), torn(cage), Sending()):
                pass

    run(scenario)


def test_inside_nothing_is_made_before_it_is_taken() -> None:
    async def main() -> None:
        cage = Cage(asyncio.Event(), asyncio.Event())
        async with (
            calling("inside", cage) as calls,
            aclosing(calls.stream(rpc("Many"), told(count=100, then=""), Sending())) as answers,
        ):
            await anext(answers)
            for _ in range(20):
                await asyncio.sleep(0)
            assert cage.written <= 2

    asyncio.run(main())


def test_inside_calls_are_given_time_to_end_and_then_ended() -> None:
    async def main() -> None:
        cage = Cage(asyncio.Event(), asyncio.Event())
        async with calling("inside", cage) as calls:
            assert isinstance(calls, InsideCalls)
            waiting = asyncio.create_task(failure(calls, "wait"))
            await cage.entered.wait()
            await calls.drain(0.01)
            assert (await waiting).code is grpc.StatusCode.UNAVAILABLE
            assert (await failure(calls, "metadata")).code is grpc.StatusCode.UNAVAILABLE

    asyncio.run(main())


def test_inside_an_unknown_method_is_not_implemented() -> None:
    async def main() -> None:
        refused = await failure(InsideCalls({}, []), "metadata")
        assert refused.code is grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(main())
