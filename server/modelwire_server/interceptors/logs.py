"""One line per call, and a request id in every line that is logged on its behalf."""

import logging
import re
import secrets
import time
from typing import Any

import structlog

from .around import Act, Context, Method
from .outcome import OK, code_of

REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,100}")
# Asked every few seconds by machines.
_QUIET = "grpc.health."
# A line takes longer than a prediction: those that went well are told at debug level only.
_HOT = ("modelwire.v1.PredictService/Predict", "inference.GRPCInferenceService/ModelInfer")
_NAME = "modelwire_server.calls"

log = structlog.get_logger(_NAME)


def log_calls(method: Method, act: Act) -> Act:
    """Logs the end of each call. The request id is the caller's, or a new one; it goes back in the trailer."""
    quiet, hot = method.service.startswith(_QUIET), method.path in _HOT

    async def logged(request: Any, context: Context) -> Any:
        request_id = _request_id(context)
        context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        began, failure = time.perf_counter(), None
        try:
            return await act(request, context)
        except BaseException as error:
            failure = error
            raise
        finally:
            code = code_of(context, failure)
            if not quiet and not (hot and code == OK):
                _write(logging.INFO, method, context, code, began)
            elif logging.getLogger(_NAME).isEnabledFor(logging.DEBUG):
                _write(logging.DEBUG, method, context, code, began)

    return logged


def _write(level: int, method: Method, context: Context, code: str, began: float) -> None:
    duration = round((time.perf_counter() - began) * 1000, 2)
    log.log(level, "call", method=method.path, code=code, duration_ms=duration, peer=context.peer())


def _request_id(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return secrets.token_hex(13)
