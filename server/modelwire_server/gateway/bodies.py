"""The bodies of requests: read whole up to a limit, or in chunks as they come."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request

from .json_text import parse_json
from .parsing import InvalidRequest
from .problems import Problem

ARROW = "application/vnd.apache.arrow.stream"
# Above this size a body is parsed in a thread.
SMALL = 64 * 1024
CHUNK = 1 << 20


def media_type(value: str | None) -> str:
    """`application/json` of `Application/JSON; charset=utf-8`."""
    return (value or "").partition(";")[0].strip().lower()


async def whole(request: Request, limit: int) -> bytes:
    """The body. Raises Problem above the limit, ClientDisconnect."""
    check_encoding(request)
    return await collected(request, limit)


async def collected(request: Request, limit: int) -> bytes:
    """The body as it came, whatever it is encoded in. Raises Problem above the limit, ClientDisconnect."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise too_large(limit)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


async def chunks(request: Request, size: int = CHUNK) -> AsyncIterator[bytes]:
    """The body in chunks of about `size` bytes, the last one smaller. Raises ClientDisconnect."""
    check_encoding(request)
    waiting = bytearray()
    async for chunk in request.stream():
        waiting += chunk
        if len(waiting) >= size:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def check_encoding(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise Problem(415, "unsupported-media-type", "Unsupported Media Type", f"Bodies cannot be encoded as {encoding[:50]}")


def too_large(limit: int) -> Problem:
    return Problem(413, "too-large", "Content Too Large", f"The body has more than {limit:,} bytes, the limit for it")


async def parsed(body: bytes) -> Any:
    """The value of a JSON text; no text means an empty object. NaN and infinities, which are no JSON, are null. Raises
    InvalidRequest."""
    if not body.strip():
        return {}
    try:
        return _parse(body) if len(body) <= SMALL else await asyncio.to_thread(_parse, body)
    except ValueError as error:
        entry = {"type": "json_invalid", "loc": ["body"], "msg": "JSON decode error", "input": {}, "ctx": {"error": str(error)}}
        raise InvalidRequest([entry]) from None


def _parse(text: bytes) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        if not any(word in text for word in (b"NaN", b"Infinity")):
            raise
        return json.loads(text, parse_constant=lambda _: None)
