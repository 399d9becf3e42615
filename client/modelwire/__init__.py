"""The client of modelwire: train and predict on a server, watch its jobs, keep what they made.

    from modelwire import Client

    with Client("localhost:50051") as client:
        config = client.configs.create("v1", {"features": ["rainfall"]})
        model = client.train(config, data).wait(progress=True)
        predictions = model.predict(future)

`AsyncClient` is the same for asyncio; its handles are `AsyncJob`, `AsyncModel`, `AsyncArtifact` and `AsyncConfig`.
"""

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
from modelwire._version import __version__
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
    "HealthStatus",
    "Internal",
    "InvalidArgument",
    "Job",
    "JobCanceled",
    "JobFailed",
    "JobStatus",
    "LogEvent",
    "MetricEvent",
    "Model",
    "ModelMetadata",
    "ModelwireError",
    "NotFound",
    "PermissionDenied",
    "ProgressEvent",
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
