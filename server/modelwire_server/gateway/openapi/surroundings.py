"""The paths that no method of the contract answers: health, metrics, and what clients of the REST contract ask besides."""

from ...metrics import CONTENT_TYPE
from ..bodies import media_type
from ..exchange import JSON
from ..problems import CONTENT_TYPE as PROBLEM
from .answers import EVENT_STREAM, event_schema
from .constraints import POLL_INTERVAL
from .schemas import PREFIX, Schema

TAG: Schema = {"name": "System", "description": "The server itself: is it well, how is it doing, where does it run."}

_STATE: Schema = {"type": "string", "enum": ["healthy", "degraded", "unhealthy"]}
_CHECK: Schema = {"type": "object", "properties": {"state": _STATE, "message": {"type": "string"}}, "required": ["state"]}
_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}

SCHEMAS: dict[str, Schema] = {
    "Health": {
        "description": "Whether the server is well: it is as well as the worst of its checks.",
        "type": "object",
        "properties": {
            "status": _STATE,
            "checks": {"type": "object", "additionalProperties": _CHECK},
            "live": {"type": "boolean", "description": "Always; only where there are predictors, as are the others."},
            "ready": {
                "type": "object",
                "additionalProperties": {"type": "boolean"},
                "description": "Whether each predictor works.",
            },
            "uptime": {"type": "number", "description": "Seconds since the start."},
        },
        "required": ["status"],
    },
    "SystemInfo": {
        "description": "Where the server runs.",
        "type": "object",
        "properties": dict.fromkeys(("current_time", "timezone", "python_version", "platform", "hostname"), _TEXT),
        "required": ["current_time", "timezone", "python_version", "platform", "hostname"],
    },
    "AppInfo": {
        "description": "An application that the server serves beside its API.",
        "type": "object",
        "properties": {
            **dict.fromkeys(("name", "version", "prefix"), _TEXT),
            **dict.fromkeys(("description", "author", "entry"), _TEXT_OR_NULL),
            "is_package": {"type": "boolean"},
        },
        "required": ["name", "version", "prefix"],
    },
    "JsonSchema": {"description": "A JSON schema (2020-12).", "type": "object"},
}


def paths() -> dict[str, Schema]:
    schema = _answer("JsonSchema")
    return {
        "/health": {"get": _operation("GetHealth", "Tells whether the server is well", _health())},
        "/health/$stream": {"get": _health_stream()},
        "/metrics": {"get": _operation("GetMetrics", "Measures the server, its jobs and its runners, for Prometheus", _metrics())},
        "/api/v1/system": {"get": _operation("GetSystem", "Tells where the server runs", _answer("SystemInfo"))},
        "/api/v1/system/apps": {
            "get": _operation("ListApps", "Lists the applications beside the API", _answer("AppInfo", several=True))
        },
        "/api/v1/system/apps/$schema": {"get": _operation("GetAppSchema", "Returns the JSON schema of that list", schema)},
        "/api/v1/artifacts/$schema": {
            "get": _operation("GetArtifactSchema", "Returns the JSON schema of an artifact", schema, tag="Artifact")
        },
        "/api/v1/jobs/$schema": {"get": _operation("GetJobSchema", "Returns the JSON schema of a list of jobs", schema, tag="Job")},
    }


def _health() -> dict[str, Schema]:
    content = {JSON: {"schema": {"$ref": PREFIX + "Health"}}}
    return {
        "200": {"description": "It works.", "content": content},
        "503": {"description": "It does not work.", "content": content},
    }


def _health_stream() -> Schema:
    told = "Server-sent events without end; the data of each is what `/health` answers."
    refused = {"schema": {"$ref": PREFIX + "ValidationProblem"}}
    responses = {
        "200": {"description": told, "content": {EVENT_STREAM: {"schema": event_schema({"$ref": PREFIX + "Health"})}}},
        "422": {"description": "The interval is none.", "content": {PROBLEM: refused}},
    }
    return _operation("WatchHealth", "Tells again and again whether the server is well", responses) | {
        "parameters": [POLL_INTERVAL]
    }


def _metrics() -> dict[str, Schema]:
    return {"200": {"description": "The text format of Prometheus.", "content": {media_type(CONTENT_TYPE): {"schema": _TEXT}}}}


def _answer(name: str, *, several: bool = False) -> dict[str, Schema]:
    reference: Schema = {"$ref": PREFIX + name}
    schema = {"type": "array", "items": reference} if several else reference
    return {"200": {"description": SCHEMAS[name]["description"], "content": {JSON: {"schema": schema}}}}


def _operation(name: str, summary: str, responses: dict[str, Schema], tag: str = TAG["name"]) -> Schema:
    return {"operationId": name, "tags": [tag], "summary": summary, "responses": responses}
