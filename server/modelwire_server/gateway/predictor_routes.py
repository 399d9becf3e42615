"""The short paths of services that wrap predictors: what there is, what it predicts, and whether it works. Their answers are plain
values instead of documents; what is wrong is told as everywhere."""

import time
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from modelwire.v1 import predictor_service_pb2 as pb

from . import bodies
from .calls import CallFailed, Calls, Sending
from .exchange import JSON, Options, unless_gone
from .parsing import InvalidRequest
from .problems import Problem, violations_of
from .readiness import as_bad_request, attended_models, model_named
from .rendering import Renderer, to_json
from .sending import sending_of
from .short_paths import answer, missing, told, wrong

_SERVICE = pb.DESCRIPTOR.services_by_name["PredictorService"]
_HEALTH: Any = health_pb2.DESCRIPTOR.services_by_name["Health"].methods_by_name["Check"]
_SERVING = health_pb2.HealthCheckResponse.SERVING
# How callers name the predictor: in the query, or in the body.
_IN_QUERY, _IN_BODY = "model", "predictor"

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
    asked = [
        Route(path + slash, told(act, as_bad_request), methods=["GET"]) for path, act in questions.items() for slash in ("/", "")
    ]
    return [
        *asked,
        Route("/predict/", told(plain.predict, as_bad_request), methods=["POST"]),
        Route("/score/", told(plain.score, as_bad_request), methods=["POST"]),
    ]


class _Plain:
    def __init__(self, calls: Calls, options: Options) -> None:
        self._calls = calls
        self._options = options

    async def _call(self, name: str, request: Request, message: Message) -> Any:
        sending = sending_of(request, request.scope["state"]["request_id"], self._options.forwarded_headers)
        return await unless_gone(request, self._calls.unary(_SERVICE.methods_by_name[name], message, sending))

    async def live(self, request: Request) -> Response:
        return answer("LIVE")

    async def uptime(self, request: Request) -> Response:
        return answer(uptime())

    async def ready(self, request: Request) -> Response:
        """Of the server, of every predictor, and of the models that the server is to serve."""
        health: Any = await self._calls.unary(_HEALTH, health_pb2.HealthCheckRequest(), Sending())
        if health.status != _SERVING:
            raise _not_ready("the server does not take calls now")
        reply = await self._call("CheckReadiness", request, pb.CheckReadinessRequest())
        troubles = {one.predictor: one.message for one in reply.predictors if not one.ready}
        troubles |= {one.model: one.message for one in await attended_models(self._calls) if one.expected and not one.ready}
        return _readiness(troubles)

    async def ready_one(self, request: Request) -> Response:
        """Of a predictor, or else of a model of the name."""
        name = _named(request)
        try:
            reply = await self._call("CheckReadiness", request, pb.CheckReadinessRequest(predictor=name))
        except CallFailed as error:
            model = await model_named(self._calls, name, Sending()) if error.code is grpc.StatusCode.NOT_FOUND else None
            if model is None:
                raise
            return _readiness({} if model.ready else {model.model: model.message})
        return _readiness({one.predictor: one.message for one in reply.predictors if not one.ready})

    async def names(self, request: Request) -> Response:
        reply = await self._call("ListPredictors", request, pb.ListPredictorsRequest())
        return answer([predictor.name for predictor in reply.predictors])

    async def _member(self, request: Request, name: str) -> Response:
        reply = await self._call("GetPredictor", request, pb.GetPredictorRequest(predictor=_named(request)))
        return answer(Renderer().field(reply.predictor, name))

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
        reply = await self._act("Predict", request, message, body)
        return Response(reply.data_json, media_type=JSON)

    async def score(self, request: Request) -> Response:
        body = await self._body(request)
        message = pb.PredictorServiceScoreRequest(predictor=body[_IN_BODY], data_json=to_json(body["payload"]).decode())
        reply = await self._act("Score", request, message, body)
        scores = dict(reply.scores)
        return answer(next(iter(scores.values())) if reply.single else scores)

    async def _body(self, request: Request) -> Mapping[str, Any]:
        body = await bodies.parsed(await bodies.whole(request, self._options.max_body_bytes))
        if not isinstance(body, dict):
            raise InvalidRequest([wrong("model_attributes_type", ["body"], "Input should be a valid dictionary", body)])
        if absent := [missing(["body", name], body) for name in (_IN_BODY, "payload") if name not in body]:
            raise InvalidRequest(absent)
        if not isinstance(body[_IN_BODY], str):
            raise InvalidRequest([wrong("string_type", ["body", _IN_BODY], "Input should be a valid string", body[_IN_BODY])])
        return body

    async def _act(self, name: str, request: Request, message: Message, body: Mapping[str, Any]) -> Any:
        """Calls a method that may say what is wrong with the payload."""
        try:
            return await self._call(name, request, message)
        except CallFailed as error:
            told_of = violations_of(error)
            if error.code is not grpc.StatusCode.INVALID_ARGUMENT or not told_of:
                raise
            entries = [
                wrong(kind, ["body", "payload", *place[1:]], text, _at(body["payload"], place[1:])) for place, kind, text in told_of
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
        raise InvalidRequest([missing(["query", _IN_QUERY], None)])
    if not name:
        # Without a name the contract means all.
        raise Problem(400, "bad-request", "Bad Request", "there is no predictor without a name")
    return name


def _readiness(troubles: Mapping[str, str]) -> Response:
    """Raises Problem unless there are none."""
    if troubles:
        raise _not_ready("; ".join(f"{name}: {message}" for name, message in troubles.items()))
    return answer("READY")


def _not_ready(why: str) -> Problem:
    return Problem(503, "unavailable", "Service Unavailable", f"NOT_READY: {why}")
