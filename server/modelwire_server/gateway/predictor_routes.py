"""The short paths of services that wrap predictors: what there is, what it predicts, and whether it works. Their answers are plain
values instead of documents; what is wrong is told as everywhere."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from modelwire.v1 import predictor_service_pb2 as pb

from ..interceptors.errors import status_of
from . import bodies
from .calls import CallFailed, Calls, Sending
from .exchange import JSON, Options, unless_gone
from .parsing import InvalidRequest
from .problems import CLIENT_GONE, Asked, Problem, invalid_request, problem_of, response_of, violations_of
from .rendering import Renderer, to_json
from .sending import sending_of

_SERVICE = pb.DESCRIPTOR.services_by_name["PredictorService"]
_HEALTH: Any = health_pb2.DESCRIPTOR.services_by_name["Health"].methods_by_name["Check"]
_SERVING = health_pb2.HealthCheckResponse.SERVING
# How callers name the predictor: in the query, or in the body.
_IN_QUERY, _IN_BODY = "model", "predictor"

Endpoint = Callable[[Request], Awaitable[Response]]

# With several processes this is imported before they are forked, so that they all say the same.
_STARTED = time.monotonic()


def uptime() -> float:
    """Seconds since the server was started."""
    return time.monotonic() - _STARTED


def predictor_routes(calls: Calls, options: Options) -> list[BaseRoute]:
    """All of these paths; those that end with a slash are there without it, too, unless they take a body."""
    plain = _Plain(calls, options)
    questions = {
        "/livez": plain.live,
        "/health/live": plain.live,
        "/readyz": plain.ready,
        "/healthz": plain.ready,
        "/health/ready": plain.ready_one,
        "/health/uptime": plain.uptime,
        "/list": plain.names,
        "/version": plain.version,
        "/creation_time": plain.creation_time,
        "/predict_schema": plain.predict_schema,
        "/score_schema": plain.score_schema,
    }
    asked = [Route(path + slash, _told(act), methods=["GET"]) for path, act in questions.items() for slash in ("/", "")]
    return [
        *asked,
        Route("/predict/", _told(plain.predict), methods=["POST"]),
        Route("/score/", _told(plain.score), methods=["POST"]),
    ]


async def predictors_summary(calls: Calls) -> dict[str, bool]:
    """Whether each predictor works; nothing where there are none, or where nobody tells."""
    try:
        answer: Any = await calls.unary(_SERVICE.methods_by_name["CheckReadiness"], pb.CheckReadinessRequest(), Sending())
    except CallFailed:
        return {}
    return {one.predictor: one.ready for one in answer.predictors}


def _told(endpoint: Endpoint) -> Endpoint:
    """Answers with a problem where the endpoint raises."""

    async def answered(request: Request) -> Response:
        asked = Asked(request.url.path, str(request.url), request.scope["state"]["request_id"])
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)  # nobody reads it
        except Problem as error:
            return response_of(error, asked)
        except InvalidRequest as error:
            return response_of(invalid_request(error.errors), asked)
        except CallFailed as error:
            return response_of(_problem(error, asked), asked)
        except Exception as error:
            status = status_of(error)  # which logs it
            return response_of(Problem(500, "internal", "Internal Server Error", status.message), asked)

    return answered


def _problem(error: CallFailed, asked: Asked) -> Problem:
    """Clients of these paths are told of a wrong name with 400."""
    problem = problem_of(error, asked)
    if error.code is grpc.StatusCode.NOT_FOUND:
        problem.status, problem.kind, problem.title = 400, "bad-request", "Bad Request"
    return problem


class _Plain:
    def __init__(self, calls: Calls, options: Options) -> None:
        self._calls = calls
        self._options = options

    async def _call(self, name: str, request: Request, message: Message) -> Any:
        sending = sending_of(request, request.scope["state"]["request_id"], self._options.forwarded_headers)
        return await unless_gone(request, self._calls.unary(_SERVICE.methods_by_name[name], message, sending))

    async def live(self, request: Request) -> Response:
        return _answer("LIVE")

    async def uptime(self, request: Request) -> Response:
        return _answer(uptime())

    async def ready(self, request: Request) -> Response:
        """Of the server, and of every predictor."""
        health: Any = await self._calls.unary(_HEALTH, health_pb2.HealthCheckRequest(), Sending())
        if health.status != _SERVING:
            raise _not_ready("the server does not take calls now")
        return await self._ready(request, "")

    async def ready_one(self, request: Request) -> Response:
        return await self._ready(request, _named(request))

    async def _ready(self, request: Request, name: str) -> Response:
        answer = await self._call("CheckReadiness", request, pb.CheckReadinessRequest(predictor=name))
        if not answer.ready:
            raise _not_ready("; ".join(f"{one.predictor}: {one.message}" for one in answer.predictors if not one.ready))
        return _answer("READY")

    async def names(self, request: Request) -> Response:
        answer = await self._call("ListPredictors", request, pb.ListPredictorsRequest())
        return _answer([predictor.name for predictor in answer.predictors])

    async def _member(self, request: Request, name: str) -> Response:
        answer = await self._call("GetPredictor", request, pb.GetPredictorRequest(predictor=_named(request)))
        return _answer(Renderer().field(answer.predictor, name))

    async def version(self, request: Request) -> Response:
        return await self._member(request, "version")

    async def creation_time(self, request: Request) -> Response:
        return await self._member(request, "created_at")

    async def predict_schema(self, request: Request) -> Response:
        return await self._member(request, "predict_schema")

    async def score_schema(self, request: Request) -> Response:
        return await self._member(request, "score_schema")

    async def predict(self, request: Request) -> Response:
        body = await self._body(request)
        message = pb.PredictorServicePredictRequest(predictor=body[_IN_BODY], data_json=to_json(body["payload"]).decode())
        answer = await self._act("Predict", request, message, body)
        return Response(answer.data_json, media_type=JSON)

    async def score(self, request: Request) -> Response:
        body = await self._body(request)
        message = pb.PredictorServiceScoreRequest(predictor=body[_IN_BODY], data_json=to_json(body["payload"]).decode())
        answer = await self._act("Score", request, message, body)
        scores = dict(answer.scores)
        return _answer(next(iter(scores.values())) if answer.single else scores)

    async def _body(self, request: Request) -> Mapping[str, Any]:
        body = await bodies.parsed(await bodies.whole(request, self._options.max_body_bytes))
        if not isinstance(body, dict):
            raise InvalidRequest([_wrong("model_attributes_type", ["body"], "Input should be a valid dictionary", body)])
        if missing := [_missing(["body", name], body) for name in (_IN_BODY, "payload") if name not in body]:
            raise InvalidRequest(missing)
        if not isinstance(body[_IN_BODY], str):
            raise InvalidRequest([_wrong("string_type", ["body", _IN_BODY], "Input should be a valid string", body[_IN_BODY])])
        return body

    async def _act(self, name: str, request: Request, message: Message, body: Mapping[str, Any]) -> Any:
        """Calls a method that may say what is wrong with the payload."""
        try:
            return await self._call(name, request, message)
        except CallFailed as error:
            wrong = violations_of(error)
            if error.code is not grpc.StatusCode.INVALID_ARGUMENT or not wrong:
                raise
            entries = [
                _wrong(kind, ["body", "payload", *place[1:]], text, _at(body["payload"], place[1:])) for place, kind, text in wrong
            ]
            raise InvalidRequest(entries) from None


def _at(payload: Any, place: list[str | int]) -> Any:
    """What stands at a place; nothing where something is missing."""
    try:
        for part in place:
            payload = payload[part]
    except (KeyError, IndexError, TypeError):
        return None
    return payload


def _named(request: Request) -> str:
    name = request.query_params.get(_IN_QUERY)
    if name is None:
        raise InvalidRequest([_missing(["query", _IN_QUERY], None)])
    if not name:
        # Without a name the contract means all.
        raise Problem(400, "bad-request", "Bad Request", "there is no predictor without a name")
    return name


def _missing(place: list[Any], value: Any) -> dict[str, Any]:
    return _wrong("missing", place, "Field required", value)


def _wrong(kind: str, place: list[Any], text: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "loc": place, "msg": text, "input": value}


def _not_ready(why: str) -> Problem:
    return Problem(503, "unavailable", "Service Unavailable", f"NOT_READY: {why}")


def _answer(value: Any) -> Response:
    return Response(to_json(value), media_type=JSON)
