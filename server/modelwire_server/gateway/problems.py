"""What is said over HTTP when something goes wrong: problem details (RFC 9457) with the words of the REST contract."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2
from starlette.responses import Response

from ..interceptors.errors import CODES
from .calls import CallFailed
from .methods import Match
from .rendering import to_json
from .shapes import PROBLEM_PREFIX

CONTENT_TYPE = "application/problem+json"
BLANK = "about:blank"
CLIENT_GONE = 499
MOST_ERRORS = 100
LONGEST_INPUT = 4096
_PART = re.compile(r"[^.\[\]]+")
_Code = grpc.StatusCode


@dataclass(slots=True)
class Problem(Exception):
    """Ends a request. `kind` is the last word of the type; `members` are further members of the document."""

    status: int
    kind: str
    title: str
    detail: str
    members: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, to say where in it something is wrong."""

    path: str
    url: str
    request_id: str
    match: Match | None = None
    body: Any = None


_NOT_FOUND = (404, "not-found", "Resource Not Found")
_BAD = (400, "bad-request", "Bad Request")
_CONFLICT = (409, "conflict", "Conflict")
_TOO_LARGE = (413, "too-large", "Content Too Large")
_INTERNAL = (500, "internal", "Internal Server Error")
_BY_CODE: dict[grpc.StatusCode, tuple[int, str, str]] = {
    _Code.INVALID_ARGUMENT: (422, "validation-failed", "Validation Error"),
    _Code.CANCELLED: (CLIENT_GONE, "canceled", "Client Closed Request"),
    _Code.DEADLINE_EXCEEDED: (504, "timeout", "Gateway Timeout"),
    _Code.NOT_FOUND: _NOT_FOUND,
    _Code.ALREADY_EXISTS: (409, "conflict", "Resource Conflict"),
    _Code.PERMISSION_DENIED: (403, "forbidden", "Forbidden"),
    _Code.UNAUTHENTICATED: (401, "unauthorized", "Unauthorized"),
    _Code.RESOURCE_EXHAUSTED: (429, "overloaded", "Too Many Requests"),
    _Code.FAILED_PRECONDITION: _BAD,
    _Code.ABORTED: _CONFLICT,
    _Code.OUT_OF_RANGE: _BAD,
    _Code.UNIMPLEMENTED: (501, "not-implemented", "Not Implemented"),
    _Code.UNAVAILABLE: (503, "unavailable", "Service Unavailable"),
}
# Where a reason says more than its code.
_BY_REASON: dict[str, tuple[int, str, str]] = {
    "PARENT_NOT_FOUND": _CONFLICT,
    "ALREADY_LINKED": _CONFLICT,
    "REQUEST_ID_REUSED": _CONFLICT,
    "MODEL_IN_USE": _CONFLICT,
    "NOTHING_TO_ROLL_BACK": _CONFLICT,
    "PROMOTION_REFUSED": _CONFLICT,
    "MODEL_NOT_READY": _BY_CODE[_Code.UNAVAILABLE],
    "HORIZON_OUT_OF_BOUNDS": _BAD,
    "FRAME_TOO_LARGE": _TOO_LARGE,
    "CONTENT_TOO_LARGE": _TOO_LARGE,
    "STORAGE_FULL": (507, "storage-full", "Insufficient Storage"),
}
_CONSTRAINTS = {"PARENT_NOT_FOUND": "foreign_key", "ALREADY_LINKED": "unique"}
# These tell the whole address of the request and a trace id, the others only its path.
_TRACED = (409, 422, 500)


def problem_of(failure: CallFailed, asked: Asked) -> Problem:
    """The problem that a failed call is."""
    info, violations, delay = _details(failure)
    if failure.code is _Code.INVALID_ARGUMENT and info.reason not in _BY_REASON:
        return _invalid(failure, info, violations, asked)
    status, kind, title = _words(info.reason, failure.code)
    if failure.code is _Code.RESOURCE_EXHAUSTED and "larger than max" in failure.message:  # gRPC's own limit for messages
        status, kind, title = _TOO_LARGE
    if info.reason == "ARTIFACT_NOT_FOUND" and not _in_path(info.metadata.get("artifact", ""), asked):
        status, kind, title = _BAD
    if info.reason in _CONSTRAINTS and _creates(asked):
        title = "Resource Conflict"
    problem = Problem(status, kind, title, _detail(failure, info, asked))
    if info.reason:
        problem.members["reason"] = info.reason
    if info.reason == "PROMOTION_REFUSED":
        problem.members["findings"] = [{"rule": one.field, "passed": False, "message": one.description} for one in violations]
    if info.reason in _CONSTRAINTS:
        problem.members["constraint"] = _CONSTRAINTS[info.reason]
    if delay is not None:
        problem.headers["retry-after"] = str(math.ceil(delay))
    return problem


def violations_of(failure: CallFailed) -> list[tuple[list[str | int], str, str]]:
    """What a failed call says of its request: places such as ["data", "items", 0], the name of the rule, and a sentence."""
    return [(_parts(path), rule, text) for path, rule, text in complaints_of(failure)]


def complaints_of(failure: CallFailed) -> list[tuple[str, str, str]]:
    """The same with places as they are written: `data.items[0]`."""
    _, violations, _ = _details(failure)
    return [(one.field, one.reason.lower() or "value_error", one.description) for one in violations]


