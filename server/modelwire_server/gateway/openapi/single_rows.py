"""The short paths that predict one thing at a time, in the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from ..exchange import JSON
from ..model_routes import MOST_ITEMS
from ..problems import CONTENT_TYPE as PROBLEM
from .schemas import PREFIX, Schema

TAG = "Predict"
_TEXT: Schema = {"type": "string"}
_MILLISECONDS: Schema = {"type": "number", "minimum": 0}
_SURE: Schema = {
    "type": ["number", "null"],
    "description": "The highest probability of a class; null if the model tells no probabilities.",
}
_ANSWER: dict[str, Schema] = {
    "model_id": _TEXT | {"description": "The model that was asked."},
    "prediction": {"description": "What the model adds to the features: a value, or an object of several."},
    "confidence": _SURE,
    "model_version": _TEXT | {"description": "The version that predicted."},
    "processing_time_ms": _MILLISECONDS,
    "timestamp": _TEXT | {"format": "date-time"},
    "metadata": {"description": "What the question said of itself."},
}
_QUESTION: Schema = {
    "description": "What is to be predicted.",
    "type": "object",
    "properties": {
        "model_id": {
            "type": ["string", "null"],
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
            "description": "The model. A server that has only one needs no name for it.",
        },
        "version": {
            "type": ["string", "integer", "null"],
            "pattern": "^([1-9][0-9]{0,8}|[A-Za-z][A-Za-z0-9_-]{0,49})$",
            "minimum": 1,
            "maximum": 999_999_999,
            "description": "A version's number, or an alias; by default `production`.",
        },
        "features": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            "description": "The values of the columns that the model predicts from, by their names.",
        },
        "metadata": {"description": "Anything; it comes back with the answer."},
    },
    "required": ["features"],
}
_FAILED: Schema = {
    "description": "Why there is no prediction, with the status that it would have alone.",
    "type": ["object", "null"],
    "properties": {"status": {"type": "integer"}, "title": _TEXT, "detail": _TEXT, "reason": _TEXT, "errors": {"type": "array"}},
}

SCHEMAS: dict[str, Schema] = {
    "SingleQuestion": _QUESTION,
    "SingleAnswer": {"type": "object", "properties": _ANSWER, "required": list(_ANSWER)},
    "BatchOutcome": {
        "description": "An answer, or the error in its place.",
        "type": "object",
        "properties": {**_ANSWER, "model_version": {"type": ["string", "null"]}, "error": _FAILED},
        "required": ["prediction", "confidence", "model_version", "processing_time_ms", "error"],
    },
    "BatchAnswer": {
        "type": "object",
        "properties": {
            "predictions": {"type": "array", "items": {"$ref": PREFIX + "BatchOutcome"}},
            "batch_size": {"type": "integer"},
            "total_processing_time_ms": _MILLISECONDS,
        },
        "required": ["predictions", "batch_size", "total_processing_time_ms"],
    },
    "DeployedModels": {
        "type": "object",
        "properties": {
            "models": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        **dict.fromkeys(("model_id", "version", "algorithm"), _TEXT),
                        "deployed_at": _TEXT | {"format": "date-time"},
                    },
                    "required": ["model_id", "version", "algorithm", "deployed_at"],
                },
            }
        },
        "required": ["models"],
    },
}


def paths(examples: Mapping[str, Any]) -> dict[str, Schema]:
    """The paths, with bodies by the names of their operations."""
    question: Schema = {"$ref": PREFIX + "SingleQuestion"}
    anything = {"description": "What is no question has an error in its place."}
    questions: Schema = {"type": "array", "items": {"anyOf": [question, anything]}, "maxItems": MOST_ITEMS}
    failed = {
        "400": _problem("The model cannot predict."),
        "404": _problem("There is no such model, or version."),
        "429": _problem("Too much work is waiting."),
        "500": _problem("The model failed."),
        "503": _problem("No model is there yet."),
    }
    return {
        "/models": {"get": _operation("ListDeployedModels", "Lists the models that predict", _ok("DeployedModels"), tag="Model")},
        "/predict": {
            "post": _operation("PredictSingle", "Predicts one thing from its features", _ok("SingleAnswer") | _refused() | failed)
            | _body(question, examples.get("PredictSingle"))
        },
        "/predict/batch": {
            "post": _operation("PredictSingles", "Predicts several things, each by itself", _ok("BatchAnswer") | _refused())
            | _body(questions, examples.get("PredictSingles"))
        },
    }


def _body(schema: Schema, example: Any) -> Schema:
    content: Schema = {"schema": schema} | ({"example": example} if example else {})
    return {"requestBody": {"required": True, "content": {JSON: content}}}


def _ok(schema: str) -> dict[str, Schema]:
    return {"200": {"description": "The answer.", "content": {JSON: {"schema": {"$ref": PREFIX + schema}}}}}


def _refused() -> dict[str, Schema]:
    return {
        "413": _problem("The body is too large."),
        "415": _problem("The body is encoded."),
        "422": _problem("The request is not what is described here; `errors` says where.", "ValidationProblem"),
    }


def _problem(description: str, schema: str = "Problem") -> Schema:
    return {"description": description, "content": {PROBLEM: {"schema": {"$ref": PREFIX + schema}}}}


def _operation(name: str, summary: str, responses: dict[str, Any], tag: str = TAG) -> Schema:
    return {"operationId": name, "tags": [tag], "summary": summary, "responses": responses}
