"""One request over HTTP and the calls that are made to answer it."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import orjson
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from . import bodies
from .calls import Calls, Requests, Sending
from .methods import Match, Method
from .parsing import Complaints, read_field, read_message, scalar
from .problems import Asked, Problem
from .rendering import Renderer, to_json
from .shapes import DEFAULTS

T = TypeVar("T")

FORWARDED = ("authorization", "baggage", "traceparent", "tracestate", "x-api-key")
FORWARDED_PREFIX = "grpc-metadata-"
REQUEST_ID = "x-request-id"
LONGEST_TIMEOUT = 366 * 24 * 3600.0
_GRPC_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the gateway behaves: which fields answers have, and what it takes from callers."""

    extra_fields: bool = False
    info_profile: int = 1
    max_body_bytes: int = 64 << 20
    forwarded_headers: tuple[str, ...] = ()


@dataclass(slots=True)
class Exchange:
    """What is asked, and the means to answer it."""

    request: Request
    match: Match
    calls: Calls
    options: Options
    request_id: str
    body: Any = None
    _sending: Sending | None = field(default=None, init=False)
    _read: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @property
    def method(self) -> Method:
        return self.match.method

    @property
    def rpc(self) -> MethodDescriptor:
        return self.match.method.rpc

    @property
    def asked(self) -> Asked:
        return Asked(self.request.url.path, str(self.request.url), self.request_id, self.match, self.body)

    @property
    def renderer(self) -> Renderer:
        return Renderer(extra=self.options.extra_fields)

    def accepts(self, media_type: str) -> bool:
        """Whether the caller names this type, not only a pattern that it fits."""
        return media_type in (bodies.media_type(part) for part in self.request.headers.get("accept", "").split(","))

    def sends(self, media_type: str) -> bool:
        return bodies.media_type(self.request.headers.get("content-type")) == media_type

    async def message(self, *, without: Collection[str] = ()) -> Any:
        """The request of the method; fields of the body that are named in `without` are left to the caller. Raises InvalidRequest,
        Problem, ClientDisconnect."""
        request = self.blank()
        found = Complaints()
        if self.method.body:
            self.body = await bodies.parsed(await bodies.whole(self.request, self.options.max_body_bytes))
            read = partial(self._read_body, request, found, without)
            await asyncio.to_thread(read) if _is_large(self.request) else read()
        self._read.set()
        self.read_query(request, found)
        found.settle()
        return request

    def blank(self) -> Any:
        """The request with what the path says."""
        request: Any = GetMessageClass(self.method.request)()
        for path, value in self.match.values.items():
            target, one = _reach(request, path)
            assert one is not None
            setattr(target, one.name, scalar(one, value))
        for name, default in DEFAULTS.get(request.DESCRIPTOR.full_name, {}).items():
            setattr(request, name, default)
        return request

    def _read_body(self, request: Any, found: Complaints, without: Collection[str]) -> None:
        if self.method.body == "*":
            read_message(request, self.body, ("body",), found, given={*self.match.values, *without})
        else:
            one: Any = self.method.request.fields_by_name[self.method.body]
            read_field(request, one, self.body, ("body",), found)

    def read_query(self, request: Any, found: Complaints, *, everything: bool = False) -> None:
        """Fills in what the query says; names that the request does not have do not count."""
        if self.method.body == "*" and not everything:
            return
        texts: dict[str, list[str]] = {}
        for name, text in self.request.query_params.multi_items():
            texts.setdefault(name, []).append(text)
        for name, values in texts.items():
            target, one = _reach(request, name)
            if one is not None and name.split(".")[0] not in (*self.match.values, self.method.body):
                read_field(target, one, _as_json(one, values), ("query", name), found)

    @property
    def sending(self) -> Sending:
        """What goes along with every call. Raises Problem for a deadline that is none."""
        if self._sending is None:
            headers = self.request.headers
            allowed = {*FORWARDED, *self.options.forwarded_headers}
            pairs = [(key, value) for key, value in headers.items() if key in allowed]
            pairs += [
                (key.removeprefix(FORWARDED_PREFIX), value) for key, value in headers.items() if key.startswith(FORWARDED_PREFIX)
            ]
            client = self.request.client
            peer = f"http:{client.host}:{client.port}" if client else "http"
            metadata = tuple((key, value) for key, value in pairs if _travels(key, value))
            self._sending = Sending((*metadata, (REQUEST_ID, self.request_id)), timeout_of(self.request), peer)
        return self._sending

    async def call(self, rpc: MethodDescriptor, requests: Requests) -> Any:
        """Calls a method. Raises CallFailed, and ClientDisconnect if nobody waits for the answer any more."""
        return await self.unless_gone(self.calls.unary(rpc, requests, self.sending))

    def stream(self, rpc: MethodDescriptor, requests: Requests) -> AsyncGenerator[Message, None]:
        return self.calls.stream(rpc, requests, self.sending)

    async def unless_gone(self, work: Awaitable[T]) -> T:
        """Does work as long as the client waits for it. Raises ClientDisconnect when it has left."""
        doing = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise ClientDisconnect
            return doing.result()
        finally:
            gone.cancel()
            if doing.cancel():
                await asyncio.wait({doing})

    async def _gone(self) -> None:
        """Returns when the client has left; not before the body has come, since whoever reads it learns of it first."""
        await self._read.wait()
        while (await self.request.receive())["type"] != "http.disconnect":
            pass

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes. Raises ClientDisconnect."""
        async for chunk in bodies.chunks(self.request):
            yield chunk
        self._read.set()

    def answer(self, value: Any, status: int | None = None, headers: dict[str, str] | None = None) -> Response:
        """A JSON answer, by default with the method's own status."""
        status = status or self.method.success_status
        if status == 204:
            return Response(status_code=204, headers=headers)
        return Response(to_json(value), status, headers=headers, media_type=JSON)


