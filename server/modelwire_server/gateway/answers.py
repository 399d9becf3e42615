"""What methods answer, as responses."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from .bodies import SMALL
from .exchange import Exchange
from .rendering import Renderer

HTTP_BODY = "google.api.HttpBody"


class Streamed(StreamingResponse):
    """A body in parts. Its source is closed at the end, also when the client has left: that ends the call behind it."""

    def __init__(self, parts: AsyncGenerator[bytes, None], **options: Any) -> None:
        super().__init__(parts, **options)
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._parts):
            if scope["method"] == "HEAD":
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await send({"type": "http.response.body"})
            else:
                await super().__call__(scope, receive, send)


async def plain(exchange: Exchange) -> Response:
    """One request, one answer."""
    request = await exchange.message()
    return await answer_of(exchange, await exchange.call(exchange.rpc, request))


async def answer_of(exchange: Exchange, answer: Any) -> Response:
    """The response for a method's answer: JSON, or the bytes of a google.api.HttpBody."""
    name = exchange.method.response_body
    body = getattr(answer, name) if name else answer
    if isinstance(body, Message) and body.DESCRIPTOR.full_name == HTTP_BODY:
        raw: Any = body
        return Response(raw.data, exchange.method.success_status, headers={"content-type": raw.content_type})
    value = await rendered(exchange.renderer, answer, name)
    return exchange.answer(value, headers=location(exchange.request, value) if exchange.method.success_status == 201 else None)


async def rendered(renderer: Renderer, answer: Any, name: str = "") -> Any:
    """The JSON value of a message, or of one of its fields; large ones are made in a thread."""

    def render() -> Any:
        return renderer.field(answer, name) if name else renderer.message(answer)

    return await asyncio.to_thread(render) if answer.ByteSize() > SMALL else render()


def location(request: Request, value: Any) -> dict[str, str] | None:
    """Where that can be found which a POST has made: below the collection that it was sent to."""
    if not isinstance(value, dict):
        return None
    made = value.get("id") or value.get("version")
    collection = request.url.path.rstrip("/").rpartition("/$")[0] or request.url.path.rstrip("/")
    if made and made == value.get("version") and not collection.endswith("/versions"):
        collection = f"{collection}/{value['name']}/versions"
    return {"location": str(request.url.replace(path=f"{collection}/{made}", query="", fragment=""))} if made else None
