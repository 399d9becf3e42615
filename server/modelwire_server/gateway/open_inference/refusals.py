"""What is wrong, as clients of the protocol expect it: `{"error": "..."}`."""

import math
from collections.abc import Awaitable, Callable

import grpc
from google.rpc import error_details_pb2
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ...interceptors.errors import status_of
from ..calls import CallFailed
from ..exchange import JSON
from ..problems import CLIENT_GONE, Problem, reason_of
from ..rendering import to_json

_Code = grpc.StatusCode
STATUSES = {
    _Code.CANCELLED: CLIENT_GONE,
    _Code.INVALID_ARGUMENT: 400,
    _Code.DEADLINE_EXCEEDED: 504,
    _Code.NOT_FOUND: 404,
    _Code.ALREADY_EXISTS: 409,
    _Code.PERMISSION_DENIED: 403,
    _Code.RESOURCE_EXHAUSTED: 429,
    _Code.FAILED_PRECONDITION: 400,
    _Code.OUT_OF_RANGE: 400,
    _Code.UNIMPLEMENTED: 501,
    _Code.UNAVAILABLE: 503,
    _Code.UNAUTHENTICATED: 401,
}

Endpoint = Callable[[Request], Awaitable[Response]]


class Refused(Exception):
    """Ends a request."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.status = message, status


def refusing(endpoint: Endpoint) -> Endpoint:
    """Answers with what is wrong where the endpoint raises."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)  # nobody reads it
        except Refused as error:
            return refusal(error.message, error.status)
        except Problem as error:
            return refusal(error.detail, error.status, error.headers)
        except CallFailed as error:
            return refusal(error.message, _status(error), _when_to_retry(error))
        except Exception as error:
            return refusal(status_of(error).message, 500)  # status_of() logs it

    return answered


def _status(error: CallFailed) -> int:
    """What is not there yet is not the caller's mistake."""
    return 503 if reason_of(error)[0] == "MODEL_NOT_READY" else STATUSES.get(error.code, 500)


def refusal(message: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json({"error": message}), status, headers=headers, media_type=JSON)


def _when_to_retry(error: CallFailed) -> dict[str, str]:
    for detail in error.status.details:
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return {"retry-after": str(math.ceil(info.retry_delay.ToTimedelta().total_seconds()))}
    return {}
