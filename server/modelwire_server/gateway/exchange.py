"""One request over HTTP and the calls that are made to answer it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from . import bodies
from .calls import Calls, Requests, Sending
from .methods import Match, Method
from .parsing import Complaints, read_field, read_message
from .problems import Asked
from .query import reach, read_query
from .rendering import Renderer, to_json
from .sending import sending_of
from .shapes import DEFAULTS

T = TypeVar("T")

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the gateway behaves: which fields answers have, and what it takes from callers."""

    extra_fields: bool = False
    info_profile: int = 1
    max_body_bytes: int = 64 << 20
    max_tensor_bytes: int = 256 << 20
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
        found = Complaints()
        request = self.blank(found)
        if self.method.body:
            self.body = await bodies.parsed(await bodies.whole(self.request, self.options.max_body_bytes))
            read = partial(self._read_body, request, found, without)
            await asyncio.to_thread(read) if _is_large(self.request) else read()
        self._read.set()
        if self.method.body != "*":
            self.from_query(request, found)
        found.settle()
        return request

    def blank(self, found: Complaints) -> Any:
        """The request with what the path says, and what REST clients want by default."""
        request: Any = GetMessageClass(self.method.request)()
        for path, value in self.match.values.items():
            target, one = reach(request, path)
            assert one is not None
            read_field(target, one, value, ("path", path), found)
        for name, default in DEFAULTS.get(request.DESCRIPTOR.full_name, {}).items():
            setattr(request, name, default)
        return request

    def from_query(self, message: Any, found: Complaints, more: str = "") -> None:
        """Fills in what the query says and neither the path nor the body does; `more` is added to it."""
        read_query(message, f"{self.request.url.query}&{more}", found, without={*self.match.values, self.method.body})

    def _read_body(self, request: Any, found: Complaints, without: Collection[str]) -> None:
        if self.method.body == "*":
            read_message(request, self.body, ("body",), found, given={*self.match.values, *without})
        else:
            one: Any = self.method.request.fields_by_name[self.method.body]
            read_field(request, one, self.body, ("body",), found)

    @property
    def sending(self) -> Sending:
        """What goes along with every call. Raises Problem for a deadline that is none."""
        if self._sending is None:
            self._sending = sending_of(self.request, self.request_id, self.options.forwarded_headers)
        return self._sending

    async def call(self, rpc: MethodDescriptor, requests: Requests) -> Any:
        """Calls a method. Raises CallFailed, and ClientDisconnect if nobody waits for the answer any more."""
        return await self.unless_gone(self.calls.unary(rpc, requests, self.sending))

    def stream(self, rpc: MethodDescriptor, requests: Requests) -> AsyncGenerator[Message, None]:
        return self.calls.stream(rpc, requests, self.sending)

    async def unless_gone(self, work: Awaitable[T]) -> T:
        """Does work as long as the client waits for it. Raises ClientDisconnect when it has left."""
        return await unless_gone(self.request, work, self._read)

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


async def unless_gone(request: Request, work: Awaitable[T], read: asyncio.Event | None = None) -> T:
    """Does work as long as the client waits for it. Raises ClientDisconnect when it has left. Whoever reads the body learns of that
    first; `read` is set when that is done, if it is not yet."""
    doing = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request, read))
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientDisconnect
        return doing.result()
    finally:
        gone.cancel()
        if doing.cancel():
            await asyncio.wait({doing})
        # An error of the work refers to this frame.
        del doing


async def _gone(request: Request, read: asyncio.Event | None) -> None:
    """Returns when the client has left."""
    if read is not None:
        await read.wait()
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _is_large(request: Request) -> bool:
    size = request.headers.get("content-length", "")
    return not size.isdigit() or int(size) > bodies.SMALL