def _is_large(request: Request) -> bool:
    size = request.headers.get("content-length", "")
    return not size.isdigit() or int(size) > bodies.SMALL


def _reach(message: Any, path: str) -> tuple[Any, FieldDescriptor | None]:
    """The message that a path such as `run_info.prediction_periods` leads to, and its field; None if there is none."""
    *outer, last = path.split(".")
    descriptor = message.DESCRIPTOR
    for name in outer:
        one = _named(descriptor, name)
        if one is None or one.message_type is None or one.is_repeated:
            return message, None
        descriptor = one.message_type
    if _named(descriptor, last) is None:
        return message, None
    for name in outer:
        one = _named(message.DESCRIPTOR, name)
        assert one is not None
        message = getattr(message, one.name)
    return message, _named(descriptor, last)


def _named(descriptor: Any, name: str) -> Any:
    return descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)


def _as_json(one: FieldDescriptor, texts: list[str]) -> Any:
    """The value that a JSON body would have: lists of all that was given, of single ones the last; objects are written as JSON."""
    values = [_object(text) for text in texts] if one.message_type is not None else texts
    return values if one.is_repeated and not _is_map(one) else values[-1]


def _is_map(one: FieldDescriptor) -> bool:
    return one.message_type is not None and bool(one.message_type.GetOptions().map_entry)


def _object(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return text  # times and durations


def _travels(key: str, value: str) -> bool:
    """Whether gRPC carries this as metadata."""
    plain = all(" " <= character <= "~" for character in value)
    return plain and re.fullmatch(r"[0-9a-z_.-]+", key) is not None and not key.startswith("grpc-") and not key.endswith("-bin")


def timeout_of(request: Request) -> float | None:
    """Seconds that the caller waits, by `grpc-timeout: 1500m` or `x-timeout: 1.5`. Raises Problem for what is neither."""
    text = request.headers.get("grpc-timeout")
    if text is not None:
        found = _GRPC_TIMEOUT.fullmatch(text)
        if found is None:
            raise _no_timeout("grpc-timeout", text)
        return min(int(found.group(1)) * _UNITS[found.group(2)], LONGEST_TIMEOUT)
    text = request.headers.get("x-timeout")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        raise _no_timeout("x-timeout", text) from None
    if not seconds > 0:
        raise _no_timeout("x-timeout", text)
    return min(seconds, LONGEST_TIMEOUT)


def _no_timeout(header: str, text: str) -> Problem:
    return Problem(400, "bad-request", "Bad Request", f"{header}: {text[:50]!r} is no time to wait")
