"""The gRPC server: its ports, its connections and the calls under way."""

import asyncio
import contextlib
import random
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import structlog

from .admission import Admission
from .calls import Call, Refused, WrongRequest
from .connection import Connection
from .frames import Code, StreamFault
from .header_blocks import Headers
from .messages import ENCODINGS
from .metadata import Malformed, Request, path_of, read_request, read_timeout
from .outgoing import Turn
from .rules import ConnectionRules
from .streams import Receiver, Stream
from .timers import Timers

log = structlog.get_logger(__name__)

_Code = grpc.StatusCode
# Clients that connected together are not asked to connect anew together.
_AGE_SPREAD = 0.1
_CONTENT_TYPE = re.compile(r"application/grpc(?:[+;].*)?")
# Connections that are accepted in one turn of the event loop, and after how long it is tried again where that failed.
_MOST_AT_ONCE, _PAUSE_SECONDS = 128, 1.0
# So long may calls take that were canceled.
_END_SECONDS = 2.0
SHUTTING_DOWN = "the server is shutting down"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRules:
    """`max_message_bytes` is for what arrives. A call that finds `max_pending` others that have not even begun, or fewer where callers
    have more to ask than they may at once, is refused by `busy`, unless it streams. A connection of `max_connection_age` seconds is asked
    to end, and is ended after `max_connection_age_grace` more."""

    max_message_bytes: int = 4 << 20
    max_concurrent_rpcs: int | None = None
    max_pending: int = 1600
    busy: Refused = field(default_factory=lambda: Refused(_Code.RESOURCE_EXHAUSTED, "too many calls have not even begun"))
    max_connection_age: float = 3600.0
    max_connection_age_grace: float = 600.0
    connection: ConnectionRules = field(default_factory=ConnectionRules)


