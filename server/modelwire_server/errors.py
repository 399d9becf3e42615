"""What can go wrong, in the domain's own words.

    ModelwireError
    ├── InvalidField            ├── NotFound (Runner-, Predictor-, Config-, Model-, Artifact-, JobNotFound, NotLinked, NoContent)
    │   ├── InvalidId           ├── Conflict (AlreadyExists, AlreadyLinked)
    │   ├── InvalidFrame        ├── PreconditionFailed (NotAModel, ParentNotFound, ArtifactCycle, ...)
    │   ├── ...                 ├── Exhausted (Overloaded, ContentTooLarge, StorageFull)
    ├── StorageUnavailable      │
    ├── SourceUnavailable       │
    └── ShuttingDown            └── WorkFailed (RunnerFailed, InvalidPrediction, MemoryLimit, ...)

The domain raises these and knows no gRPC; `interceptors.errors` has the table that turns each reason into a status code. `reason`
is a name of the contract's `ErrorReason` without its prefix. Messages are shown to callers: they say what is wrong and what to
do, and never hold anything that a stranger may not see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that breaks a rule; `field` is a path such as `data.features[0]`, `kind` the name of the rule, if it has
    one: `greater_than_equal`, `missing`."""

    field: str
    description: str
    kind: str = ""


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


class Degraded(Exception):
    """A part of the server does less than it should, but the server works; the message says what."""


