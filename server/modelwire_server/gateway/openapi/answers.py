"""What operations answer when all goes well, as responses of the OpenAPI document."""

from modelwire.v1 import job_service_pb2

from ..bodies import ARROW
from ..exchange import JSON
from ..files import CSV
from ..lists import NEXT_PAGE
from ..methods import Method
from ..shapes import FRAME_JSON
from ..streams import NDJSON
from ..tables import FRAME, MODEL_ID
from .comments import comment
from .schemas import AnsweredSchemas, Schema

EVENT_STREAM = "text/event-stream"
# What the first path of a stream tells instead of its messages, or besides them: see `jobs`.
RETOLD = {"modelwire.v1.JobService.WatchJob": (job_service_pb2.Job.DESCRIPTOR, job_service_pb2.JobEvent.DESCRIPTOR)}
_DELETED: Schema = {
    "type": "object",
    "properties": {"status": {"const": "deleted"}},
    "required": ["status"],
    "description": "The job was deleted meanwhile.",
}
_STRING: Schema = {"schema": {"type": "string"}}
_BINARY: Schema = {"schema": {"type": "string", "format": "binary"}}


def one(method: Method, schemas: AnsweredSchemas) -> Schema:
    """One object."""
    field = method.response.fields_by_name.get(method.response_body)
    schema = schemas.field(field) if field is not None else schemas.reference(method.response)
    response: Schema = {"description": comment(field or method.response), "content": {JSON: {"schema": schema}}}
    if any(one.message_type is not None and one.message_type.full_name == FRAME for one in method.response.fields) and method.body:
        response["content"][ARROW] = _BINARY
        response["headers"] = {MODEL_ID: _STRING | {"description": "The model that answered, where the body is only its frame."}}
    if method.success_status == 201:
        response["headers"] = {"Location": _STRING | {"description": "Where it can be found from now on."}}
    return response


def listed(method: Method, schemas: AnsweredSchemas) -> Schema:
    """An array, or a page with a number."""
    items = schemas.field(method.response.fields_by_name[method.response_body])
    count: Schema = {"type": "integer", "minimum": 0}
    page: Schema = {
        "type": "object",
        "description": "A page, if `page` and `size` are given.",
        "properties": {
            "items": items,
            "total": count | {"description": "How many there are on all pages."},
            "page": count | {"description": "The number of this page."},
            "size": count | {"description": "How many there are on a page."},
            "pages": count | {"description": "How many pages there are."},
        },
        "required": ["items", "total", "page", "size", "pages"],
    }
    return {
        "description": comment(method.response),
        "content": {JSON: {"schema": {"anyOf": [items, page]}}},
        "headers": {NEXT_PAGE: _STRING | {"description": "With `page_size`: the `page_token` of the next page, if there is one."}},
    }


def events(method: Method, schemas: AnsweredSchemas) -> Schema:
    """A stream of server-sent events, or of lines."""
    schema = _streamed(method, schemas)
    return {
        "description": "One after the other: as server-sent events, each with the JSON of one as its data, or as lines of JSON for those "
        f"who accept `{NDJSON}`.",
        "content": {EVENT_STREAM: {"schema": event_schema(schema)}, NDJSON: {"schema": schema}},
    }


def _streamed(method: Method, schemas: AnsweredSchemas) -> Schema:
    """What is told again and again."""
    field = method.response.fields_by_name.get(method.response_body)
    if field is not None:
        return schemas.value(field)
    if method.full_name not in RETOLD:
        return schemas.reference(method.response)
    return {"anyOf": [*map(schemas.reference, RETOLD[method.full_name]), _DELETED]}


def event_schema(data: Schema) -> Schema:
    """Of one server-sent event, whose data are JSON."""
    text = {"type": "string", "contentMediaType": JSON, "contentSchema": data}
    return {
        "type": "object",
        "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": text},
        "required": ["data"],
    }


def downloaded() -> Schema:
    """A file of any type."""
    types = dict.fromkeys(("application/zip", ARROW, "application/octet-stream", "*/*"), _BINARY)
    # No more is certain: an upload may be called this, too.
    rows: Schema = {"example": [{"time_period": "2020-04", "location": "location_0", "sample_0": 49.9}]}
    return {
        "description": "The content. A frame is sent as rows of JSON, or as CSV or an Arrow stream for those who accept these.",
        "content": {FRAME_JSON: rows, CSV: {"schema": {"type": "string"}}, JSON: {}} | types | {"*/*": {}},
        "headers": {"Content-Disposition": _STRING | {"description": "A name for the file."}},
    }
