"""All that the author of a runner or a predictor needs."""

from .checks import check_predictor, check_runner
from .config import BaseConfig
from .context import RunCanceled, RunContext
from .diagnostics import Severity, ValidationDiagnostic
from .discovery import TargetError, load_runner, load_served
from .info import ArtifactHierarchy, AssessedStatus, ModelMetadata, PeriodType, RetryPolicy, RunnerInfo, RunnerLimits
from .json_values import InvalidResult
from .payloads import InvalidPayload, PayloadViolation
from .predictor import MissingHook, Predictor, PredictorError, Scores
from .runner import BaseModelRunner, FunctionalModelRunner
from .shell import ShellModelRunner

__all__ = [
    "ArtifactHierarchy",
    "AssessedStatus",
    "BaseConfig",
    "BaseModelRunner",
    "FunctionalModelRunner",
    "InvalidPayload",
    "InvalidResult",
    "MissingHook",
    "ModelMetadata",
    "PayloadViolation",
    "PeriodType",
    "Predictor",
    "PredictorError",
    "RetryPolicy",
    "RunCanceled",
    "RunContext",
    "RunnerInfo",
    "RunnerLimits",
    "Scores",
    "Severity",
    "ShellModelRunner",
    "TargetError",
    "ValidationDiagnostic",
    "check_predictor",
    "check_runner",
    "load_runner",
    "load_served",
]