class GrpcServer:
    """Serves the methods that `find` knows by their paths: it returns a handler, or None."""

    def __init__(self, find: Callable[[str], Any], listeners: Sequence[socket.socket], rules: ServerRules) -> None:
        """The sockets listen already; they are closed with the server."""
        self._find = find
        self._listeners = listeners
        self._rules = rules
        self._accepting: set[asyncio.Task[Any]] = set()
        self._connections: dict[Connection, list[asyncio.TimerHandle]] = {}
        self._calls: set[Call] = set()
        self.admission = Admission(rules.max_pending)
        self._is_leaving = False
        self.timers, self._turn = Timers(), Turn()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.port: int = listeners[0].getsockname()[1]

    async def start(self) -> None:
        for one in self._listeners:
            one.setblocking(False)
            self._listen(one)

    @property
    def has_connections(self) -> bool:
        return bool(self._connections or self._accepting)

    def leave(self) -> None:
        """Takes no more connections, and has the peers of those that there are connect anew."""
        if self._is_leaving:
            return
        self._is_leaving = True
        for one in self._listeners:
            self._take_up(one)  # those that the kernel has accepted would be reset
            asyncio.get_running_loop().remove_reader(one)
            one.close()
        for connection in self._connections:
            connection.leave()

    async def stop(self, seconds: float) -> None:
        """Takes no more calls, gives those under way so much time to end, and cancels those that have not."""
        self.leave()
        if await self._is_quiet_in(seconds):
            return
        for call in list(self._calls):
            call.stop(_Code.UNAVAILABLE, SHUTTING_DOWN)
        for connection in list(self._connections):
            connection.close()
            # One whose peer does not read is not waited for.
            asyncio.get_running_loop().call_later(_END_SECONDS / 2, connection.abort)
        if not await self._is_quiet_in(_END_SECONDS):
            log.warning("calls go on although they were canceled", calls=len(self._calls))

    async def _is_quiet_in(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._quiet.wait()
        return self._quiet.is_set()

    # Connections

    def _listen(self, listener: socket.socket) -> None:
        if not self._is_leaving:
            asyncio.get_running_loop().add_reader(listener, self._take_up, listener)

    def _take_up(self, listener: socket.socket) -> None:
        """Accepts all that wait, but for a moment where there are no more descriptors."""
        loop = asyncio.get_running_loop()
        for _ in range(_MOST_AT_ONCE):
            try:
                link, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("connections cannot be accepted", error=str(error))
                loop.remove_reader(listener)
                loop.call_later(_PAUSE_SECONDS, self._listen, listener)
                return
            link.setblocking(False)
            task = loop.create_task(loop.connect_accepted_socket(self._connection, link))
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)

    def _connection(self) -> Connection:
        return Connection(self._rules.connection, self._accept, self, self._begun, self._ended, self.timers, self._turn)

    def _begun(self, connection: Connection) -> None:
        loop, rules = asyncio.get_running_loop(), self._rules
        age = rules.max_connection_age * random.uniform(1 - _AGE_SPREAD, 1 + _AGE_SPREAD)  # noqa: S311
        self._connections[connection] = [
            loop.call_later(age, connection.leave),
            loop.call_later(age + rules.max_connection_age_grace, connection.close),
        ]
        self._quiet.clear()
        if self._is_leaving:
            connection.leave()

    def _ended(self, connection: Connection) -> None:
        for timer in self._connections.pop(connection):
            timer.cancel()
        self._look_whether_quiet()

    def ended(self, call: Call) -> None:
        if call in self._calls:
            self._calls.remove(call)
            call.connection.ends(stays=call.stays)
        self._look_whether_quiet()

    def _look_whether_quiet(self) -> None:
        if not self._calls and not self._connections:
            self._quiet.set()

    # Calls

    def crowded(self, requests: int) -> None:
        self.admission.crowded(requests)

    def refusal(self, headers: Headers) -> bytes | None:
        """Looked at before anything else, so that refusing takes little of the time that there is too little of."""
        if self.admission.has_room:
            return None
        try:
            handler = self._find(path_of(headers))
        except Malformed:
            return None
        return None if handler is None or handler.request_streaming or handler.response_streaming else self._rules.busy.block

    def _accept(self, stream: Stream, headers: Headers, connection: Connection) -> Receiver | None:
        beginning, others = headers
        try:
            request = read_request(others, beginning)
        except Malformed as malformed:
            raise StreamFault(stream.id, Code.PROTOCOL_ERROR, str(malformed)) from None
        if (length := request.fields.get("content-length")) is not None:
            stream.left_in = int(length)
        if request.method != "POST":
            return WrongRequest(stream, 405, "calls of gRPC are sent by POST")
        if not _CONTENT_TYPE.fullmatch(request.fields.get("content-type", "")):
            return WrongRequest(stream, 415, "this port speaks gRPC: the content-type is application/grpc")
        try:
            return self._call(stream, request, connection)
        except Refused as refused:
            refused.tell(stream)
            return None

    def _call(self, stream: Stream, request: Request, connection: Connection) -> Call:
        """Raises Refused."""
        rules = self._rules
        if (handler := self._find(request.path)) is None:
            raise Refused(_Code.UNIMPLEMENTED, f"there is no method {request.path}")
        if request.fields.get("grpc-encoding", "identity") not in ENCODINGS:
            raise Refused(_Code.UNIMPLEMENTED, f"messages may be compressed by {', '.join(ENCODINGS[1:])} only")
        if rules.max_concurrent_rpcs is not None and len(self._calls) >= rules.max_concurrent_rpcs:
            raise Refused(_Code.RESOURCE_EXHAUSTED, f"there are {rules.max_concurrent_rpcs} calls under way, all that are allowed")
        timeout = _timeout(request)
        call = Call(
            stream,
            request,
            handler,
            timeout=timeout,
            connection=connection,
            max_bytes=rules.max_message_bytes,
            watch=self,
        )
        self._calls.add(call)
        connection.begins(stays=call.stays)
        self._quiet.clear()
        return call


def _timeout(request: Request) -> float | None:
    """Seconds. Raises Refused."""
    if (text := request.fields.get("grpc-timeout")) is None:
        return None
    try:
        return read_timeout(text)
    except ValueError as error:
        raise Refused(_Code.INTERNAL, str(error)) from None
