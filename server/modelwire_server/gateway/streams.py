"""Streams of answers: server-sent events for browsers, lines of JSON for programs."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from starlette.responses import Response

from .answers import Streamed
from .calls import CallFailed
from .exchange import Exchange
from .parsing import InvalidRequest
from .problems import document, problem_of
from .rendering import to_json
from .shapes import EVENTS, RESUMED_FROM, kind_of_event

EVENT_STREAM = "text/event-stream; charset=utf-8"
NDJSON = "application/x-ndjson"
LAST_EVENT_ID = "last-event-id"
HEADERS = {"cache-control": "no-cache", "connection": "keep-alive", "x-accel-buffering": "no"}
# A stream whose first message takes longer is begun without it, so that its client knows that it is there.
BEGIN_SECONDS = 0.2

# Writes a message.
Writer = Callable[[Any], bytes]


async def streaming(exchange: Exchange, field: str = "") -> Response:
    """All messages that a method streams; `field` is what is told of each, by default what the method's binding says."""
    request = await exchange.message()
    resume(exchange, request)
    lines = exchange.accepts(NDJSON)
    name = field or exchange.method.response_body
    write = _line_of(exchange, name) if lines else _event_of(exchange, name)
    parts = written(exchange, exchange.stream(exchange.rpc, request), write)
    return await begun(exchange, parts, lines=lines)


def resume(exchange: Exchange, request: Any) -> None:
    """Lets a stream go on after the last event that its client has seen. Raises InvalidRequest for an id that is none of ours."""
    last = exchange.request.headers.get(LAST_EVENT_ID, "")
    least = RESUMED_FROM.get(request.DESCRIPTOR.full_name)
    if not last or least is None or request.after_sequence < least:  # which is refused, wherever the stream goes on
        return
    try:
        request.after_sequence = int(last)
    except ValueError:
        entry = {"type": "int_parsing", "loc": ["header", LAST_EVENT_ID], "msg": "Input should be a valid integer", "input": last}
        raise InvalidRequest([entry]) from None


async def begun(exchange: Exchange, parts: AsyncGenerator[bytes, None], *, lines: bool) -> Response:
    """The response for a stream. What fails at once is raised; what fails later is told in the stream."""
    first = asyncio.ensure_future(anext(parts, b""))
    try:
        await asyncio.wait({first}, timeout=BEGIN_SECONDS)
        if first.done():
            first.result()
    except BaseException:
        first.cancel()
        raise
    kind = NDJSON if lines else EVENT_STREAM
    return Streamed(_told(exchange, first, parts, lines=lines), headers={**HEADERS, "content-type": kind})


async def _told(
    exchange: Exchange, first: "asyncio.Future[bytes]", parts: AsyncGenerator[bytes, None], *, lines: bool
) -> AsyncGenerator[bytes, None]:
    """The stream from its first part on, and the problem that it ends with, if it does."""
    try:
        async with aclosing(parts):
            yield await first
            async for part in parts:
                yield part
    except CallFailed as failure:
        problem = to_json(document(problem_of(failure, exchange.asked), exchange.asked))
        yield b'{"error":' + problem + b"}\n" if lines else b"event: error\ndata: " + problem + b"\n\n"
    finally:
        first.cancel()


async def written(exchange: Exchange, messages: AsyncGenerator[Any, None], write: Writer) -> AsyncGenerator[bytes, None]:
    async with aclosing(messages):
        async for message in messages:
            yield write(message)


def data(value: Any) -> bytes:
    """An event without a name."""
    return b"data: " + to_json(value) + b"\n\n"


def line(value: Any) -> bytes:
    return to_json(value) + b"\n"


def _line_of(exchange: Exchange, name: str) -> Writer:
    return lambda message: line(exchange.renderer.message(getattr(message, name) if name else message))


def _event_of(exchange: Exchange, name: str) -> Writer:
    """Events with a name where the message is one of several kinds, and an id by which the stream can be resumed."""

    def write(message: Any) -> bytes:
        body = getattr(message, name) if name else message
        if body.DESCRIPTOR.full_name not in EVENTS:
            return data(exchange.renderer.message(body))
        return f"id: {body.sequence}\nevent: {kind_of_event(body)}\n".encode() + data(exchange.renderer.message(body))

    return write
