"""Artifacts, as the domain sees them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from ..formats import model as formats

ARROW_STREAM = "application/vnd.apache.arrow.stream"
JSON = "application/json"
PICKLE = formats.PICKLE
# A list of files that are blobs of their own (see workspace.py); downloaded as a zip.
WORKSPACE = formats.WORKSPACE

MODEL_TYPE = "ml_training"
TRAINING_WORKSPACE_TYPE = "ml_training_workspace"
PREDICTION_TYPE = "ml_prediction"
PREDICTION_WORKSPACE_TYPE = "ml_prediction_workspace"
DATASET_TYPE = "dataset"
GENERIC_TYPE = "generic"

# The role of an edge from a model to a file that computes one of its methods faster.
COMPILED = "compiled"


class Origin(StrEnum):
    """Where a model came from, by the role of an edge that only the server makes: a job of ours, a file that cannot run code when it is
    read, or one that can and was granted to. Metadata is anybody's to change, edges are not."""

    TRAINED = "job"
    IMPORTED = "import"
    GRANTED = "grant"


@dataclass(frozen=True, slots=True)
class Blob:
    """Stored content: `digest` is `sha256:` and 64 hexadecimal digits, `size` is in bytes."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class ArtifactInput:
    """Something that went into an artifact, or that its training made beside it. `role` is config, job, model, data, historic, future,
    geo, compiled, import or grant."""

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


def origin_of(artifact: Artifact) -> Origin | None:
    """Where a model came from; None for content that anybody may have uploaded."""
    roles = {edge.role for edge in artifact.inputs}
    return next((origin for origin in Origin if origin in roles), None)


@dataclass(frozen=True, slots=True)
class ArtifactNode:
    """An artifact with its descendants."""

    artifact: Artifact
    level_label: str
    hierarchy: str
    children: tuple["ArtifactNode", ...] = ()
