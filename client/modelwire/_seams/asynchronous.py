"""What the client needs of asyncio and grpc.aio. `blocking` has the same names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import grpc.aio

from modelwire.ahead import Ahead, Pack
from modelwire.transport import Settings, channel_options
from modelwire.v1 import (
    artifact_service_pb2_grpc,
    config_service_pb2_grpc,
    job_service_pb2_grpc,
    model_service_pb2_grpc,
    predict_service_pb2_grpc,
    predictor_service_pb2_grpc,
    runner_service_pb2_grpc,
    train_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
    from concurrent.futures import Future

    from modelwire.v1.artifact_service_pb2_grpc import ArtifactServiceAsyncStub
    from modelwire.v1.config_service_pb2_grpc import ConfigServiceAsyncStub
    from modelwire.v1.job_service_pb2_grpc import JobServiceAsyncStub
    from modelwire.v1.model_service_pb2_grpc import ModelServiceAsyncStub
    from modelwire.v1.predict_service_pb2_grpc import PredictServiceAsyncStub
    from modelwire.v1.predictor_service_pb2_grpc import PredictorServiceAsyncStub
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

# What grpc.aio says when a write fails because the server has ended the call, and seconds to wait for what the server says.
WRITE_FAILED = "Internal error from Core"
STATUS_PATIENCE = 1.0

PREDICT_STREAM = "/modelwire.v1.PredictService/PredictStream"

T = TypeVar("T")


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
        self.models: ModelServiceAsyncStub = model_service_pb2_grpc.ModelServiceStub(channel)
        self.predict: PredictServiceAsyncStub = predict_service_pb2_grpc.PredictServiceStub(channel)
        # Messages as bytes: see modelwire.wire.
        self.predict_stream: StreamStream[bytes, bytes] = channel.stream_stream(PREDICT_STREAM)
        self.predictors: PredictorServiceAsyncStub = predictor_service_pb2_grpc.PredictorServiceStub(channel)
        self.runners: RunnerServiceAsyncStub = runner_service_pb2_grpc.RunnerServiceStub(channel)
        self.train: TrainServiceAsyncStub = train_service_pb2_grpc.TrainServiceStub(channel)


async def sleep(seconds: float) -> None:
    """Waits."""
    await asyncio.sleep(seconds)


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Does work that would hold up the loop."""
    return await asyncio.to_thread(work, *arguments)


@contextmanager
def readable(items: AsyncIterable[T] | Iterable[T]) -> Iterator[Iterable[T]]:
    """Items to be read in another thread, wherever they come from."""
    if isinstance(items, AsyncIterable):
        with closing(_OnLoop(items)) as on_loop:
            yield on_loop
    else:
        yield items


class _OnLoop(Generic[T]):
    """What an asynchronous iterator gives on the event loop, for another thread."""

    def __init__(self, items: AsyncIterable[T]) -> None:
        self._items = aiter(items)
        self._loop = asyncio.get_running_loop()
        self._next: Future[T] | None = None
        self._is_over = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if self._is_over:
            raise StopIteration
        self._next = asyncio.run_coroutine_threadsafe(self._coming(), self._loop)
        try:
            return self._next.result()
        except (StopAsyncIteration, CancelledError):
            raise StopIteration from None

    async def _coming(self) -> T:
        return await anext(self._items)

    def close(self) -> None:
        """Nobody waits any more."""
        self._is_over = True
        if self._next is not None:
            self._next.cancel()


class _AheadOfLoop(Ahead[T]):
    """Ahead, for who waits on the event loop."""

    def __init__(self, items: Iterator[T]) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        super().__init__(items)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(_finish, waiter)

    async def taken(self) -> list[T]:
        """See `take`."""
        while True:
            with self._change:
                if self._is_ready():
                    return self._taken()
                waiter = self._waiter = self._loop.create_future()
            await waiter


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


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
        self._status: asyncio.Future[grpc.RpcError] = asyncio.get_running_loop().create_future()
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
        call.add_done_callback(self._note_status)
        return call

    def _note_status(self, call: Any) -> None:
        """Keeps the server's status: grpc.aio overwrites it when a write fails after it came."""
        details = _value_of(call.details())
        if details != WRITE_FAILED and not self._status.done():
            code, trailer = _value_of(call.code()), _value_of(call.trailing_metadata())
            self._status.set_result(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailer, details))

    async def true_end(self, ended: BaseException) -> BaseException:
        """How the call ended, as the server says."""
        if not (isinstance(ended, grpc.aio.AioRpcError) and ended.details() == WRITE_FAILED):
            return ended
        done, _ = await asyncio.wait([self._status], timeout=STATUS_PATIENCE)
        return self._status.result() if done else ended

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

    async def outgoing(self, requests: Iterator[T], pack: Pack[T] | None = None) -> AsyncIterator[T]:
        """The requests, made in a thread; `pack` makes fewer of those that are ready at the same time. If making one fails the call
        is canceled and `failure` tells why."""
        with closing(_AheadOfLoop(requests)) as ahead:
            try:
                while ready := await ahead.taken():
                    for request in pack(ready) if pack else ready:
                        self.start()
                        yield request
                        self.stop()
                self.start()
            except Exception as error:
                self.failure = error
                self._call.cancel()


def _value_of(finished: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that has nothing to wait for."""
    try:
        finished.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    raise AssertionError("a call that is done has its status")