class ModelwireError(Exception):
    """Base of all errors that are meant for callers."""

    reason: ClassVar[str] = "INTERNAL"
    retry_after: timedelta | None = None
    # The runner's own traceback, where there is one.
    traceback: str | None = None

    def __init__(self, message: str, /, *, violations: Sequence[FieldViolation] = (), **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.violations = tuple(violations)
        self.metadata = {key: str(value) for key, value in metadata.items()}


class InvalidField(ModelwireError):
    """One or more fields of a request break a rule."""

    reason = "INVALID_FIELD"

    @classmethod
    def of(cls, *violations: FieldViolation) -> "InvalidField":
        """An error whose message is the first violation."""
        first, more = violations[0], len(violations) - 1
        message = f"{first.field}: {first.description}" + (f" (and {more} more)" if more else "")
        return cls(message, violations=violations, count=len(violations))


class InvalidId(InvalidField):
    reason = "INVALID_ID"


class InvalidFrame(InvalidField):
    reason = "INVALID_FRAME"


class FrameTooLarge(InvalidField):
    reason = "FRAME_TOO_LARGE"


class MissingColumns(InvalidField):
    reason = "MISSING_COLUMNS"


class SchemaViolation(InvalidField):
    reason = "SCHEMA_VIOLATION"


class InvalidPayload(InvalidField):
    reason = "INVALID_PAYLOAD"


class InvalidConfig(InvalidField):
    reason = "INVALID_CONFIG"


class InvalidGeo(InvalidField):
    reason = "INVALID_GEO"


class HorizonOutOfBounds(InvalidField):
    reason = "HORIZON_OUT_OF_BOUNDS"


class DigestMismatch(InvalidField):
    reason = "DIGEST_MISMATCH"


class RequestIdReused(InvalidField):
    reason = "REQUEST_ID_REUSED"


class NotFound(ModelwireError):
    """What was asked for does not exist."""


class RunnerNotFound(NotFound):
    reason = "RUNNER_NOT_FOUND"


class PredictorNotFound(NotFound):
    reason = "PREDICTOR_NOT_FOUND"


class ConfigNotFound(NotFound):
    reason = "CONFIG_NOT_FOUND"


class ModelNotFound(NotFound):
    reason = "MODEL_NOT_FOUND"


class ArtifactNotFound(NotFound):
    reason = "ARTIFACT_NOT_FOUND"


class JobNotFound(NotFound):
    reason = "JOB_NOT_FOUND"


class NotLinked(NotFound):
    reason = "NOT_LINKED"


class NoContent(NotFound):
    reason = "NO_CONTENT"


class Conflict(ModelwireError):
    """Something is there already."""


class AlreadyExists(Conflict):
    reason = "ALREADY_EXISTS"


class AlreadyLinked(Conflict):
    reason = "ALREADY_LINKED"


class PreconditionFailed(ModelwireError):
    """The request is well formed, but not in this state of things."""


class NotAModel(PreconditionFailed):
    reason = "NOT_A_MODEL"


class FailedTraining(NotAModel):
    """The artifact is what a training that failed has left."""


class ParentNotFound(PreconditionFailed):
    reason = "PARENT_NOT_FOUND"


class ArtifactCycle(PreconditionFailed):
    reason = "ARTIFACT_CYCLE"


class TreeTooDeep(PreconditionFailed):
    reason = "TREE_TOO_DEEP"


class NotARoot(PreconditionFailed):
    reason = "NOT_A_ROOT"


class ModelInUse(PreconditionFailed):
    reason = "MODEL_IN_USE"


class PromotionRefused(PreconditionFailed):
    reason = "PROMOTION_REFUSED"


class NothingToRollBack(PreconditionFailed):
    reason = "NOTHING_TO_ROLL_BACK"


class ModelNotReady(PreconditionFailed):
    """A model that is to be served is not there yet."""

    reason = "MODEL_NOT_READY"
    retry_after = timedelta(seconds=5)


class RunnerNotServed(PreconditionFailed):
    reason = "RUNNER_NOT_SERVED"


class UntrustedContent(ModelwireError):
    reason = "UNTRUSTED_CONTENT"


class Exhausted(ModelwireError):
    """A limit is reached."""


class Overloaded(Exhausted):
    reason = "OVERLOADED"
    retry_after = timedelta(seconds=1)


class ContentTooLarge(Exhausted):
    reason = "CONTENT_TOO_LARGE"


class StorageFull(Exhausted):
    reason = "STORAGE_FULL"


class StorageUnavailable(ModelwireError):
    """The database or the object store does not answer."""

    reason = "STORAGE_UNAVAILABLE"
    retry_after = timedelta(seconds=2)


class SourceUnavailable(ModelwireError):
    """The place that a model is to come from does not answer."""

    reason = "SOURCE_UNAVAILABLE"
    retry_after = timedelta(seconds=10)


class ShuttingDown(ModelwireError):
    reason = "SHUTTING_DOWN"
    retry_after = timedelta(seconds=2)


class WorkFailed(ModelwireError):
    """The runner, or the process that it ran in, failed. Also how a failed job is described."""

    def __init__(self, message: str, /, *, traceback: str | None = None, **metadata: object) -> None:
        super().__init__(message, violations=(), **metadata)
        self.traceback = traceback


class RunnerFailed(WorkFailed):
    reason = "RUNNER_FAILED"


class InvalidPrediction(WorkFailed):
    reason = "INVALID_PREDICTION"


class ModelNotSerializable(WorkFailed):
    reason = "MODEL_NOT_SERIALIZABLE"


class RunnerExited(WorkFailed):
    reason = "RUNNER_EXITED"


class RunnerKilled(WorkFailed):
    reason = "RUNNER_KILLED"


class MemoryLimit(WorkFailed):
    reason = "MEMORY_LIMIT"


class WorkerLost(WorkFailed):
    reason = "WORKER_LOST"


class DeadlineExceeded(WorkFailed):
    reason = "DEADLINE_EXCEEDED"


class ModelNotLoadable(WorkFailed):
    reason = "MODEL_NOT_LOADABLE"


class ContentCorrupted(WorkFailed):
    reason = "CONTENT_CORRUPTED"


class ContentMissing(ContentCorrupted):
    """It is not damaged: it is not there at all."""


class Canceled(WorkFailed):
    reason = "CANCELED"
