"""What the client needs of threads and blocking gRPC. `asynchronous` has the same names."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

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
    from collections.abc import Callable, Iterable, Iterator

Channel = grpc.Channel
UnaryUnary = grpc.UnaryUnaryMultiCallable
UnaryStream = grpc.UnaryStreamMultiCallable
StreamUnary = grpc.StreamUnaryMultiCallable
StreamStream = grpc.StreamStreamMultiCallable

RpcError = grpc.RpcError
# How a call ends that did not end well.
CALL_ENDED = (grpc.RpcError, grpc.FutureCancelledError)

PREDICT_STREAM = "/modelwire.v1.PredictService/PredictStream"

T = TypeVar("T")


def open_channel(settings: Settings) -> Channel:
    """A channel that connects when it is used first."""
    if settings.credentials is None:
        return grpc.insecure_channel(settings.target, options=channel_options())
    return grpc.secure_channel(settings.target, settings.credentials, options=channel_options())


class Stubs:
    """The services of a server."""

    def __init__(self, channel: Channel) -> None:
        self.artifacts = artifact_service_pb2_grpc.ArtifactServiceStub(channel)
        self.configs = config_service_pb2_grpc.ConfigServiceStub(channel)
        self.jobs = job_service_pb2_grpc.JobServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)
        self.predict = predict_service_pb2_grpc.PredictServiceStub(channel)
        # Messages as bytes: see modelwire.wire.
        self.predict_stream: StreamStream[bytes, bytes] = channel.stream_stream(PREDICT_STREAM)
        self.predictors = predictor_service_pb2_grpc.PredictorServiceStub(channel)
        self.runners = runner_service_pb2_grpc.RunnerServiceStub(channel)
        self.train = train_service_pb2_grpc.TrainServiceStub(channel)


def sleep(seconds: float) -> None:
    """Waits."""
    time.sleep(seconds)


def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Does work; the caller's thread is as good as another."""
    return work(*arguments)


@contextmanager
def readable(items: Iterable[T]) -> Iterator[Iterable[T]]:
    """Items to be read in another thread."""
    yield items


def start_upload(method: Any, requests: Iterator[Any], **options: Any) -> Any:
    """Starts a call that takes many requests and gives one answer."""
    return method.future(requests, **options)


def answer_of(call: Any) -> Any:
    """The answer of such a call."""
    return call.result()


class Guard:
    """Cancels a call that stands still for `seconds` while it is waited for.

    The clock runs from `start` to `stop`. Leaving the context ends the call.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._call: Any = None
        self._bound = threading.Event()
        self._change = threading.Condition()
        self._due: float | None = None
        self._over = False
        self._ahead: Ahead[Any] | None = None
        self.expired = False
        self.failure: Exception | None = None

    def __enter__(self) -> Self:
        if self._seconds is not None:
            threading.Thread(target=self._run, name="modelwire-guard", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._change:
            self._over = True
            self._change.notify()
        if self._ahead is not None:
            self._ahead.close()
        if self._call is not None:
            self._call.cancel()

    def watch(self, call: Any) -> Any:
        """The call to cancel."""
        self._call = call
        self._bound.set()
        return call

    def true_end(self, ended: BaseException) -> BaseException:
        """How the call ended, which blocking calls tell at once."""
        return ended

    def start(self) -> None:
        """The other side is to do something within the time."""
        if self._seconds is not None:
            self._set_due(time.monotonic() + self._seconds)

    def stop(self) -> None:
        """Nothing is waited for."""
        self._set_due(None)

    def _set_due(self, due: float | None) -> None:
        with self._change:
            # A sleeping guard looks at the clock by itself: it has to be woken only for its first appointment.
            wake = self._due is None and due is not None
            self._due = due
            if wake:
                self._change.notify()

    def _run(self) -> None:
        with self._change:
            while not self._over:
                left = None if self._due is None else self._due - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._change.wait(left)
            self.expired = not self._over
        if self.expired:
            self._bound.wait()
            self._call.cancel()

    def outgoing(self, requests: Iterator[T], pack: Pack[T] | None = None) -> Iterator[T]:
        """The requests; `pack` makes fewer of those that are ready at the same time. If making one fails the call is canceled and
        `failure` tells why."""
        self._bound.wait()
        try:
            for request in requests if pack is None else self._packed(requests, pack):
                self.start()
                yield request
                self.stop()
            self.start()
        except Exception as error:
            self.failure = error
            self._call.cancel()

    def _packed(self, requests: Iterator[T], pack: Pack[T]) -> Iterator[T]:
        """They are made in a thread: gRPC's asks for the next one only when the one before is sent."""
        with self._change:
            if self._over:
                return
            ahead = self._ahead = Ahead(requests)
        while ready := ahead.take():
            yield from pack(ready)
