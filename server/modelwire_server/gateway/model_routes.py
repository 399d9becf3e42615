"""The short paths of services that predict one thing at a time with the models that they have: which these are, and what they say."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from modelwire.v1 import frame_pb2, model_service_pb2, predict_service_pb2

from ..errors import InvalidFrame
from ..paging import LARGEST_SIZE
from ..registry.model import PRODUCTION, VERSION, check_alias
from . import bodies
from .calls import CallFailed, Calls, Sending
from .exchange import Options, unless_gone
from .parsing import InvalidRequest
from .problems import Asked, Problem, complaints_of, document, invalid_request, reason_of
from .rendering import table_of
from .sending import sending_of
from .shapes import microseconds
from .short_paths import answer, problem_for, told, wrong
from .single_rows import Question, said_of

MOST_ITEMS = 1_000
# Items of a batch that are asked for at the same time.
AT_ONCE = 64

_MODELS = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].methods_by_name
_PREDICT = predict_service_pb2.DESCRIPTOR.services_by_name["PredictService"].methods_by_name["Predict"]


def model_routes(calls: Calls, options: Options) -> list[BaseRoute]:
    """All of these paths."""
    plain = _Plain(calls, options)
    return [
        Route("/models", told(plain.models), methods=["GET"]),
        Route("/predict", told(plain.predict), methods=["POST"]),
        Route("/predict/batch", told(plain.predict_batch), methods=["POST"]),
    ]


@dataclass(frozen=True, slots=True)
class _Asker:
    """Asks questions in the name of a caller."""

    calls: Calls
    sending: Sending

    async def call(self, rpc: Any, message: Message) -> Any:
        return await self.calls.unary(rpc, message, self.sending)

    async def deployed(self) -> list[model_service_pb2.Model]:
        """The models that predictions by name alone find."""
        request, found = model_service_pb2.ListModelsRequest(page_size=LARGEST_SIZE), []
        while True:
            page = await self.call(_MODELS["ListModels"], request)
            found += [model for model in page.models if PRODUCTION in model.aliases]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def predicted(self, question: Question, place: list[Any]) -> dict[str, Any]:
        """What a model says. Raises InvalidRequest, Problem, CallFailed."""
        began = time.perf_counter()
        model = question.model_id or await self._only_model(place)
        try:
            future = frame_pb2.Frame(arrow=question.frame())
        except InvalidFrame as error:
            found = [wrong("value_error", [*place, "features"], one.description, None) for one in error.violations]
            raise InvalidRequest(found) from None
        request = predict_service_pb2.PredictRequest(model=_reference(model, question.version), future=future)
        try:
            reply = await self.call(_PREDICT, request)
        except CallFailed as error:
            await self._explain(error, request.model, question, place)
            raise
        prediction, confidence = said_of(table_of(reply.predictions), question.features)
        return {
            "model_id": model,
            "prediction": prediction,
            "confidence": confidence,
            "model_version": reply.model_version.rpartition("/")[2] or reply.model_id,
            "processing_time_ms": round((time.perf_counter() - began) * 1000, 3),
            "timestamp": datetime.now(UTC).isoformat(),
            "metadata": question.metadata,
        }

    async def _only_model(self, place: list[Any]) -> str:
        """The model of a server that has one."""
        models = [model.name for model in await self.deployed()]
        if not models:
            text = "no model is deployed yet: register one, and point its alias `production` to a version"
            raise Problem(503, "unavailable", "Service Unavailable", text)
        if len(models) > 1:
            text = f"Field required: there are {len(models)} models: {', '.join(models[:10])}"
            raise InvalidRequest([wrong("missing", [*place, "model_id"], text, None)])
        return models[0]

    async def _explain(self, failure: CallFailed, model: str, question: Question, place: list[Any]) -> None:
        """Raises Problem if it is the features that are wrong."""
        reason, about = reason_of(failure)
        found: list[dict[str, Any]] = []
        if reason == "MISSING_COLUMNS":
            found = _absent(about.get("columns", "").split(","), question, place)
        elif failure.code is grpc.StatusCode.INVALID_ARGUMENT:
            for path, kind, text in complaints_of(failure):
                found += _told_of(path, kind, text, question, place)
        elif reason == "RUNNER_FAILED":
            # Whoever trained the model may not have said which columns it needs, but whoever registered it.
            found = _absent(await self._features_of(model), question, place)
        if found:
            problem = invalid_request(found)
            problem.detail, problem.members["reason"] = found[0]["msg"], reason
            raise problem from failure

    async def _features_of(self, model: str) -> list[str]:
        """The columns that a version is known to predict from; none if that is not known."""
        name, _, version = model.replace("@", "/").partition("/")
        request = model_service_pb2.GetModelVersionRequest(name=name, version=version or PRODUCTION)
        try:
            return list((await self.call(_MODELS["GetModelVersion"], request)).version.features)
        except CallFailed:
            return []

    async def outcome(self, item: Any, number: int, asked: Asked) -> dict[str, Any]:
        """What becomes of one item of a batch."""
        began = time.perf_counter()
        try:
            found = await self.predicted(Question.read(item, ["body", number]), ["body", number])
            return {**found, "error": None}
        except Exception as error:
            problem = document(problem_for(error, asked), asked)
        milliseconds = round((time.perf_counter() - began) * 1000, 3)
        told_anyway = ("type", "title", "status", "detail", "reason", "errors")
        return {
            **dict.fromkeys(("prediction", "confidence", "model_version")),
            "processing_time_ms": milliseconds,
            "error": {name: problem[name] for name in told_anyway if name in problem},
        }


class _Plain:
    def __init__(self, calls: Calls, options: Options) -> None:
        self._calls = calls
        self._options = options

    def _asker(self, request: Request) -> _Asker:
        return _Asker(self._calls, sending_of(request, request.scope["state"]["request_id"], self._options.forwarded_headers))

    async def models(self, request: Request) -> Response:
        """The models that predictions by name alone find."""
        asker = self._asker(request)

        async def entry(model: model_service_pb2.Model) -> dict[str, Any]:
            wanted = model_service_pb2.GetModelVersionRequest(name=model.name, version=str(model.aliases[PRODUCTION]))
            version = (await asker.call(_MODELS["GetModelVersion"], wanted)).version
            return {
                "model_id": model.name,
                "version": str(version.version),
                "algorithm": version.algorithm,
                "deployed_at": microseconds(model.aliased_at[PRODUCTION]),
            }

        entries = await unless_gone(request, _each([entry(model) for model in await asker.deployed()]))
        return answer({"models": entries})

    async def predict(self, request: Request) -> Response:
        question = Question.read(await self._body(request), ["body"])
        return answer(await unless_gone(request, self._asker(request).predicted(question, ["body"])))

    async def predict_batch(self, request: Request) -> Response:
        items = await self._body(request)
        if not isinstance(items, list):
            raise InvalidRequest([wrong("list_type", ["body"], "Input should be a valid list", items)])
        if len(items) > MOST_ITEMS:
            text = f"List should have at most {MOST_ITEMS:,} items, not {len(items):,}"
            raise InvalidRequest([wrong("too_long", ["body"], text, None)])
        began, asker = time.perf_counter(), self._asker(request)
        asked = Asked(request.url.path, str(request.url), request.scope["state"]["request_id"])
        outcomes = await unless_gone(request, _each([asker.outcome(item, number, asked) for number, item in enumerate(items)]))
        milliseconds = round((time.perf_counter() - began) * 1000, 3)
        return answer({"predictions": outcomes, "batch_size": len(outcomes), "total_processing_time_ms": milliseconds})

    async def _body(self, request: Request) -> Any:
        return await bodies.parsed(await bodies.whole(request, self._options.max_body_bytes))


async def _each(acts: list[Any]) -> list[Any]:
    """The outcomes of several acts, of which some are under way at the same time."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(act: Any) -> Any:
        async with slots:
            return await act

    return list(await asyncio.gather(*map(one, acts)))


