"""JSON schemas of documents that clients ask for by themselves."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from modelwire.v1 import artifact_pb2, job_service_pb2

from .constraints import ANSWERED_RULES
from .schemas import OWN, PREFIX, AnsweredSchemas, Schema, moved

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
    AnsweredSchemas(components, ANSWERED_RULES).reference(message)
    own: Schema = moved({"title": message.name} | components.pop(message.name), PREFIX, OWN)
    return own | ({"$defs": moved(components, PREFIX, OWN)} if components else {})


def _route(path: str, schema: Schema) -> Route:
    async def endpoint(request: Request) -> Response:
        return JSONResponse({"$schema": DIALECT} | schema)

    return Route(path, endpoint, methods=["GET"])
