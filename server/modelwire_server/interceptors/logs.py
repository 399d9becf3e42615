"""One line per call, and a request id in every line that is logged on its behalf."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from ..clock import new_id
from .around import Call, Context
from .outcome import code_of

REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,100}")
# Asked every few seconds by machines.
_QUIET = "grpc.health."

log = structlog.get_logger("modelwire_server.calls")


@asynccontextmanager
async def log_calls(call: Call) -> AsyncIterator[None]:
    """Logs the end of each call. The request id is the caller's, or a new one; it goes back in the trailer."""
    request_id = _request_id(call.context)
    call.context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)
    began, failure = time.perf_counter(), None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        write = log.debug if call.service.startswith(_QUIET) else log.info
        write(
            "call",
            method=call.path,
            code=code_of(call.context, failure),
            duration_ms=round((time.perf_counter() - began) * 1000, 2),
            peer=call.context.peer(),
        )


def _request_id(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return new_id()
