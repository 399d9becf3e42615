"""The HTTP side of a server: the contract as REST, and what it says of itself."""

from collections.abc import Mapping, Sequence

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..clock import new_id
from ..metrics import MetricsText
from .calls import CallFailed
from .openapi.entities import schema_routes
from .parsing import InvalidRequest
from .problems import Asked, Problem, invalid_request, not_allowed, not_found, problem_of, response_of
from .system import CHECK_SECONDS, Check, Summary, system_routes
from .transcoding import REQUEST_ID_HEADER, Transcoder


def http_app(
    *,
    checks: Mapping[str, Check],
    metrics: MetricsText,
    transcoder: Transcoder | None = None,
    pages: Sequence[BaseRoute] = (),
    check_seconds: float = CHECK_SECONDS,
    summary: Summary | None = None,
) -> Starlette:
    """Health, metrics and `pages`, and for every other path the methods of the contract. `summary` tells of the predictors."""
    app = Starlette(
        routes=[*system_routes(checks, metrics, check_seconds, summary), *schema_routes(), *pages],
        middleware=[Middleware(RequestIds)],
        exception_handlers={HTTPException: _refused, InvalidRequest: _invalid, CallFailed: _failed},
    )
    app.router.redirect_slashes = False
    if transcoder is not None:
        app.router.default = transcoder
    return app


class RequestIds:
    """Gives every request an id of its own, which is told in a header of the response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope.setdefault("state", {})["request_id"] = new_id()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


def _asked(request: Request) -> Asked:
    return Asked(request.url.path, str(request.url), request.scope["state"]["request_id"])


async def _refused(request: Request, error: Exception) -> Response:
    """What the router refuses: a path that is not there, or not with this verb."""
    assert isinstance(error, HTTPException)
    allowed = (error.headers or {}).get("Allow", "")
    problem: Problem = not_allowed(sorted(allowed.split(", "))) if error.status_code == 405 else not_found()
    return response_of(problem, _asked(request))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidRequest)
    return response_of(invalid_request(error.errors), _asked(request))


async def _failed(request: Request, error: Exception) -> Response:
    """A page that could not ask the server for what it shows."""
    assert isinstance(error, CallFailed)
    return response_of(problem_of(error, _asked(request)), _asked(request))
