"""What happens around calls, on a real server, for all four shapes of a method."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import grpc_serving
import pytest
import structlog
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from modelwire_server.deadline import remaining
from modelwire_server.errors import ArtifactNotFound, FieldViolation, InvalidConfig, InvalidField, ModelwireError, Overloaded
from modelwire_server.interceptors.around import Act, Around, AroundCalls, Context, Method, Surrounded
from modelwire_server.interceptors.deadlines import deadlines
from modelwire_server.interceptors.errors import errors_to_statuses
from modelwire_server.interceptors.logs import log_calls
from modelwire_server.interceptors.metrics import count_calls
from modelwire_server.metrics import ServerMetrics

SERVICE = "test.v1.EchoService"
SHAPES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
Behaviour = Callable[[str, Any], Any]


def handler_of(shape: str, behave: Behaviour) -> Any:
    """A method of the given shape that answers `behave(text of the last request, context)`."""

    async def last(requests: Any) -> str:
        text = ""
        async for request in requests:
            text = request.value
        return text

    async def unary_unary(request: StringValue, context: Any) -> StringValue:
        return StringValue(value=await behave(request.value, context))

    async def stream_unary(requests: Any, context: Any) -> StringValue:
        return StringValue(value=await behave(await last(requests), context))

    async def unary_stream(request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        yield StringValue(value="first")
        yield StringValue(value=await behave(request.value, context))

    async def stream_stream(requests: Any, context: Any) -> AsyncIterator[StringValue]:
        yield StringValue(value="first")
        yield StringValue(value=await behave(await last(requests), context))

    make = getattr(grpc, f"{shape}_rpc_method_handler")
    return make(locals()[shape], StringValue.FromString, StringValue.SerializeToString)


@asynccontextmanager
async def serving(behave: Behaviour, around: AroundCalls) -> AsyncIterator[grpc.aio.Channel]:
    handlers = {shape: handler_of(shape, behave) for shape in SHAPES}
    async with (
        grpc_serving.serving(grpc_serving.methods(SERVICE, handlers, around)) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield channel


async def call(channel: grpc.aio.Channel, shape: str, text: str = "hello", **options: Any) -> tuple[str, Any]:
    """The last answer, and the call."""
    make = getattr(channel, shape)
    method = make(f"/{SERVICE}/{shape}", StringValue.SerializeToString, StringValue.FromString)
    requests = iter([StringValue(value="x"), StringValue(value=text)]) if shape.startswith("stream") else StringValue(value=text)
    running = method(requests, **options)
    if shape.endswith("unary"):
        return (await running).value, running
    answers = [answer.value async for answer in running]
    assert answers[0] == "first"
    return answers[-1], running


async def echo(text: str, context: Any) -> str:
    return text


def raising(error: Exception) -> Behaviour:
    async def behave(text: str, context: Any) -> str:
        raise error

    return behave


async def failure_of(behave: Behaviour, around: AroundCalls, shape: str = "unary_unary", **options: Any) -> grpc.aio.AioRpcError:
    async with serving(behave, around) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, shape, **options)
    return caught.value


def details_of(error: Any, kind: Any) -> Any:
    """The detail of that kind, or None."""
    status = rpc_status.from_call(error)
    for packed in status.details:
        detail = kind()
        if packed.Unpack(detail):
            return detail
    return None


@pytest.mark.parametrize("shape", SHAPES)
def test_arounds_begin_in_order_and_end_in_reverse(shape: str) -> None:
    seen: list[str] = []

    def around(name: str) -> Around:
        def noting(method: Method, act: Act) -> Act:
            async def noted(request: Any, context: Context) -> Any:
                seen.append(f"{name} {method.path} {method.streams}")
                answer = await act(request, context)
                seen.append(f"/{name}")
                return answer

            return noted

        return noting

    async def main() -> None:
        async with serving(echo, AroundCalls(around("outer"), around("inner"))) as channel:
            assert (await call(channel, shape))[0] == "hello"

    asyncio.run(main())
    path, streams = f"{SERVICE}/{shape}", shape != "unary_unary"
    assert seen == [f"outer {path} {streams}", f"inner {path} {streams}", "/inner", "/outer"]


def test_unknown_methods_stay_unimplemented_and_are_not_remembered() -> None:
    async def main() -> None:
        surrounded = Surrounded(AroundCalls())
        async with (
            grpc_serving.serving(surrounded.find) as server,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        ):
            for number in range(3):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary(f"/{SERVICE}/No{number}")(b"")
                assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert not surrounded._known

    asyncio.run(main())


@pytest.mark.parametrize("shape", SHAPES)
def test_domain_errors_become_statuses(shape: str) -> None:
    error = asyncio.run(
        failure_of(raising(ArtifactNotFound("there is no artifact x", artifact="x")), AroundCalls(errors_to_statuses), shape=shape)
    )
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == "there is no artifact x"
    info = details_of(error, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == ("ARTIFACT_NOT_FOUND", "modelwire", {"artifact": "x"})


def test_retry_info_says_when_to_try_again() -> None:
    error = asyncio.run(failure_of(raising(Overloaded("too much")), AroundCalls(errors_to_statuses)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details_of(error, error_details_pb2.RetryInfo).retry_delay.ToTimedelta() == timedelta(seconds=1)


@pytest.mark.parametrize("length", [10, 300])
def test_many_violations_are_capped_and_arrive(length: int) -> None:
    violations = [FieldViolation(f"data.column[{number}]", "ø" * length) for number in range(1000)]
    failed = raising(InvalidConfig("1,000 values do not fit: " + "ø%" * 2000, violations=violations, runner="ß" * 5000))
    error = asyncio.run(failure_of(failed, AroundCalls(log_calls, errors_to_statuses)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    sent = details_of(error, error_details_pb2.BadRequest).field_violations
    assert 1 <= len(sent) <= 50
    assert len(sent) == 50 or length == 300
    assert sent[0].field == "data.column[0]"
    assert len(rpc_status.from_call(error).SerializeToString()) < 6 * 1024


@pytest.mark.parametrize("shape", SHAPES)
def test_unexpected_errors_tell_only_an_id(shape: str) -> None:
    with capture_logs() as logs:
        error = asyncio.run(failure_of(raising(KeyError("secret")), AroundCalls(errors_to_statuses), shape=shape))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(rpc_status.from_call(error))
    (entry,) = logs
    assert isinstance(entry["exc_info"], KeyError)
    info = details_of(error, error_details_pb2.ErrorInfo)
    assert (info.reason, dict(info.metadata)) == ("INTERNAL", {"error_id": entry["error_id"]})
    assert entry["error_id"] in error.details()


def test_statuses_that_a_method_set_itself_stay() -> None:
    async def behave(text: str, context: Any) -> str:
        await context.abort(grpc.StatusCode.ABORTED, "by itself")
        return ""

    with capture_logs() as logs:
        error = asyncio.run(failure_of(behave, AroundCalls(errors_to_statuses)))
    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "by itself")
    assert not logs


@pytest.mark.parametrize("shape", ["stream_unary", "stream_stream"])
def test_a_message_in_a_stream_that_cannot_be_decoded_is_the_callers_fault(shape: str) -> None:
    async def main() -> grpc.aio.AioRpcError:
        async with serving(echo, AroundCalls(errors_to_statuses)) as channel:
            running = getattr(channel, shape)(f"/{SERVICE}/{shape}")(iter([b"\xff\xff\xff"]))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                _ = await running if shape == "stream_unary" else [answer async for answer in running]
        return caught.value

    error = asyncio.run(main())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(error, error_details_pb2.ErrorInfo).reason == "INVALID_FIELD"


@pytest.mark.parametrize("shape", ["unary_unary", "unary_stream"])
def test_a_single_message_that_cannot_be_decoded_is_the_callers_fault(shape: str) -> None:
    async def main() -> grpc.aio.AioRpcError:
        async with serving(echo, AroundCalls(errors_to_statuses)) as channel:
            running = getattr(channel, shape)(f"/{SERVICE}/{shape}")(b"\xff\xff\xff")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                _ = await running if shape == "unary_unary" else [answer async for answer in running]
        return caught.value

    assert asyncio.run(main()).code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_remaining_time_is_known_inside() -> None:
    async def behave(text: str, context: Any) -> str:
        return str(remaining())

    async def main() -> None:
        async with serving(behave, AroundCalls(deadlines(100))) as channel:
            assert 90 < float((await call(channel, "unary_unary"))[0]) <= 100
            assert 5 < float((await call(channel, "unary_unary", timeout=10))[0]) < 11
            assert (await call(channel, "unary_stream"))[0] == "None"
            assert 5 < float((await call(channel, "stream_stream", timeout=10))[0]) < 11

    asyncio.run(main())


def test_a_call_without_deadline_is_ended() -> None:
    ended: list[bool] = []

    async def behave(text: str, context: Any) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        return ""

    error = asyncio.run(failure_of(behave, AroundCalls(errors_to_statuses, deadlines(0.05))))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert details_of(error, error_details_pb2.ErrorInfo).reason == "DEADLINE_EXCEEDED"
    assert ended


def test_a_timeout_of_the_method_itself_is_no_deadline() -> None:
    with capture_logs():
        error = asyncio.run(failure_of(raising(TimeoutError()), AroundCalls(errors_to_statuses, deadlines(10))))
    assert error.code() is grpc.StatusCode.INTERNAL


class Expired:
    """A context whose deadline has passed, which grpc itself rarely lets through."""

    def time_remaining(self) -> float:
        return 0.0


def test_an_expired_call_is_refused() -> None:
    async def never(request: Any, context: Context) -> None:
        pytest.fail("the call must not run")

    async def main() -> None:
        await deadlines(10)(Method(SERVICE, "unary_unary", False), never)("", Expired())  # type: ignore[arg-type]

    with pytest.raises(ModelwireError, match="had passed"):
        asyncio.run(main())


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, {"service": SERVICE, **labels})


@pytest.mark.parametrize("shape", SHAPES)
def test_calls_are_counted_by_code(shape: str) -> None:
    metrics = ServerMetrics()

    async def behave(text: str, context: Any) -> str:
        assert value(metrics.registry, "modelwire_calls_in_flight", method=shape) == 1
        if text == "bad":
            raise InvalidField("bad")
        return text

    async def main() -> None:
        async with serving(behave, AroundCalls(count_calls(metrics), errors_to_statuses)) as channel:
            await call(channel, shape)
            with pytest.raises(grpc.aio.AioRpcError):
                await call(channel, shape, "bad")

    asyncio.run(main())
    assert value(metrics.registry, "modelwire_calls_started_total", method=shape) == 2
    assert value(metrics.registry, "modelwire_calls_handled_total", method=shape, code="OK") == 1
    assert value(metrics.registry, "modelwire_calls_handled_total", method=shape, code="INVALID_ARGUMENT") == 1
    assert value(metrics.registry, "modelwire_call_seconds_count", method=shape) == 2
    assert value(metrics.registry, "modelwire_calls_in_flight", method=shape) == 0


@pytest.mark.parametrize(("ends_by", "code"), [("cancel", "CANCELLED"), ("timeout", "DEADLINE_EXCEEDED")])
@pytest.mark.parametrize("shape", SHAPES)
def test_calls_that_are_given_up_are_counted(shape: str, ends_by: str, code: str) -> None:
    metrics = ServerMetrics()

    async def main() -> None:
        began, ended = asyncio.Event(), asyncio.Event()

        async def behave(text: str, context: Any) -> str:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return ""

        async with serving(behave, AroundCalls(count_calls(metrics), errors_to_statuses)) as channel:
            request = b"" if shape.startswith("unary") else iter([b""])
            running = getattr(channel, shape)(f"/{SERVICE}/{shape}")(request, timeout=0.2 if ends_by == "timeout" else None)
            await began.wait()
            if ends_by == "cancel":
                running.cancel()
            await ended.wait()
            assert (await running.code()).name == code

    asyncio.run(main())
    assert value(metrics.registry, "modelwire_calls_handled_total", method=shape, code=code) == 1
    assert value(metrics.registry, "modelwire_calls_in_flight", method=shape) == 0


def test_generators_are_closed_when_the_caller_has_left() -> None:
    """While it waits to write, the generator is suspended at a yield: nothing but closing it runs its finally block."""

    async def main() -> None:
        closed = asyncio.Event()

        async def endless(request: StringValue, context: Any) -> AsyncIterator[StringValue]:
            try:
                while True:
                    yield StringValue(value="x" * 100_000)
            finally:
                closed.set()

        method = grpc.unary_stream_rpc_method_handler(endless, StringValue.FromString, StringValue.SerializeToString)
        find = grpc_serving.methods(SERVICE, {"Endless": method}, AroundCalls(errors_to_statuses))
        async with grpc_serving.serving(find) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            running = channel.unary_stream(f"/{SERVICE}/Endless")(b"")
            await running.read()
            running.cancel()
            await asyncio.wait_for(closed.wait(), 10)

    asyncio.run(main())


@pytest.mark.parametrize("shape", SHAPES)
def test_each_call_is_logged_once_with_its_request_id(shape: str) -> None:
    async def behave(text: str, context: Any) -> str:
        structlog.get_logger().info("inside", **structlog.contextvars.get_contextvars())
        return text

    async def main() -> None:
        async with serving(behave, AroundCalls(log_calls)) as channel:
            _, running = await call(channel, shape, metadata=(("x-request-id", "mine-1"),))
            assert dict(await running.trailing_metadata())["x-request-id"] == "mine-1"

    with capture_logs() as logs:
        asyncio.run(main())
    inside, end = logs
    assert inside["request_id"] == "mine-1"
    assert (end["event"], end["method"], end["code"], end["log_level"]) == ("call", f"{SERVICE}/{shape}", "OK", "info")
    assert end["duration_ms"] > 0
    assert end["peer"].startswith("ipv4:127.0.0.1")


@pytest.mark.parametrize("unfit", [None, "two words", "x" * 101, "a\nb"])
def test_a_request_id_is_made_when_there_is_no_fit_one(unfit: str | None) -> None:
    async def main() -> str:
        async with serving(echo, AroundCalls(log_calls)) as channel:
            metadata = (("x-request-id", unfit),) if unfit and "\n" not in unfit else ()
            _, running = await call(channel, "unary_unary", metadata=metadata)
            return dict(await running.trailing_metadata())["x-request-id"]

    assert len(asyncio.run(main())) == 26


def test_a_failed_call_keeps_its_request_id() -> None:
    error = asyncio.run(failure_of(raising(InvalidField("no")), AroundCalls(log_calls, errors_to_statuses)))
    assert len(dict(error.trailing_metadata())["x-request-id"]) == 26
    assert rpc_status.from_call(error) == status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])


def test_the_code_in_the_log_is_the_one_that_is_sent() -> None:
    with capture_logs() as logs:
        asyncio.run(failure_of(raising(InvalidField("no")), AroundCalls(log_calls, errors_to_statuses)))
    assert [entry["code"] for entry in logs] == ["INVALID_ARGUMENT"]


class Answered:
    """A context of a call that went well, or was ended with a code."""

    def __init__(self, code: grpc.StatusCode | None = None) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode | None:
        return self._code

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def set_trailing_metadata(self, metadata: Any) -> None:
        pass

    def peer(self) -> str:
        return "inside"


@pytest.mark.parametrize(("code", "level"), [(None, "debug"), (grpc.StatusCode.INTERNAL, "info")])
def test_predictions_that_went_well_are_told_at_debug_level_only(
    code: grpc.StatusCode | None, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(request: Any, context: Context) -> str:
        return "answer"

    logged = log_calls(Method("modelwire.v1.PredictService", "Predict", False), answer)
    for enabled in (logging.INFO, logging.DEBUG):
        with caplog.at_level(enabled, "modelwire_server.calls"), capture_logs() as logs:
            asyncio.run(logged("", Answered(code)))  # type: ignore[arg-type]
        told = level == "info" or enabled == logging.DEBUG
        assert [entry["log_level"] for entry in logs] == [level] * told


def test_of_many_predictions_that_fail_some_are_told_and_the_rest_is_counted() -> None:
    async def answer(request: Any, context: Context) -> str:
        return "answer"

    async def main() -> None:
        logged = log_calls(Method("modelwire.v1.PredictService", "Predict", False), answer)
        until = time.perf_counter() + 1.05  # into the next second
        while time.perf_counter() < until:
            for _ in range(50):
                await logged("", Answered(grpc.StatusCode.RESOURCE_EXHAUSTED))  # type: ignore[arg-type]

    with capture_logs() as logs:
        asyncio.run(main())
    assert 21 <= len(logs) <= 60
    assert sum(entry.get("others_left_out", 0) for entry in logs) >= 30
