"""All that the author of a runner needs."""

from .checks import check_runner
from .config import BaseConfig
from .context import RunCanceled, RunContext
from .diagnostics import Severity, ValidationDiagnostic
from .discovery import TargetError, load_runner
from .info import ArtifactHierarchy, AssessedStatus, ModelMetadata, PeriodType, RetryPolicy, RunnerInfo, RunnerLimits
from .runner import BaseModelRunner, FunctionalModelRunner
from .shell import ShellModelRunner

__all__ = [
    "ArtifactHierarchy",
    "AssessedStatus",
    "BaseConfig",
    "BaseModelRunner",
    "FunctionalModelRunner",
    "ModelMetadata",
    "PeriodType",
    "RetryPolicy",
    "RunCanceled",
    "RunContext",
    "RunnerInfo",
    "RunnerLimits",
    "Severity",
    "ShellModelRunner",
    "TargetError",
    "ValidationDiagnostic",
    "check_runner",
    "load_runner",
]
