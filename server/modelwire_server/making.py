"""What training and prediction jobs have in common: how they are told apart, and what their artifacts say of them."""

import hashlib
import json
from typing import Any

from .artifacts.model import COMPILED, WORKSPACE, Artifact, ArtifactInput, Blob
from .clock import now
from .errors import InvalidField, NotFound, PreconditionFailed, UntrustedContent
from .execution.interface import Made
from .jobs.model import EventKind, Job, NewEvent

# What may be wrong with an order that is well formed.
MISTAKES = (InvalidField, NotFound, PreconditionFailed, UntrustedContent)


def fingerprint_of(job: Job, chosen_id: str) -> str:
    """The same for two submissions that ask for the same; a retry is told from a reused request id by it."""
    asked = [job.kind, job.runner_id, job.config_id, job.model_id, job.input, job.timeout, job.priority, chosen_id]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def made_by(job: Job, made: Made, **more: Any) -> dict[str, Any]:
    """The fields of an artifact that hold its content and tell how a job made it; `more` goes into its metadata."""
    end = now()
    start = job.started_at or end
    metadata = {
        "status": "success",
        "config_id": job.config_id,
        "started_at": start.isoformat(),
        "completed_at": end.isoformat(),
        "duration_seconds": round((end - start).total_seconds(), 3),
        **made.metadata,
        **more,
    }
    return {
        "content_type": made.content_type,
        "blob": made.blob,
        "metadata": metadata,
        "tags": tuple(job.input["tags"]),
        "runner_id": job.runner_id,
        "created_at": end,
        "updated_at": end,
    }


def inputs_of(job: Job) -> tuple[ArtifactInput, ...]:
    """The lineage edges that every job's artifact has: the job, its frames, its GeoJSON."""
    frames = tuple(ArtifactInput(role, digest=digest) for role, digest in job.input["frames"].items())
    geo = (ArtifactInput("geo", digest=job.input["geo"]),) if job.input.get("geo") else ()
    return (ArtifactInput("job", job.id), *frames, *geo)


def compiled_of(made: Made) -> tuple[ArtifactInput, ...]:
    """Edges to the compiled methods of a model: through them the store knows that their files are wanted."""
    if made.content_type == WORKSPACE:
        return ()
    return tuple(ArtifactInput(COMPILED, digest=blob.digest) for _, blob in made.parts)


def artifact_made(artifact: Artifact) -> NewEvent:
    size = artifact.blob.size if artifact.blob else 0
    data = {"artifact_id": artifact.id, "type": artifact.type, "content_size": size}
    return NewEvent(EventKind.ARTIFACT, data, artifact.created_at)


def model_blob(model: Artifact) -> Blob:
    """The content of a model artifact, which always has one."""
    assert model.blob is not None
    return model.blob
