"""The paths below /v2."""

import asyncio
from typing import Any

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...protocols.open_inference import elsewhere
from ...protocols.open_inference.options import SHARED_MEMORY
from ...protocols.open_inference.v2 import open_inference_pb2 as pb
from ..bodies import SMALL, collected
from ..calls import Calls
from ..exchange import Options, unless_gone
from ..sending import sending_of
from .refusals import Endpoint, Refused, refusal, refusing
from .requests import Asked, asked_of, body_of, document_of
from .responses import document, plain, predictions

_SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
# The first words of paths that other servers have.
_ELSEWHERE = {
    "systemsharedmemory": SHARED_MEMORY,
    "cudasharedmemory": SHARED_MEMORY,
    "trace": elsewhere.TRACES,
    "logging": elsewhere.LOGS,
}


def open_inference_routes(calls: Calls, options: Options) -> list[BaseRoute]:
    """All paths of the protocol; what is not known below /v2 is refused in its words."""
    service = _OverHttp(calls, options)
    model, verbs = "/v2/models/{name}", ("", "/versions/{version}")
    routes = [
        _get("/v2", service.server),
        _get("/v2/", service.server),
        _get("/v2/health/live", service.live),
        _get("/v2/health/ready", service.ready),
        _get("/v2/models/stats", service.statistics),
        *(_get(f"{model}{version}/ready", service.model_ready) for version in verbs),
        *(_get(f"{model}{version}/config", service.model_config) for version in verbs),
        *(_get(f"{model}{version}/stats", service.statistics) for version in verbs),
        *(_get(f"{model}{version}", service.model) for version in verbs),
        *(_post(f"{model}{version}/infer", service.infer) for version in verbs),
        _post("/v2/repository/index", service.index),
        _post("/v2/repository/models/{name}/load", service.load),
        _post("/v2/repository/models/{name}/unload", service.unload),
    ]
    return [*routes, Route("/v2/{rest:path}", _unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])]


def _get(path: str, endpoint: Endpoint) -> Route:
    return Route(path, refusing(endpoint), methods=["GET"])


def _post(path: str, endpoint: Endpoint) -> Route:
    return Route(path, refusing(endpoint), methods=["POST"])


async def _unknown(request: Request) -> Response:
    first, last = request.path_params["rest"].split("/")[0], request.path_params["rest"].split("/")[-1]
    if why := _ELSEWHERE.get(first) or (elsewhere.TRACES if last == "setting" else None):
        return refusal(why, 501)
    return refusal(f"there is no {request.method} {request.url.path[:200]}", 404)


class _OverHttp:
    """The calls of the service, each as a request."""

    def __init__(self, calls: Calls, options: Options) -> None:
        self._calls = calls
        self._options = options

    async def _call(self, name: str, request: Request, message: Message) -> Any:
        sending = sending_of(request, request.scope["state"]["request_id"], self._options.forwarded_headers)
        return await unless_gone(request, self._calls.unary(_SERVICE.methods_by_name[name], message, sending))

    async def server(self, request: Request) -> Response:
        return document(plain(await self._call("ServerMetadata", request, pb.ServerMetadataRequest())))

    async def live(self, request: Request) -> Response:
        return document(plain(await self._call("ServerLive", request, pb.ServerLiveRequest())))

    async def ready(self, request: Request) -> Response:
        answer = await self._call("ServerReady", request, pb.ServerReadyRequest())
        return document(plain(answer), 200 if answer.ready else 503)

    async def model_ready(self, request: Request) -> Response:
        name, version = _named(request)
        answer = await self._call("ModelReady", request, pb.ModelReadyRequest(name=name, version=version))
        return document({"name": name, "ready": answer.ready}, 200 if answer.ready else 503)

    async def model(self, request: Request) -> Response:
        name, version = _named(request)
        return document(plain(await self._call("ModelMetadata", request, pb.ModelMetadataRequest(name=name, version=version))))

    async def model_config(self, request: Request) -> Response:
        name, version = _named(request)
        answer = await self._call("ModelConfig", request, pb.ModelConfigRequest(name=name, version=version))
        return document(plain(answer.config))

    async def statistics(self, request: Request) -> Response:
        name, version = _named(request)
        return document(plain(await self._call("ModelStatistics", request, pb.ModelStatisticsRequest(name=name, version=version))))

    async def index(self, request: Request) -> Response:
        only_ready = (await self._document(request)).get("ready") is True
        answer = await self._call("RepositoryIndex", request, pb.RepositoryIndexRequest(ready=only_ready))
        return document([plain(model) for model in answer.models])

    async def load(self, request: Request) -> Response:
        if (await self._document(request)).get("parameters"):
            raise Refused("models are what their training made: neither a configuration nor files can be given")
        await self._call("RepositoryModelLoad", request, pb.RepositoryModelLoadRequest(model_name=_named(request)[0]))
        return document({})

    async def unload(self, request: Request) -> Response:
        await self._call("RepositoryModelUnload", request, pb.RepositoryModelUnloadRequest(model_name=_named(request)[0]))
        return document({})

    async def _document(self, request: Request) -> dict[str, Any]:
        return document_of(await collected(request, self._options.max_body_bytes))

    async def infer(self, request: Request) -> Response:
        limits = {"most_json": self._options.max_body_bytes, "most_tensors": self._options.max_tensor_bytes}
        text, binary = await body_of(request, **limits)
        asked = await _asked(text, binary, *_named(request))
        answer = await self._call("ModelInfer", request, asked.message)
        if sum(map(len, answer.raw_output_contents)) <= SMALL:
            return predictions(answer, asked)
        return await asyncio.to_thread(predictions, answer, asked)


async def _asked(text: bytes, binary: bytes, name: str, version: str) -> Asked:
    if len(text) <= SMALL:
        return asked_of(text, binary, name, version)
    return await asyncio.to_thread(asked_of, text, binary, name, version)


def _named(request: Request) -> tuple[str, str]:
    """The model and the version of the path."""
    return request.path_params.get("name", ""), request.path_params.get("version", "")