def _reference(model: str, version: str) -> str:
    """How Predict takes a model and a version: a number, or an alias. Raises Problem for what can be neither."""
    if not version:
        return model
    if VERSION.fullmatch(version):
        return f"{model}/{version}"
    if check_alias("version", version):
        raise Problem(404, "not-found", "Resource Not Found", f"the model {model[:200]} has no version {version[:200]}")
    return f"{model}@{version}"


def _absent(columns: list[str], question: Question, place: list[Any]) -> list[dict[str, Any]]:
    return [_missing_feature(name, question, place) for name in columns if name and name not in question.features]


def _missing_feature(name: str, question: Question, place: list[Any]) -> dict[str, Any]:
    return wrong("missing", [*place, "features", name], f"Missing required feature: {name}", dict(question.features))


def _told_of(path: str, kind: str, text: str, question: Question, place: list[Any]) -> list[dict[str, Any]]:
    """What Predict says of a field, as said of what its caller sent."""
    if path == "model":
        return [wrong(kind, [*place, "model_id"], text, question.model_id)]
    _, _, name = path.partition(".")
    if name and name not in question.features:
        return [_missing_feature(name, question, place)]
    return [wrong(kind, [*place, "features", *([name] if name else [])], text, _value(question.features, name))]


def _value(features: Mapping[str, Any], name: str) -> Any:
    return features.get(name) if name else dict(features)
