"""What can go wrong, as a caller sees it.

    ModelwireError
    ├── InvalidArgument       a value breaks a rule; `violations` names each field
    ├── NotFound              no such config, model, artifact, job or runner
    ├── AlreadyExists         the chosen id is taken, or the link is there
    ├── FailedPrecondition    well formed, but not in this state of things
    ├── PermissionDenied      not allowed
    │   └── Unauthenticated   the server does not know who is calling
    ├── ResourceExhausted     a limit is reached: too much work is waiting, no space is left
    ├── Unavailable           the server cannot be reached, or is shutting down
    ├── DeadlineExceeded      it took too long; also a TimeoutError
    ├── DataLoss              stored or transferred content is damaged
    ├── Canceled              the call was canceled
    ├── Unimplemented         the server does not know this call
    ├── Internal              the server, or the runner that it called, failed
    ├── JobFailed             a job ended with an error; `traceback` tells where
    └── JobCanceled           a job was canceled

Each error has `code` (the name of a gRPC status code), `reason` (a name of the contract's `ErrorReason` without its prefix, or
empty), `message`, `metadata`, `violations` and `retry_after` (seconds, when the server says that retrying helps).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that breaks a rule; `field` is a path such as `data.features[0]`."""

    field: str
    description: str


class ModelwireError(Exception):
    """Base of all errors that this package raises."""

    code: str = "UNKNOWN"
    retry_after: float | None

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after

    def __str__(self) -> str:
        untold = [v for v in self.violations if v.description not in self.message]
        return "\n".join([self.message, *(f"  {v.field}: {v.description}" for v in untold)])


class InvalidArgument(ModelwireError, ValueError):
    """A value breaks a rule. Raised by the server, and by this package before anything is sent."""

    code = "INVALID_ARGUMENT"

    @classmethod
    def of(cls, field: str, description: str, *, reason: str = "INVALID_FIELD") -> "InvalidArgument":
        """An error about one field."""
        return cls(f"{field}: {description}", reason=reason, violations=[FieldViolation(field, description)])


class NotFound(ModelwireError, LookupError):
    """What was asked for does not exist."""

    code = "NOT_FOUND"


class AlreadyExists(ModelwireError):
    """Something is there already."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(ModelwireError):
    """The request is well formed, but not possible in this state of things."""

    code = "FAILED_PRECONDITION"


class PermissionDenied(ModelwireError):
    """The caller may not do this."""

    code = "PERMISSION_DENIED"


class Unauthenticated(PermissionDenied):
    """The server does not know who is calling."""

    code = "UNAUTHENTICATED"


class ResourceExhausted(ModelwireError):
    """A limit is reached; `retry_after` tells whether waiting helps."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(ModelwireError, ConnectionError):
    """The server cannot be reached, or is shutting down."""

    code = "UNAVAILABLE"


class DeadlineExceeded(ModelwireError, TimeoutError):
    """It took longer than its deadline."""

    code = "DEADLINE_EXCEEDED"


class DataLoss(ModelwireError):
    """Content does not have its digest."""

    code = "DATA_LOSS"


class Canceled(ModelwireError):
    """The call was canceled."""

    code = "CANCELLED"


class Unimplemented(ModelwireError):
    """The server does not know this call."""

    code = "UNIMPLEMENTED"


class Internal(ModelwireError):
    """The server, or the runner that it called, failed. `metadata["error_id"]` finds the details in the server's log."""

    code = "INTERNAL"


class JobFailed(ModelwireError):
    """A job ended with an error.

    `error` is the exception's type and message in a line, `traceback` its full traceback (or empty), `reason` why it failed.
    """

    code = "INTERNAL"

    def __init__(self, message: str, *, job_id: str = "", error: str = "", traceback: str = "", reason: str = "") -> None:
        super().__init__(message, reason=reason)
        self.job_id = job_id
        self.error = error
        self.traceback = traceback
        if traceback:
            self.add_note(f"In the job:\n{traceback}")


class JobCanceled(ModelwireError):
    """A job was canceled."""

    code = "CANCELLED"

    def __init__(self, message: str, *, job_id: str = "", reason: str = "CANCELED") -> None:
        super().__init__(message, reason=reason)
        self.job_id = job_id


BY_CODE: dict[str, type[ModelwireError]] = {
    error.code: error
    for error in (
        InvalidArgument,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        PermissionDenied,
        Unauthenticated,
        ResourceExhausted,
        Unavailable,
        DeadlineExceeded,
        DataLoss,
        Canceled,
        Unimplemented,
        Internal,
    )
}
"""The error of each status code. ABORTED and OUT_OF_RANGE are FailedPrecondition and InvalidArgument, UNKNOWN is Internal."""
BY_CODE |= {"ABORTED": FailedPrecondition, "OUT_OF_RANGE": InvalidArgument, "UNKNOWN": Internal}
