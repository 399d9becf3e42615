"""Whether models can predict, for health pages and short paths, and the short path that has them looked for anew."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from modelwire.v1 import model_service_pb2 as pb
from modelwire.v1 import predictor_service_pb2

from .calls import CallFailed, Calls, Sending
from .exchange import Options, unless_gone
from .problems import Asked, Problem, problem_of
from .rendering import Renderer
from .sending import sending_of
from .short_paths import answer, told

_MODELS = pb.DESCRIPTOR.services_by_name["ModelService"].methods_by_name
_PREDICTORS = predictor_service_pb2.DESCRIPTOR.services_by_name["PredictorService"].methods_by_name


@dataclass(frozen=True, slots=True)
class Ready:
    """Whether each predictor works, and each model that is taken care of, by name; what there is to say of these models; and whether
    any of them does not do all that it should."""

    ready: Mapping[str, bool] = field(default_factory=dict)
    models: Sequence[Any] = ()
    degraded: bool = False


def readiness_routes(calls: Calls, options: Options) -> list[BaseRoute]:
    """`/reload`, with and without a slash."""

    async def reload(request: Request) -> Response:
        sending = sending_of(request, request.scope["state"]["request_id"], options.forwarded_headers)
        message = pb.ReloadModelsRequest(name=request.query_params.get("model", ""))
        reply: Any = await unless_gone(request, calls.unary(_MODELS["ReloadModels"], message, sending))
        return answer({"message": "model reload request received", "models": {one.model: one.ready for one in reply.models}})

    return [Route(path, told(reload, as_bad_request), methods=["GET", "POST"]) for path in ("/reload", "/reload/")]


def as_bad_request(error: CallFailed, asked: Asked) -> Problem:
    """Clients of the short paths are told of a wrong name with 400."""
    problem = problem_of(error, asked)
    if error.code is grpc.StatusCode.NOT_FOUND:
        problem.status, problem.kind, problem.title = 400, "bad-request", "Bad Request"
    return problem


async def readiness_summary(calls: Calls) -> Ready:
    """Whether each predictor works, and each model that the server takes care of; nothing where nobody tells."""
    predictors = await _told(calls, _PREDICTORS["CheckReadiness"], predictor_service_pb2.CheckReadinessRequest())
    models = await attended_models(calls)
    ready = {one.predictor: one.ready for one in predictors.predictors} if predictors else {}
    ready |= {one.model: one.ready for one in models}
    return Ready(ready, [Renderer().message(one) for one in models], any(one.failed_attempts for one in models))


async def attended_models(calls: Calls) -> list[pb.ModelReadiness]:
    """The models that the server takes care of; none where nobody tells."""
    found = await _told(calls, _MODELS["CheckModels"], pb.CheckModelsRequest(attended=True))
    return list(found.models) if found else []


async def model_named(calls: Calls, name: str, sending: Sending) -> pb.ModelReadiness | None:
    """One model; None if there is none of the name."""
    try:
        reply: Any = await calls.unary(_MODELS["CheckModels"], pb.CheckModelsRequest(name=name), sending)
    except CallFailed as error:
        if error.code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED):
            return None
        raise
    found: pb.ModelReadiness = reply.models[0]
    return found


async def _told(calls: Calls, rpc: Any, message: Message) -> Any:
    try:
        return await calls.unary(rpc, message, Sending())
    except CallFailed:
        return None
