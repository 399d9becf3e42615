"""Errors become statuses here, once, by a table."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from ..clock import new_id
from ..errors import FieldViolation, InvalidField, ModelwireError
from .around import Act, Context, Method
from .context import Trailer

DOMAIN = "modelwire"
DETAILS_KEY = "grpc-status-details-bin"
MAX_VIOLATIONS = 50
# Statuses travel in a trailer: from 8 KiB on gRPC may replace them by an error of its own. Binary values grow by a third on the
# wire, and the message stands in the trailer a second time.
MAX_DETAILS_BYTES = 5 * 1024
MAX_MESSAGE_BYTES = 768
MAX_METADATA_CHARACTERS = 200
MAX_DESCRIPTION_CHARACTERS = 500

_Code = grpc.StatusCode
CODES: dict[str, grpc.StatusCode] = {
    "INVALID_FIELD": _Code.INVALID_ARGUMENT,
    "INVALID_ID": _Code.INVALID_ARGUMENT,
    "INVALID_FRAME": _Code.INVALID_ARGUMENT,
    "FRAME_TOO_LARGE": _Code.INVALID_ARGUMENT,
    "MISSING_COLUMNS": _Code.INVALID_ARGUMENT,
    "SCHEMA_VIOLATION": _Code.INVALID_ARGUMENT,
    "INVALID_PAYLOAD": _Code.INVALID_ARGUMENT,
    "INVALID_CONFIG": _Code.INVALID_ARGUMENT,
    "HORIZON_OUT_OF_BOUNDS": _Code.INVALID_ARGUMENT,
    "DIGEST_MISMATCH": _Code.INVALID_ARGUMENT,
    "REQUEST_ID_REUSED": _Code.INVALID_ARGUMENT,
    "INVALID_GEO": _Code.INVALID_ARGUMENT,
    "RUNNER_NOT_FOUND": _Code.NOT_FOUND,
    "PREDICTOR_NOT_FOUND": _Code.NOT_FOUND,
    "CONFIG_NOT_FOUND": _Code.NOT_FOUND,
    "MODEL_NOT_FOUND": _Code.NOT_FOUND,
    "ARTIFACT_NOT_FOUND": _Code.NOT_FOUND,
    "JOB_NOT_FOUND": _Code.NOT_FOUND,
    "NOT_LINKED": _Code.NOT_FOUND,
    "NO_CONTENT": _Code.NOT_FOUND,
    "ALREADY_EXISTS": _Code.ALREADY_EXISTS,
    "ALREADY_LINKED": _Code.ALREADY_EXISTS,
    "NOT_A_MODEL": _Code.FAILED_PRECONDITION,
    "PARENT_NOT_FOUND": _Code.FAILED_PRECONDITION,
    "ARTIFACT_CYCLE": _Code.FAILED_PRECONDITION,
    "TREE_TOO_DEEP": _Code.FAILED_PRECONDITION,
    "NOT_A_ROOT": _Code.FAILED_PRECONDITION,
    "RUNNER_NOT_SERVED": _Code.FAILED_PRECONDITION,
    "MODEL_IN_USE": _Code.FAILED_PRECONDITION,
    "PROMOTION_REFUSED": _Code.FAILED_PRECONDITION,
    "MODEL_NOT_READY": _Code.FAILED_PRECONDITION,
    "NOTHING_TO_ROLL_BACK": _Code.FAILED_PRECONDITION,
    "UNTRUSTED_CONTENT": _Code.PERMISSION_DENIED,
    "OVERLOADED": _Code.RESOURCE_EXHAUSTED,
    "CONTENT_TOO_LARGE": _Code.RESOURCE_EXHAUSTED,
    "STORAGE_FULL": _Code.RESOURCE_EXHAUSTED,
    "STORAGE_UNAVAILABLE": _Code.UNAVAILABLE,
    "SOURCE_UNAVAILABLE": _Code.UNAVAILABLE,
    "SHUTTING_DOWN": _Code.UNAVAILABLE,
    "RUNNER_FAILED": _Code.INTERNAL,
    "INVALID_PREDICTION": _Code.INTERNAL,
    "MODEL_NOT_SERIALIZABLE": _Code.INTERNAL,
    "RUNNER_EXITED": _Code.INTERNAL,
    "RUNNER_KILLED": _Code.INTERNAL,
    "MEMORY_LIMIT": _Code.INTERNAL,
    "WORKER_LOST": _Code.INTERNAL,
    "DEADLINE_EXCEEDED": _Code.DEADLINE_EXCEEDED,
    "MODEL_NOT_LOADABLE": _Code.INTERNAL,
    "CONTENT_CORRUPTED": _Code.DATA_LOSS,
    "CANCELED": _Code.CANCELLED,
    "INTERNAL": _Code.INTERNAL,
}

log = structlog.get_logger(__name__)


def errors_to_statuses(method: Method, act: Act) -> Act:
    """Ends a call with the status of the error that its method raised."""

    async def telling(request: Any, context: Context) -> Any:
        try:
            return await act(request, context)
        except (asyncio.CancelledError, grpc.aio.BaseError):  # the caller has left, or grpc has a status already
            raise
        except Exception as error:
            await abort(context, error)

    return telling


async def abort(context: Context, error: Exception) -> None:
    code, message, details = refusal_of(error)
    trailer = [pair for pair in context.trailing_metadata() or () if pair[0] != DETAILS_KEY]
    await context.abort(code, message, (*trailer, *details))


def refusal_of(error: Exception) -> tuple[grpc.StatusCode, str, Trailer]:
    """The code, the message and the trailer that tell of an error."""
    status = status_of(error)
    code = CODES[error.reason] if isinstance(error, ModelwireError) else _code_of(status)
    return code, status.message, ((DETAILS_KEY, status.SerializeToString()),)


def status_of(error: Exception) -> status_pb2.Status:
    """The status of an error, with details that fit into a trailer. Errors that are not meant for callers are logged under an id,
    and only the id is told."""
    if isinstance(error, DecodeError):
        error = InvalidField("the message is not what the contract says: it cannot be decoded", count=0)
    if not isinstance(error, ModelwireError):
        error = _unexpected(error)
    message = _cut_to_bytes(error.message, MAX_MESSAGE_BYTES)
    status = status_pb2.Status(code=CODES[error.reason].value[0], message=message)
    status.details.append(_any(_error_info(error)))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromTimedelta(error.retry_after)
        status.details.append(_any(error_details_pb2.RetryInfo(retry_delay=delay)))
    if error.violations:
        status.details.append(_any(_bad_request(error.violations, MAX_DETAILS_BYTES - status.ByteSize())))
    return status


def _unexpected(error: Exception) -> ModelwireError:
    error_id = new_id()
    log.error("unexpected error", error_id=error_id, exc_info=error)
    return ModelwireError(f"a fault of the server; its log has the details under {error_id}", error_id=error_id)


def _code_of(status: status_pb2.Status) -> grpc.StatusCode:
    return next(code for code in grpc.StatusCode if code.value[0] == status.code)


def _error_info(error: ModelwireError) -> error_details_pb2.ErrorInfo:
    metadata = {key: _cut(value, MAX_METADATA_CHARACTERS) for key, value in list(error.metadata.items())[:8]}
    return error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)


def _bad_request(violations: Sequence[FieldViolation], room: int) -> error_details_pb2.BadRequest:
    """As many violations as fit; ErrorInfo says how many there are."""
    request = error_details_pb2.BadRequest()
    for violation in violations[:MAX_VIOLATIONS]:
        field, description = _cut(violation.field, MAX_METADATA_CHARACTERS), _cut(violation.description, MAX_DESCRIPTION_CHARACTERS)
        request.field_violations.add(field=field, description=description, reason=violation.kind.upper())
        if request.ByteSize() + 100 > room:  # 100 for what Any puts around it
            del request.field_violations[-1]
            break
    return request


def _any(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _cut(text: str, length: int) -> str:
    """Surrogates, which may come from file names, cannot travel."""
    text = text.encode(errors="replace").decode()
    return text if len(text) <= length else text[: length - 3] + "..."


def _cut_to_bytes(text: str, size: int) -> str:
    """Beyond ASCII each byte takes three on the wire."""
    text, used = _cut(text, size), 0
    for index, character in enumerate(text):
        used += 1 if " " <= character <= "~" and character != "%" else 3 * len(character.encode())
        if used > size:
            return text[: max(0, index - 3)] + "..."
    return text
