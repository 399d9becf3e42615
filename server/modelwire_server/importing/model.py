"""What is said and known of a model that was made elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ..registry.model import Stage

# Where a file came from that a caller sent.
UPLOAD = "upload"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedFile:
    """What a caller, or a source, says of a model file. What is empty is told by the file, as far as it can tell.

    `format` is one of formats.model.Format; `config` is what the runner gets, by default its defaults; `grant` says why a file that can run
    code when it is read is to be trusted; `digest` is what the file must have; `trained_at` is an ISO 8601 time.
    """

    name: str
    format: str = ""
    runner_id: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    grant: str = ""
    source: str = UPLOAD
    digest: str = ""
    signature: Mapping[str, Any] = field(default_factory=dict)
    algorithm: str = ""
    features: tuple[str, ...] = ()
    target: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    framework: str = ""
    trained_at: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    stage: Stage = Stage.NONE
    alias: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A model file that a source has fetched, and what the source knows of it. `source` is its address with the version: what it stands
    for never changes."""

    path: Path
    source: str
    format: str = ""
    signature: Mapping[str, Any] = field(default_factory=dict)
    algorithm: str = ""
    features: tuple[str, ...] = ()
    target: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    framework: str = ""
    trained_at: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()

    def completed(self, wanted: ImportedFile) -> ImportedFile:
        """What the caller said goes before what the source knows."""
        return replace(
            wanted,
            source=self.source,
            format=wanted.format or self.format,
            signature=wanted.signature or self.signature,
            algorithm=wanted.algorithm or self.algorithm,
            features=wanted.features or self.features,
            target=wanted.target or self.target,
            metrics={**self.metrics, **wanted.metrics},
            framework=wanted.framework or self.framework,
            trained_at=wanted.trained_at or self.trained_at,
            description=wanted.description or self.description,
            tags=wanted.tags or self.tags,
        )


class Source(Protocol):
    """A place that models come from by their address."""

    @property
    def scheme(self) -> str:
        """What stands before the colon of its addresses."""

    async def fetch(self, uri: str, into: Path) -> Fetched:
        """Fetches the file of a model into an empty folder. Nothing of it is read as a model. Raises InvalidField for what is no address,
        ModelNotFound, ContentTooLarge, SourceUnavailable."""
