"""The client of modelwire: train and predict on a server, watch its jobs, keep what they made.

    from modelwire import Client

    with Client("localhost:50051") as client:
        config = client.configs.create("v1", {"features": ["rainfall"]})
        model = client.train(config, data).wait(progress=True)
        predictions = model.predict(future)

`AsyncClient` is the same for asyncio; its handles are `AsyncJob`, `AsyncModel`, `AsyncArtifact` and `AsyncConfig`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from modelwire._version import __version__

if TYPE_CHECKING:
    from modelwire._async.artifacts import AsyncArtifact
    from modelwire._async.client import AsyncClient
    from modelwire._async.configs import AsyncConfig
    from modelwire._async.jobs import AsyncJob
    from modelwire._async.models import AsyncModel
    from modelwire._sync.artifacts import Artifact
    from modelwire._sync.client import Client
    from modelwire._sync.configs import Config
    from modelwire._sync.jobs import Job
    from modelwire._sync.models import Model
    from modelwire.errors import (
        AlreadyExists,
        Canceled,
        DataLoss,
        DeadlineExceeded,
        FailedPrecondition,
        FieldViolation,
        Internal,
        InvalidArgument,
        JobCanceled,
        JobFailed,
        ModelwireError,
        NotFound,
        PermissionDenied,
        ResourceExhausted,
        Unauthenticated,
        Unavailable,
        Unimplemented,
    )
    from modelwire.events import (
        ArtifactEvent,
        Event,
        JobStatus,
        LogEvent,
        MetricEvent,
        ProgressEvent,
        StageEvent,
        StateEvent,
    )
    from modelwire.gates import GateFinding, GoldenRows, MetricBounds, PromotionGate
    from modelwire.predictors import PredictorInfo, PredictOutcome, Readiness
    from modelwire.records import (
        ArtifactInput,
        ArtifactNode,
        Diagnostic,
        HealthStatus,
        ModelMetadata,
        RunInfo,
        Runner,
        RunnerInfo,
        SampleData,
        Validation,
    )
    from modelwire.registered import ModelEvent, ModelReadiness, ModelScores, ModelVersion, RegisteredModel

# gRPC and the messages take long to import; the command line's help and whoever needs a version or an error do without.
_HOMES = {
    "modelwire._async.artifacts": ("AsyncArtifact",),
    "modelwire._async.client": ("AsyncClient",),
    "modelwire._async.configs": ("AsyncConfig",),
    "modelwire._async.jobs": ("AsyncJob",),
    "modelwire._async.models": ("AsyncModel",),
    "modelwire._sync.artifacts": ("Artifact",),
    "modelwire._sync.client": ("Client",),
    "modelwire._sync.configs": ("Config",),
    "modelwire._sync.jobs": ("Job",),
    "modelwire._sync.models": ("Model",),
    "modelwire.errors": (
        "AlreadyExists",
        "Canceled",
        "DataLoss",
        "DeadlineExceeded",
        "FailedPrecondition",
        "FieldViolation",
        "Internal",
        "InvalidArgument",
        "JobCanceled",
        "JobFailed",
        "ModelwireError",
        "NotFound",
        "PermissionDenied",
        "ResourceExhausted",
        "Unauthenticated",
        "Unavailable",
        "Unimplemented",
    ),
    "modelwire.events": (
        "ArtifactEvent",
        "Event",
        "JobStatus",
        "LogEvent",
        "MetricEvent",
        "ProgressEvent",
        "StageEvent",
        "StateEvent",
    ),
    "modelwire.gates": ("GateFinding", "GoldenRows", "MetricBounds", "PromotionGate"),
    "modelwire.predictors": ("PredictOutcome", "PredictorInfo", "Readiness"),
    "modelwire.records": (
        "ArtifactInput",
        "ArtifactNode",
        "Diagnostic",
        "HealthStatus",
        "ModelMetadata",
        "RunInfo",
        "Runner",
        "RunnerInfo",
        "SampleData",
        "Validation",
    ),
    "modelwire.registered": ("ModelEvent", "ModelReadiness", "ModelScores", "ModelVersion", "RegisteredModel"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AlreadyExists",
    "Artifact",
    "ArtifactEvent",
    "ArtifactInput",
    "ArtifactNode",
    "AsyncArtifact",
    "AsyncClient",
    "AsyncConfig",
    "AsyncJob",
    "AsyncModel",
    "Canceled",
    "Client",
    "Config",
    "DataLoss",
    "DeadlineExceeded",
    "Diagnostic",
    "Event",
    "FailedPrecondition",
    "FieldViolation",
    "GateFinding",
    "GoldenRows",
    "HealthStatus",
    "Internal",
    "InvalidArgument",
    "Job",
    "JobCanceled",
    "JobFailed",
    "JobStatus",
    "LogEvent",
    "MetricBounds",
    "MetricEvent",
    "Model",
    "ModelEvent",
    "ModelMetadata",
    "ModelReadiness",
    "ModelScores",
    "ModelVersion",
    "ModelwireError",
    "NotFound",
    "PermissionDenied",
    "PredictOutcome",
    "PredictorInfo",
    "ProgressEvent",
    "PromotionGate",
    "Readiness",
    "RegisteredModel",
    "ResourceExhausted",
    "RunInfo",
    "Runner",
    "RunnerInfo",
    "SampleData",
    "StageEvent",
    "StateEvent",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Validation",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is used first."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
