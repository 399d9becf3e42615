"""JSON schemas of documents that clients ask for by themselves."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from modelwire.v1 import artifact_pb2, job_service_pb2

from .constraints import ANSWERED, SOMETIMES, SPECIAL_ANSWERED
from .schemas import PREFIX, AnsweredSchemas, Schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_routes() -> list[BaseRoute]:
    """GET .../$schema of artifacts and of the list of jobs."""
    job = schema_of(job_service_pb2.Job.DESCRIPTOR)
    definitions = job.pop("$defs", {}) | {"Job": job}
    jobs: Schema = {"type": "array", "items": {"$ref": "#/$defs/Job"}, "$defs": definitions}
    artifact = schema_of(artifact_pb2.Artifact.DESCRIPTOR)
    return [_route("/api/v1/artifacts/$schema", artifact), _route("/api/v1/jobs/$schema", jobs)]


def schema_of(message: Any) -> Schema:
    """The schema of a message as it is answered, whatever it refers to in its `$defs`."""
    components: dict[str, Schema] = {}
    AnsweredSchemas(components, rules=ANSWERED, special=SPECIAL_ANSWERED, sometimes=SOMETIMES).reference(message)
    own: Schema = _moved(components.pop(message.name))
    return {"title": message.name} | own | ({"$defs": _moved(components)} if components else {})


def _moved(part: Any) -> Any:
    """The part with references to definitions instead of components."""
    if isinstance(part, list):
        return [_moved(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {name: "#/$defs/" + one.removeprefix(PREFIX) if name == "$ref" else _moved(one) for name, one in part.items()}


def _route(path: str, schema: Schema) -> Route:
    async def endpoint(request: Request) -> Response:
        return JSONResponse({"$schema": DIALECT} | schema)

    return Route(path, endpoint, methods=["GET"])
