"""What an operation of the OpenAPI document can fail with."""

from collections.abc import Iterable, Iterator

from ..methods import Method
from ..problems import CONTENT_TYPE, status_of
from ..shapes import PROBLEM_PREFIX
from ..tables import frame_fields
from .comments import meaning, reasons_of
from .constraints import has_pattern, is_id
from .schemas import PREFIX, Schema

# What any call may fail with, whatever it does.
_ALWAYS = ("OVERLOADED", "INTERNAL", "STORAGE_UNAVAILABLE", "SHUTTING_DOWN", "DEADLINE_EXCEEDED")

_ENTRY: Schema = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "description": "The kind of mistake, for instance `missing`."},
        "loc": {
            "type": "array",
            "items": {"type": ["string", "integer"]},
            "description": "Where it is: `body`, `query` or `path`, then names and positions.",
        },
        "msg": {"type": "string", "description": "A sentence for people."},
        "input": {"description": "What stands there."},
        "ctx": {"type": "object", "description": "Further values."},
    },
    "required": ["type", "loc", "msg", "input"],
}
_PROBLEM: Schema = {
    "description": "Why a request failed (RFC 9457).",
    "type": "object",
    "properties": {
        "type": {"type": "string", "description": "The kind of problem, as a URI.", "examples": [f"{PROBLEM_PREFIX}not-found"]},
        "title": {"type": "string", "description": "The kind of problem, in words.", "examples": ["Resource Not Found"]},
        "status": {"type": "integer", "description": "The HTTP status.", "examples": [404]},
        "detail": {
            "type": "string",
            "description": "What is wrong, in a sentence.",
            "examples": ["Job with id 01ARZ3NDEKTSV4RRFFQ69G5FAV not found"],
        },
        "instance": {
            "type": "string",
            "description": "What was asked for.",
            "examples": ["/api/v1/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV"],
        },
        "trace_id": {"type": "string", "description": "The id of the request, by which the log of the server has it."},
        "reason": {"type": "string", "description": "The reason, for programs: one of those that this document names."},
        "constraint": {"type": "string", "description": "What the stored data require."},
        "findings": {
            "type": "array",
            "items": {"$ref": PREFIX + "GateFinding"},
            "description": "The rules of a gate that are broken.",
        },
    },
    "required": ["type", "title", "status", "detail", "instance"],
}
PROBLEM_SCHEMAS: dict[str, Schema] = {
    "Problem": _PROBLEM,
    "ValidationProblem": {
        "description": "What is wrong with a request, all of it.",
        "allOf": [{"$ref": PREFIX + "Problem"}],
        "properties": {"errors": {"type": "array", "items": {"$ref": PREFIX + "ValidationEntry"}}},
        "required": ["errors"],
    },
    "ValidationEntry": _ENTRY | {"description": "One mistake."},
}


def failures(method: Method) -> dict[str, Schema]:
    """The problems that a method can answer with, by status."""
    found: dict[int, list[str]] = {}
    for status, text in _of_requests(method):
        found.setdefault(status, []).append(f"- {text}")
    for reason in _reasons(method):
        found.setdefault(_status_of(reason, method), []).append(f"- `{reason}`: {meaning(reason)}")
    return {str(status): problem_response(lines, status) for status, lines in sorted(found.items())}


def _of_requests(method: Method) -> Iterator[tuple[int, str]]:
    """What can be wrong with a request before it is one of the contract."""
    in_path = [field for field in method.request.fields if field.name in method.template.fields]
    if any(map(is_id, [*in_path, *method.query_fields])):
        yield 400, "`INVALID_ID`: an id in path or query is not a ULID"
    if method.body or method.query_fields or any(map(has_pattern, in_path)):
        yield 422, "the request is not what is described here; `errors` says where"
    if method.body:
        yield 413, "the body is too large"
        yield 415, "the body is encoded"
    if frame_fields(method.response):
        yield 406, "one Arrow stream cannot hold the several frames of the answer"


def _status_of(reason: str, method: Method) -> int:
    """An artifact that the body names, and not the path, is a mistake of the request."""
    in_body = method.body and "artifact_id" not in method.template.fields
    return 400 if reason == "ARTIFACT_NOT_FOUND" and in_body else status_of(reason)


def _reasons(method: Method) -> Iterable[str]:
    named = reasons_of(method.rpc)
    if "request_id" in method.request.fields_by_name:
        named.append("REQUEST_ID_REUSED")
    if frame_fields(method.response):
        named.append("FRAME_TOO_LARGE")
    return dict.fromkeys((*named, *_ALWAYS))


def problem_response(lines: Iterable[str], status: int) -> Schema:
    schema = "ValidationProblem" if status == 422 else "Problem"
    return {"description": "\n".join(lines), "content": {CONTENT_TYPE: {"schema": {"$ref": PREFIX + schema}}}}
