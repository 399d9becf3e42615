"""Requests over HTTP become calls of the contract's methods."""

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..clock import new_id
from ..errors import ModelwireError
from ..interceptors.errors import CODES, status_of
from .calls import CallFailed, Calls
from .exchange import Exchange, Options
from .methods import Method, MethodTable
from .operations import Operation, operation_of
from .parsing import InvalidRequest
from .problems import CLIENT_GONE, Asked, Problem, invalid_request, not_allowed, not_found, problem_of, response_of
from .templates import segments

REQUEST_ID_HEADER = "x-request-id"

log = structlog.get_logger(__name__)


class Transcoder:
    """An ASGI application that has a path for every binding of the methods."""

    def __init__(self, calls: Calls, methods: tuple[Method, ...], options: Options) -> None:
        self._calls = calls
        self._options = options
        self._table = MethodTable(methods)
        self._operations: dict[int, Operation] = {id(method): operation_of(method) for method in self._table.methods}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.respond(Request(scope, receive, send))
        await response(scope, receive, send)

    async def respond(self, request: Request) -> Response:
        request_id: str = request.scope.setdefault("state", {}).setdefault("request_id", new_id())
        path = segments(path_of(request.scope))
        match = self._table.find(request.method, path)
        if match is None:
            verbs = self._table.verbs(path)
            asked = Asked(request.url.path, str(request.url), request_id)
            return response_of(not_allowed(verbs) if verbs else not_found(), asked)
        exchange = Exchange(request, match, self._calls, self._options, request_id)
        try:
            return await self._operations[id(match.method)](exchange)
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)  # nobody reads it
        except Exception as error:
            return response_of(_problem(error, exchange.asked), exchange.asked)


def path_of(scope: Scope) -> str:
    """The path as it was sent, so that a slash in a value is not one in the path."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.decode("latin-1").partition("?")[0]


def _problem(error: Exception, asked: Asked) -> Problem:
    match error:
        case Problem():
            return error
        case InvalidRequest():
            return invalid_request(error.errors)
        case CallFailed():
            return problem_of(error, asked)
        case ModelwireError():
            return problem_of(CallFailed(CODES[error.reason], error.message, status_of(error)), asked)
    status = status_of(error)  # which logs it
    return Problem(500, "internal", "Internal Server Error", status.message)
