"""One method of the contract as an operation of the OpenAPI document: its parameters, its body and what it answers."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from ..bodies import ARROW
from ..exchange import JSON
from ..files import is_download, is_upload
from ..forms import FORM
from ..lists import is_list
from ..methods import Method, field_at
from ..tables import frame_fields, takes_frames
from .answers import RETOLD, downloaded, events, listed, one
from .comments import comment, first_sentence
from .constraints import LAST_EVENT, LIST_PARAMETERS, POLL_INTERVAL
from .failures import failures
from .schemas import AnsweredSchemas, AskedSchemas, Schema
from .words import text_of

_VARIABLE = re.compile(r"\{([\w.]+)(?:=[^{}]*)?\}")
_FRAMES = (
    f"As `{ARROW}` the body is the frame, {{names}}; all else stands in the query, under the same names. As `{FORM}` each frame, and "
    "`geo`, is a part, and all else stands in parts before them or in the query."
)


@dataclass(frozen=True, slots=True)
class Book:
    """What operations are described with: schemas, and examples of bodies by the name of a method, of parameters by their name."""

    asked: AskedSchemas
    answered: AnsweredSchemas
    examples: Mapping[str, Any]


def path_of(method: Method) -> str:
    """`/api/v1/configs/{config_id}`."""
    return _VARIABLE.sub(r"{\1}", method.template.text)


def operation_of(method: Method, book: Book) -> Schema:
    name = operation_id(method)
    text = text_of(method, name)
    operation = {
        "operationId": name,
        "tags": [tag_of(method)],
        "summary": first_sentence(text),
        "description": text,
        "parameters": [*path_parameters(method, book), *query_parameters(method, book)],
        "responses": {str(method.success_status): success(method, book.answered)} | failures(method),
    }
    return operation | ({"requestBody": request_body(method, book)} if method.body else {})


def operation_id(method: Method) -> str:
    """The method's name; for a further path to it, together with the end of that path."""
    if method.primary:
        return own_name(method)
    return own_name(method) + re.sub(r"\W", "", path_of(method).rsplit("/", 1)[1]).title()


def own_name(method: Method) -> str:
    """The method's name, with that of its service where another service has a method of this name."""
    return method.request.name.removesuffix("Request")


def tag_of(method: Method) -> str:
    return method.service.name.removesuffix("Service")


def path_parameters(method: Method, book: Book) -> list[Schema]:
    return [_parameter("path", name, field_at(method.request, name), book) | {"required": True} for name in method.template.fields]


def query_parameters(method: Method, book: Book) -> list[Schema]:
    header = method.request.fields_by_name["header"].message_type if is_upload(method) else None
    fields: Iterable[FieldDescriptor] = header.fields if header is not None else method.query_fields
    found = [_parameter("query", field.name, field, book) for field in fields]
    return [*further_parameters(method), *found]


def further_parameters(method: Method) -> list[Schema]:
    """Those that are no field of the request."""
    if is_list(method):
        return LIST_PARAMETERS
    if not method.server_streaming or is_download(method):
        return []
    return [LAST_EVENT, POLL_INTERVAL] if method.full_name in RETOLD and not method.response_body else [LAST_EVENT]


def _parameter(place: str, name: str, field: FieldDescriptor | None, book: Book) -> Schema:
    assert field is not None
    schema = book.asked.field(field)
    described = {"name": name, "in": place, "description": schema.pop("description")}
    # Objects stand in a query as JSON.
    parameter = described | ({"content": {JSON: {"schema": schema}}} if schema.get("type") == "object" else {"schema": schema})
    return parameter | ({"example": book.examples[name]} if place == "path" and name in book.examples else {})


def request_body(method: Method, book: Book) -> Schema:
    if is_upload(method):
        return {"description": "The content, whatever it is.", "content": {"*/*": {"schema": {}}}}
    schema, required = book.asked.body(method.request, method.template.fields)
    content: Schema = {JSON: {"schema": schema}}
    if own_name(method) in book.examples:
        content[JSON]["example"] = book.examples[own_name(method)]
    body: Schema = {"content": content, "required": required}
    if takes_frames(method):
        content[ARROW] = {"schema": {"type": "string", "format": "binary"}}
        body["description"] = _FRAMES.format(names=" or ".join(f"`{name}`" for name in frame_fields(method.request)))
    return body


def success(method: Method, schemas: AnsweredSchemas) -> Schema:
    if method.success_status == 204:
        return {"description": comment(method.response)}
    if is_download(method):
        return downloaded()
    if is_list(method):
        return listed(method, schemas)
    return events(method, schemas) if method.server_streaming else one(method, schemas)
