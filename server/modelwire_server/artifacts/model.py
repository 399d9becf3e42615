"""Artifacts, as the domain sees them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

ARROW_STREAM = "application/vnd.apache.arrow.stream"
JSON = "application/json"
PICKLE = "application/x-pickle"
# A list of files that are blobs of their own (see workspace.py); downloaded as a zip.
WORKSPACE = "application/vnd.modelwire.workspace+json"

MODEL_TYPE = "ml_training"
TRAINING_WORKSPACE_TYPE = "ml_training_workspace"
PREDICTION_TYPE = "ml_prediction"
PREDICTION_WORKSPACE_TYPE = "ml_prediction_workspace"
DATASET_TYPE = "dataset"
GENERIC_TYPE = "generic"

# The role of an edge from a model to a file that computes one of its methods faster.
COMPILED = "compiled"


@dataclass(frozen=True, slots=True)
class Blob:
    """Stored content: `digest` is `sha256:` and 64 hexadecimal digits, `size` is in bytes."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class ArtifactInput:
    """Something that went into an artifact, or that its training made beside it. `role` is config, job, model, data, historic, future,
    geo or compiled."""

    role: str
    id: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A node in the tree. `content_type` and `blob` are absent when it has no content."""

    id: str
    type: str
    metadata: dict[str, Any] = field(default_factory=dict)
    content_type: str = ""
    blob: Blob | None = None
    parent_id: str | None = None
    level: int = 0
    tags: tuple[str, ...] = ()
    inputs: tuple[ArtifactInput, ...] = ()
    runner_id: str = ""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ArtifactNode:
    """An artifact with its descendants."""

    artifact: Artifact
    level_label: str
    hierarchy: str
    children: tuple["ArtifactNode", ...] = ()
