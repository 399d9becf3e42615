"""What the client needs of asyncio and grpc.aio. `blocking` has the same names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc.aio

from modelwire.transport import Settings, channel_options
from modelwire.v1 import (
    artifact_service_pb2_grpc,
    config_service_pb2_grpc,
    job_service_pb2_grpc,
    predict_service_pb2_grpc,
    runner_service_pb2_grpc,
    train_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from modelwire.v1.artifact_service_pb2_grpc import ArtifactServiceAsyncStub
    from modelwire.v1.config_service_pb2_grpc import ConfigServiceAsyncStub
    from modelwire.v1.job_service_pb2_grpc import JobServiceAsyncStub
    from modelwire.v1.predict_service_pb2_grpc import PredictServiceAsyncStub
    from modelwire.v1.runner_service_pb2_grpc import RunnerServiceAsyncStub
    from modelwire.v1.train_service_pb2_grpc import TrainServiceAsyncStub

Channel = grpc.aio.Channel
UnaryUnary = grpc.aio.UnaryUnaryMultiCallable
UnaryStream = grpc.aio.UnaryStreamMultiCallable
StreamUnary = grpc.aio.StreamUnaryMultiCallable
StreamStream = grpc.aio.StreamStreamMultiCallable

RpcError = grpc.RpcError
# How a call ends that did not end well.
CALL_ENDED = (grpc.RpcError, asyncio.CancelledError)

T = TypeVar("T")
_END: Any = object()


def open_channel(settings: Settings) -> Channel:
    """A channel that connects when it is used first."""
    if settings.credentials is None:
        return grpc.aio.insecure_channel(settings.target, options=channel_options())
    return grpc.aio.secure_channel(settings.target, settings.credentials, options=channel_options())


class Stubs:
    """The services of a server."""

    def __init__(self, channel: Channel) -> None:
        self.artifacts: ArtifactServiceAsyncStub = artifact_service_pb2_grpc.ArtifactServiceStub(channel)
        self.configs: ConfigServiceAsyncStub = config_service_pb2_grpc.ConfigServiceStub(channel)
        self.jobs: JobServiceAsyncStub = job_service_pb2_grpc.JobServiceStub(channel)
        self.predict: PredictServiceAsyncStub = predict_service_pb2_grpc.PredictServiceStub(channel)
        self.runners: RunnerServiceAsyncStub = runner_service_pb2_grpc.RunnerServiceStub(channel)
        self.train: TrainServiceAsyncStub = train_service_pb2_grpc.TrainServiceStub(channel)


async def sleep(seconds: float) -> None:
    """Waits."""
    await asyncio.sleep(seconds)


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Does work that would hold up the loop."""
    return await asyncio.to_thread(work, *arguments)


def start_upload(method: Any, requests: AsyncIterator[Any], **options: Any) -> Any:
    """Starts a call that takes many requests and gives one answer."""
    return method(requests, **options)


async def answer_of(call: Any) -> Any:
    """The answer of such a call."""
    return await call


class Guard:
    """Cancels a call that stands still for `seconds` while it is waited for.

    The clock runs from `start` to `stop`. Leaving the context ends the call.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._call: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self.expired = False
        self.failure: Exception | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()
        if self._call is not None:
            self._call.cancel()

    def watch(self, call: Any) -> Any:
        """The call to cancel."""
        self._call = call
        return call

    def start(self) -> None:
        """The other side is to do something within the time."""
        self.stop()
        if self._seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expire)

    def stop(self) -> None:
        """Nothing is waited for."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        self.expired = True
        self._call.cancel()

    async def outgoing(self, requests: Iterator[T]) -> AsyncIterator[T]:
        """The requests, made in a thread. If making one fails the call is canceled and `failure` tells why."""
        try:
            while (request := await asyncio.to_thread(next, requests, _END)) is not _END:
                self.start()
                yield request
                self.stop()
            self.start()
        except Exception as error:
            self.failure = error
            self._call.cancel()
