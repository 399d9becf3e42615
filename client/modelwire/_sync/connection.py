# Generated from ../_async by scripts/generate_client.py. Do not edit.

"""One connection to a server: every call goes through here."""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf import wrappers_pb2

from modelwire._seams import blocking as seam
from modelwire.backoff import FIRST_DELAY, Backoff
from modelwire.errors import ModelwireError, Unavailable
from modelwire.records import HealthStatus
from modelwire.statuses import asks_for_retry, error_of_call, never_arrived

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from modelwire.ahead import Pack
    from modelwire.transport import Settings

RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")

ATTEMPTS = 5
PAGE_SIZE = 500


def new_request_id() -> str:
    """An id that makes a request safe to repeat."""
    return uuid.uuid4().hex


def may_be_repeated(request: Any) -> bool:
    """Whether a request has the same effect when it is made twice."""
    return "request_id" in request.DESCRIPTOR.fields_by_name


class Line:
    """A channel that opens when it is used first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: tuple[seam.Channel, seam.Stubs] | None = None
        self._lock = threading.Lock()

    def _opened(self) -> tuple[seam.Channel, seam.Stubs]:
        with self._lock:
            if self._open is None:
                channel = seam.open_channel(self._settings)
                self._open = (channel, seam.Stubs(channel))
            return self._open

    @property
    def channel(self) -> seam.Channel:
        """The gRPC channel."""
        return self._opened()[0]

    @property
    def stubs(self) -> seam.Stubs:
        """The services, on the channel."""
        return self._opened()[1]

    def close(self) -> None:
        """Closes the channel, if it is open."""
        with self._lock:
            opened, self._open = self._open, None
        if opened is not None:
            opened[0].close()


class Connection:
    """Calls with deadlines, retries and errors. May be used by many at once."""

    def __init__(self, settings: Settings, line: Line | None = None) -> None:
        self.settings = settings
        self._line = line or Line(settings)

    def sharing(self, settings: Settings) -> Connection:
        """A connection with other settings over the same channel."""
        return Connection(settings, self._line)

    @property
    def stubs(self) -> seam.Stubs:
        """The services."""
        return self._line.stubs

    def close(self) -> None:
        """Ends all calls. The next call opens a new channel."""
        self._line.close()

    def _options(self, timeout: float | None) -> dict[str, Any]:
        return {"timeout": timeout, "metadata": self.settings.metadata, "wait_for_ready": self.settings.wait_for_ready or None}

    def call(self, method: seam.UnaryUnary[RequestT, AnswerT], request: RequestT, *, timeout: float | None = None) -> AnswerT:
        """One request, one answer, within `timeout` seconds (default: the client's).

        gRPC itself repeats what may be repeated when the server cannot be reached (see the service config); here is repeated what
        the server refused with a time to come back, and, for those who wait for a server, what may be repeated and got lost more
        often than gRPC tries.
        """
        limit = self.settings.timeout if timeout is None else timeout
        due = None if limit is None else time.monotonic() + limit
        for attempt in range(1, ATTEMPTS + 1):
            left = None if due is None else max(0.0, due - time.monotonic())
            try:
                return method(request, **self._options(left))
            except seam.RpcError as failed:
                error = error_of_call(failed, self.settings.target)
            delay = error.retry_after or FIRST_DELAY
            again = asks_for_retry(error) or (self.settings.wait_for_ready and may_be_repeated(request) and never_arrived(error))
            if attempt == ATTEMPTS or not again or (due is not None and time.monotonic() + delay >= due):
                raise error from None
            seam.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    def send(
        self,
        method: seam.StreamUnary[RequestT, AnswerT],
        requests: Callable[[], Iterator[RequestT]],
        *,
        replayable: bool,
    ) -> AnswerT:
        """Many requests, one answer. `requests` is called once an attempt; there is one attempt only unless `replayable`."""
        # Unlike a call with one request, gRPC repeats such a one only as long as it fits a small buffer.
        answer: AnswerT = self.persist(lambda: self._send_once(method, requests()), replayable=replayable)
        return answer

    def persist(self, work: Callable[[], Any], *, replayable: bool) -> Any:
        """Does work that may be repeated until the connection lasts through it, at most a few times."""
        backoff = Backoff(self.settings.reconnect_for)
        for _ in range(1, ATTEMPTS):
            try:
                return work()
            except ModelwireError as error:
                if not replayable or not never_arrived(error):
                    raise
                delay = backoff.next(error)
            seam.sleep(delay)
        return work()

    def _send_once(self, method: seam.StreamUnary[RequestT, AnswerT], requests: Iterator[RequestT]) -> AnswerT:
        with seam.Guard(self.settings.stall_timeout) as guard:
            call = guard.watch(seam.start_upload(method, guard.outgoing(requests), **self._options(None)))
            try:
                answer: AnswerT = seam.answer_of(call)
            except seam.CALL_ENDED as ended:
                raise self._reason(guard.true_end(ended), guard) from None
            return answer

    def receive(
        self,
        method: seam.UnaryStream[RequestT, AnswerT],
        request: RequestT,
        *,
        idle: float | None,
        timeout: float | None = None,
    ) -> Generator[AnswerT, None]:
        """One request, many answers. Raises Unavailable if none comes for `idle` seconds."""
        with seam.Guard(idle) as guard:
            call = guard.watch(method(request, **self._options(timeout)))
            yield from self._answers(call, guard)

    def converse(
        self,
        method: seam.StreamStream[RequestT, AnswerT],
        requests: Iterator[RequestT],
        *,
        idle: float | None,
        timeout: float | None = None,
        pack: Pack[RequestT] | None = None,
    ) -> Generator[AnswerT, None]:
        """Many requests, many answers, both as they come. `pack` makes fewer requests of those that are ready at the same time."""
        with seam.Guard(idle) as guard:
            call = guard.watch(method(guard.outgoing(requests, pack), **self._options(timeout)))
            yield from self._answers(call, guard)

    def _answers(self, call: Any, guard: seam.Guard) -> Iterator[Any]:
        guard.start()
        try:
            for answer in call:
                guard.stop()
                yield answer
                guard.start()
        except seam.CALL_ENDED as ended:
            raise self._reason(guard.true_end(ended), guard) from None

    def _reason(self, ended: BaseException, guard: seam.Guard) -> BaseException:
        """Why a call ended that did not end well."""
        if guard.failure is not None:
            return guard.failure
        if guard.expired:
            return Unavailable(f"{self.settings.target} stands still: nothing came for too long")
        if isinstance(ended, seam.RpcError):
            return error_of_call(ended, self.settings.target)
        return ended

    def health(self, service: str) -> HealthStatus:
        """What the server says of itself or of one of its services, by the standard health protocol."""
        # HealthCheckRequest and HealthCheckResponse are, byte by byte, a StringValue and an Int32Value.
        check = self._line.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=wrappers_pb2.StringValue.SerializeToString,
            response_deserializer=wrappers_pb2.Int32Value.FromString,
        )
        answer: wrappers_pb2.Int32Value = self.call(check, wrappers_pb2.StringValue(value=service))
        known = {1: HealthStatus.SERVING, 2: HealthStatus.NOT_SERVING}
        return known.get(answer.value, HealthStatus.UNKNOWN)

    def pages(self, method: seam.UnaryUnary[RequestT, AnswerT], request: Any, items: str, limit: int | None) -> Iterator[Any]:
        """The `items` of all pages, at most `limit` in all."""
        left = limit
        while left is None or left > 0:
            request.page_size = PAGE_SIZE if left is None else min(left, PAGE_SIZE)
            answer: Any = self.call(method, request)
            yield from getattr(answer, items)
            left = None if left is None else left - len(getattr(answer, items))
            request.page_token = answer.next_page_token
            if not request.page_token:
                return
