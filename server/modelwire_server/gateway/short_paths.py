"""What the short paths have in common: they answer with plain values, and tell what is wrong as everywhere."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..interceptors.errors import status_of
from .calls import CallFailed
from .exchange import JSON
from .parsing import InvalidRequest
from .problems import CLIENT_GONE, Asked, Problem, invalid_request, problem_of, response_of
from .rendering import to_json

Endpoint = Callable[[Request], Awaitable[Response]]


def told(endpoint: Endpoint, of_call: Callable[[CallFailed, Asked], Problem] = problem_of) -> Endpoint:
    """Answers with a problem where the endpoint raises; `of_call` is which one a failed call is."""

    async def answered(request: Request) -> Response:
        asked = Asked(request.url.path, str(request.url), request.scope["state"]["request_id"])
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)  # nobody reads it
        except Exception as error:
            return response_of(problem_for(error, asked, of_call), asked)

    return answered


def problem_for(error: Exception, asked: Asked, of_call: Callable[[CallFailed, Asked], Problem] = problem_of) -> Problem:
    """The problem that an error is."""
    match error:
        case Problem():
            return error
        case InvalidRequest():
            return invalid_request(error.errors)
        case CallFailed():
            return of_call(error, asked)
    status = status_of(error)  # which logs it
    return Problem(500, "internal", "Internal Server Error", status.message)


def missing(place: list[Any], value: Any) -> dict[str, Any]:
    return wrong("missing", place, "Field required", value)


def wrong(kind: str, place: list[Any], text: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "loc": place, "msg": text, "input": value}


def answer(value: Any) -> Response:
    return Response(to_json(value), media_type=JSON)
