"""Turns the statuses of failed calls into errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.rpc import error_details_pb2, status_pb2

from modelwire.errors import BY_CODE, FieldViolation, Internal, ModelwireError

if TYPE_CHECKING:
    import grpc

DETAILS = "grpc-status-details-bin"
DOMAIN = "modelwire"
# Statuses by which proxies and broken connections end a stream; a fault of the server has a reason of its own.
BROKEN_CODES = frozenset({"UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"})
TRY_AGAIN = frozenset({"OVERLOADED", "SHUTTING_DOWN", "STORAGE_UNAVAILABLE"})
# The numbers of google.rpc.Code.
CODE_NAMES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED"),
    *("RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE"),
    *("DATA_LOSS", "UNAUTHENTICATED"),
)


def error_of_call(call: grpc.RpcError, target: str) -> ModelwireError:
    """The error of a failed call to `target`."""
    # Every RpcError that a channel raises is also a grpc.Call; the base class does not say so.
    failed: Any = call
    for key, value in failed.trailing_metadata() or ():
        if key == DETAILS:
            return error_of_status(status_pb2.Status.FromString(value))
    code = failed.code().name
    return plain_error(code, failed.details() or "", target)


def error_of_status(status: status_pb2.Status) -> ModelwireError:
    """The error that a google.rpc.Status with or without details describes."""
    code = CODE_NAMES[status.code] if 0 <= status.code < len(CODE_NAMES) else "UNKNOWN"
    parts: dict[str, Any] = {}
    for detail in status.details:
        parts |= _parts_of(detail)
    return _make(code, status.message or code, **parts)


def _parts_of(detail: Any) -> dict[str, Any]:
    info, request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    if detail.Unpack(info):
        return {"reason": info.reason, "metadata": dict(info.metadata)} if info.domain == DOMAIN else {}
    if detail.Unpack(request):
        return {"violations": [FieldViolation(v.field, v.description) for v in request.field_violations]}
    if detail.Unpack(retry):
        return {"retry_after": retry.retry_delay.ToTimedelta().total_seconds()}
    return {}


def _make(code: str, message: str, **parts: Any) -> ModelwireError:
    error = BY_CODE.get(code, Internal)(message, **parts)
    error.code = code
    return error


def plain_error(code: str, details: str, target: str) -> ModelwireError:
    """The error of a status without details: one that the connection, a proxy or another server gave."""
    match code:
        case "UNAVAILABLE":
            message = f"cannot reach modelwire at {target}: {details or 'no connection'}; is `modelwire serve` running?"
        case "DEADLINE_EXCEEDED":
            message = f"no answer from {target} within the deadline"
        case "UNIMPLEMENTED":
            message = f"the server at {target} does not know this call; is it modelwire, and as new as this client? ({details})"
        case _:
            message = details or f"{target} answered {code}"
    return _make(code, message)


def connection_broke(error: ModelwireError) -> bool:
    """Whether a stream that ended so may go on over another connection."""
    return error.reason in TRY_AGAIN or (not error.reason and error.code in BROKEN_CODES)


def never_arrived(error: ModelwireError) -> bool:
    """Whether work that may be done twice should be sent again: the server was not there, or refused it for now."""
    return error.reason in TRY_AGAIN or (not error.reason and error.code == "UNAVAILABLE")


def asks_for_retry(error: ModelwireError) -> bool:
    """Whether the server did nothing and says when to try again."""
    return error.retry_after is not None and error.reason in TRY_AGAIN