def reason_of(failure: CallFailed) -> tuple[str, dict[str, str]]:
    """The reason of a failed call, and what is told with it; an empty reason for a call that never reached a method."""
    info, _, _ = _details(failure)
    return info.reason, dict(info.metadata)


def status_of(reason: str) -> int:
    """The HTTP status of a reason, as long as it is not an id in the path that is wrong."""
    return _words(reason, CODES[reason])[0]


def _words(reason: str, code: grpc.StatusCode) -> tuple[int, str, str]:
    return _BY_REASON.get(reason) or _BY_CODE.get(code, _INTERNAL)


def invalid_request(errors: list[dict[str, Any]]) -> Problem:
    """A request that is not what the contract says, with one entry for each thing that is wrong."""
    shown = [{**error, "input": _short(error.get("input"))} for error in errors[:MOST_ERRORS]]
    return Problem(422, "validation-failed", "Validation Error", "Request validation failed", {"errors": shown})


def _short(value: Any) -> Any:
    """What was sent, unless that is very long."""
    text = to_json(value)
    return value if len(text) <= LONGEST_INPUT else text[:100].decode(errors="ignore") + "..."


def not_found() -> Problem:
    return Problem(404, "", "Not Found", "Not Found")


def not_allowed(verbs: list[str]) -> Problem:
    return Problem(405, "", "Method Not Allowed", "Method Not Allowed", headers={"allow": ", ".join(verbs)})


def document(problem: Problem, asked: Asked) -> dict[str, Any]:
    traced = problem.status in _TRACED
    return {
        "type": PROBLEM_PREFIX + problem.kind if problem.kind else BLANK,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": asked.url if traced else asked.path,
        **({"trace_id": asked.request_id} if traced else {}),
        **problem.members,
    }


def response_of(problem: Problem, asked: Asked) -> Response:
    content = to_json(document(problem, asked))
    return Response(content, problem.status, headers=problem.headers, media_type=CONTENT_TYPE)


def _details(failure: CallFailed) -> tuple[error_details_pb2.ErrorInfo, list[Any], float | None]:
    info, violations, delay = error_details_pb2.ErrorInfo(), [], None
    for packed in failure.status.details:
        request, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if packed.Unpack(request):
            violations = list(request.field_violations)
        elif packed.Unpack(retry):
            delay = retry.retry_delay.ToTimedelta().total_seconds()
        else:
            packed.Unpack(info)
    return info, violations, delay


def _invalid(failure: CallFailed, info: Any, violations: list[Any], asked: Asked) -> Problem:
    fields = [violation.field for violation in violations]
    if info.reason == "INVALID_ID" and all(_place(field, asked)[0] != "body" for field in fields):
        value = info.metadata.get("value", "")
        what = "job ID" if "job_id" in fields else "ULID"
        return Problem(400, "invalid-ulid", "Invalid ULID Format", f"Invalid {what} format: {value}", {"reason": info.reason})
    kind = "ulid_format" if info.reason == "INVALID_ID" else "value_error"
    errors = [_entry(one.reason.lower() or kind, _place(one.field, asked), one.description, asked) for one in violations]
    problem = invalid_request(errors or [_entry(kind, (_source(asked),), failure.message, asked)])
    problem.members["reason"] = info.reason
    return problem


def _entry(kind: str, place: tuple[str | int, ...], text: str, asked: Asked) -> dict[str, Any]:
    found = asked.body
    for part in place[1:]:
        try:
            found = found[part]
        except (KeyError, IndexError, TypeError):
            found = None
            break
    return {"type": kind, "loc": list(place), "msg": text, "input": found}


def _place(field: str, asked: Asked) -> tuple[str | int, ...]:
    """`data.features[0]` as ("body", "data", "features", 0)."""
    parts = _parts(field)
    in_path = asked.match is not None and parts and parts[0] in asked.match.values
    return ("path" if in_path else _source(asked), *parts)


def _parts(field: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in _PART.findall(field)]


def _source(asked: Asked) -> str:
    return "body" if asked.match is not None and asked.match.method.body else "query"


def _in_path(id: str, asked: Asked) -> bool:
    return asked.match is not None and id in (value.upper() for value in asked.match.values.values())


# What a thing is called in the sentence that says that it is missing.
_NAMES: Mapping[str, str] = {"ARTIFACT_NOT_FOUND": "Artifact", "JOB_NOT_FOUND": "Job", "CONFIG_NOT_FOUND": "Config"}


def _detail(failure: CallFailed, info: Any, asked: Asked) -> str:
    """The message, or the sentence of the REST contract."""
    reason, missing = info.reason, next(iter(info.metadata.values()), "")
    if reason in _NAMES and asked.match is not None and _in_path(missing, asked):
        whole = reason != "JOB_NOT_FOUND" and asked.match.method.template.text.endswith("}")
        return f"{'Entity' if whole else _NAMES[reason]} with id {missing} not found"
    if reason == "ALREADY_EXISTS":
        return f"Entity with id {info.metadata.get('id', '')} already exists"
    if reason in _CONSTRAINTS:
        return "Entity violates a database constraint" if _creates(asked) else "The request conflicts with existing data"
    return "Artifact has no content" if reason == "NO_CONTENT" else failure.message


def _creates(asked: Asked) -> bool:
    return asked.match is not None and asked.match.method.success_status == 201
