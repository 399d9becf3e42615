"""Predictors in the OpenAPI document: what each takes, and the short paths that their clients know."""

from collections.abc import Sequence
from typing import Any

from modelwire.v1 import predictor_service_pb2

from ..exchange import JSON
from ..problems import CONTENT_TYPE as PROBLEM
from ..rendering import Renderer
from .schemas import PREFIX, Schema

Predictors = Sequence[predictor_service_pb2.Predictor]

TAG = "Predictor"
_TEXT: Schema = {"type": "string"}
_FIELDS = {
    "PredictInput": ("PredictorServicePredictRequest", "predict_schema"),
    "ScoreInput": ("PredictorServiceScoreRequest", "score_schema"),
}


def payload_fields(predictors: Predictors, components: dict[str, Schema]) -> dict[str, tuple[str, Schema]]:
    """The members of requests that are payloads: what any of the predictors takes. Puts their schemas among the components."""
    if not predictors:
        return {}
    fields = {}
    for kind, (message, member) in _FIELDS.items():
        schema = _any_of(kind, member, predictors, components)
        fields[f"modelwire.v1.{message}.data"] = "data", schema | {"description": "The payload, as the predictor takes it."}
    return fields


def _any_of(kind: str, member: str, predictors: Predictors, components: dict[str, Schema]) -> Schema:
    references: list[Schema] = []
    for predictor in predictors:
        name = f"{kind}.{predictor.name}"
        components[name] = placed(Renderer().field(predictor, member), PREFIX + name)
        references.append({"$ref": PREFIX + name})
    return references[0] if len(references) == 1 else {"anyOf": references}


def placed(schema: Any, place: str) -> Any:
    """A JSON Schema whose references to places in itself still lead there when it stands at `place` in a document."""
    if isinstance(schema, list):
        return [placed(part, place) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: placed(part, place) for name, part in schema.items()}
    reference = parts.get("$ref")
    if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
        parts["$ref"] = place + reference[1:]
    return parts


def examples_of(predictors: Predictors) -> dict[str, Any]:
    """Values of parameters by their names, and bodies by the names of methods, for the first predictor."""
    if not predictors:
        return {}
    first, render = predictors[0], Renderer()
    trial, known = render.field(first, "test_predict_input"), render.field(first, "test_score_input")
    return {
        "predictor": first.name,
        "PredictorServicePredict": {"data": trial},
        "PredictorServiceScore": {"data": known},
        "PredictBatch": {"items": [trial]},
        "PredictWithName": {"predictor": first.name, "payload": trial},
        "ScoreWithName": {"predictor": first.name, "payload": known},
    }


def paths(predictors: Predictors) -> dict[str, Schema]:
    """The short paths: health always, the others where there are predictors."""
    ready = _ok("`READY`.", _TEXT) | {"503": _problem("The server, or a predictor, is not ready.")}
    found: dict[str, Schema] = {
        "/livez": {"get": _operation("GetLivez", "Tells that the server is alive", _ok("`LIVE`.", _TEXT))},
        "/readyz": {"get": _operation("GetReadyz", "Tells whether the server and all predictors work", ready)},
        "/healthz": {"get": _operation("GetHealthz", "Tells the same as `/readyz`", ready)},
        "/health/live": {"get": _operation("GetHealthLive", "Tells the same as `/livez`", _ok("`LIVE`.", _TEXT))},
        "/health/uptime": {
            "get": _operation("GetUptime", "Tells how long the server has been running", _ok("Seconds.", {"type": "number"}))
        },
        "/list": {"get": _operation("ListNames", "Names the predictors", _ok("Their names.", {"type": "array", "items": _TEXT}))},
    }
    return found | (_of_one([predictor.name for predictor in predictors], examples_of(predictors)) if predictors else {})


def _of_one(names: Sequence[str], examples: dict[str, Any]) -> dict[str, Schema]:
    """Paths that take the name of a predictor."""
    known = _TEXT | {"enum": list(names)}
    model = {"name": "model", "in": "query", "required": True, "description": "The predictor's name.", "schema": known}
    asked = {"parameters": [model | {"example": names[0]}]}
    unknown = {"400": _problem("There is no such predictor."), "422": _problem("The name is missing.", "ValidationProblem")}
    questions: dict[str, tuple[str, str, Schema]] = {
        "/health/ready/": ("GetHealthReady", "Tells whether a predictor works", _TEXT),
        "/version/": ("GetVersion", "Tells the version of a predictor", _TEXT),
        "/creation_time/": ("GetCreationTime", "Tells when a predictor was made", _TEXT),
        "/predict_schema/": ("GetPredictSchema", "Returns the JSON Schema of what a predictor takes", {"type": "object"}),
        "/score_schema/": ("GetScoreSchema", "Returns the JSON Schema of what it is scored with", {"type": "object"}),
    }
    gets: dict[str, Schema] = {
        path: {"get": _operation(name, summary, _ok(f"{summary}.", schema) | unknown) | asked}
        for path, (name, summary, schema) in questions.items()
    }
    gets["/health/ready/"]["get"]["responses"]["503"] = _problem("It does not.")
    refused = {
        "400": _problem("There is no such predictor."),
        "422": _problem("The payload does not fit the schema.", "ValidationProblem"),
    }
    failed = refused | {"500": _problem("The model failed.")}
    predicted, scored = _ok("The prediction.", {}) | failed, _ok("The scores, or the one that has no name.", {}) | failed
    return gets | {
        "/predict/": {
            "post": _operation("PredictWithName", "Predicts from one payload", predicted)
            | _body(names, "PredictInput", examples["PredictWithName"])
        },
        "/score/": {
            "post": _operation("ScoreWithName", "Scores a predictor", scored)
            | _body(names, "ScoreInput", examples["ScoreWithName"])
        },
    }


def _body(names: Sequence[str], kind: str, example: Any) -> Schema:
    each = [
        {
            "type": "object",
            "properties": {"predictor": {"const": name}, "payload": {"$ref": f"{PREFIX}{kind}.{name}"}},
            "required": ["predictor", "payload"],
        }
        for name in names
    ]
    return {"requestBody": {"required": True, "content": {JSON: {"schema": {"oneOf": each}, "example": example}}}}


def _ok(description: str, schema: Schema) -> dict[str, Schema]:
    return {"200": {"description": description, "content": {JSON: {"schema": schema}}}}


def _problem(description: str, schema: str = "Problem") -> Schema:
    return {"description": description, "content": {PROBLEM: {"schema": {"$ref": PREFIX + schema}}}}


def _operation(name: str, summary: str, responses: dict[str, Schema]) -> Schema:
    return {"operationId": name, "tags": [TAG], "summary": summary, "responses": responses}
