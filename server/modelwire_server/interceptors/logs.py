"""One line per call, and a request id in every line that is logged on its behalf."""

import logging
import random
import re
import time
from typing import Any

import structlog

from .around import Act, Context, Method
from .outcome import OK, code_of

REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,100}")
# Asked every few seconds by machines.
_QUIET = "grpc.health."
# A line takes longer than a prediction: those that went well are told at debug level only, and of those that did not so many per second.
_HOT = ("modelwire.v1.PredictService/Predict", "inference.GRPCInferenceService/ModelInfer")
_FAILURES_PER_SECOND = 20
_NAME = "modelwire_server.calls"

log = structlog.get_logger(_NAME)
_logger = logging.getLogger(_NAME)


def log_calls(method: Method, act: Act) -> Act:
    """Logs the end of each call. The request id is the caller's, or a new one; it goes back in the trailer."""
    quiet = method.service.startswith(_QUIET)
    failures = _Failures() if method.path in _HOT else None

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
            is_told = not quiet if failures is None else code != OK and failures.has_room(began)
            level = logging.INFO if is_told else logging.DEBUG
            if is_told or _logger.isEnabledFor(level):
                more = failures.left_out() if is_told and failures else {}
                duration = round((time.perf_counter() - began) * 1000, 2)
                log.log(level, "call", method=method.path, code=code, duration_ms=duration, peer=context.peer(), **more)

    return logged


class _Failures:
    """How many failures of a method are told in each second, and how many were left out."""

    def __init__(self) -> None:
        self._second, self._told, self._left_out = 0, 0, 0

    def has_room(self, now: float) -> bool:
        if int(now) != self._second:
            self._second, self._told = int(now), 0
        has_room = self._told < _FAILURES_PER_SECOND
        self._told += has_room
        self._left_out += not has_room
        return has_room

    def left_out(self) -> dict[str, int]:
        """What a line says of those before it."""
        count, self._left_out = self._left_out, 0
        return {"others_left_out": count} if count else {}


def _request_id(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return f"{random.getrandbits(104):026x}"
