"""What the registry tells of models by name, as plain dataclasses. Times are aware UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from modelwire.gates import PromotionGate, gate_of
from modelwire.v1 import model_service_pb2
from modelwire.values import from_struct

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

Stage = Literal["", "staging", "production", "archived"]


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """A name and what it stands for.

    `aliases` tells the version that each alias points to, `aliased_at` since when, `gate` what a version must keep for that.
    """

    name: str
    description: str
    tags: tuple[str, ...]
    aliases: dict[str, int]
    latest_version: int
    aliased_at: dict[str, datetime] = field(repr=False)
    gate: PromotionGate | None = field(repr=False)
    created_at: datetime = field(repr=False)
    updated_at: datetime = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One version of a model, and the aliases that point to it.

    `stage` is staging, production, archived or empty; `signature` has `inputs` and `outputs`, each a list of `name` and `type`. `source` is
    where it came from, empty for what was trained on the server, and `grant` why content that can run code was read all the same.
    """

    name: str
    version: int
    artifact_id: str
    aliases: tuple[str, ...]
    stage: str
    metrics: dict[str, float]
    algorithm: str
    target: str
    features: tuple[str, ...]
    framework: str
    description: str
    tags: tuple[str, ...]
    runner_id: str
    source: str
    format: str
    grant: str
    signature: dict[str, Any] = field(repr=False)
    trained_at: datetime | None = field(repr=False)
    created_at: datetime = field(repr=False)

    @property
    def reference(self) -> str:
        """How calls name this version for ever: `weather/3`."""
        return f"{self.name}/{self.version}"


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """How good a model is on rows whose target is known: `scores` by their names, and how many `rows` that were.

    `model_version` is such as `weather/3`, if the model was asked for by name.
    """

    scores: dict[str, float]
    rows: int
    model_id: str
    model_version: str


@dataclass(frozen=True, kw_only=True)
class ModelReadiness:
    """Whether a model, named as `weather@production`, can predict, and which `version` does: 0 if none.

    `message` says why none does, or why a newer one does not. `expected` is what the server was told to serve. `failed_attempts` is how
    often it was tried in vain to load what is missing, `next_attempt_at` when that is tried again, if it is.
    """

    model: str
    ready: bool
    version: int
    message: str
    expected: bool
    failed_attempts: int
    next_attempt_at: datetime | None = field(repr=False)
    checked_at: datetime | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ModelEvent:
    """Something that happened in the registry.

    `kind` is registered, promoted, rolled_back, updated, alias_removed, version_deleted or deleted; `previous_version` is where the
    alias pointed before, 0 if nowhere; `override` is why rules of the gate did not count, if they did not, and `grant` why content that
    can run code was read.
    """

    sequence: int
    time: datetime = field(repr=False)
    kind: str
    name: str
    version: int
    alias: str
    previous_version: int
    override: str
    grant: str


def registered_of(model: model_service_pb2.Model) -> RegisteredModel:
    """The model of a message."""
    return RegisteredModel(
        name=model.name,
        description=model.description,
        tags=tuple(model.tags),
        aliases=dict(sorted(model.aliases.items())),
        latest_version=model.latest_version,
        aliased_at={alias: _time(time) for alias, time in sorted(model.aliased_at.items())},
        gate=gate_of(model.gate) if model.HasField("gate") else None,
        created_at=_time(model.created_at),
        updated_at=_time(model.updated_at),
    )


def version_of(version: model_service_pb2.ModelVersion) -> ModelVersion:
    """The version of a message."""
    return ModelVersion(
        name=version.name,
        version=version.version,
        artifact_id=version.artifact_id,
        aliases=tuple(version.aliases),
        stage=_word(model_service_pb2.ModelStage.Name(version.stage), "MODEL_STAGE_"),
        metrics=dict(sorted(version.metrics.items())),
        algorithm=version.algorithm,
        target=version.target,
        features=tuple(version.features),
        framework=version.framework,
        description=version.description,
        tags=tuple(version.tags),
        runner_id=version.runner_id,
        source=version.source,
        format=version.format,
        grant=version.grant,
        signature=from_struct(version.signature),
        trained_at=_time(version.trained_at) if version.HasField("trained_at") else None,
        created_at=_time(version.created_at),
    )


def scores_of(answer: model_service_pb2.ScoreModelResponse) -> ModelScores:
    """The scores of a message."""
    return ModelScores(
        scores=dict(sorted(answer.scores.items())),
        rows=answer.rows,
        model_id=answer.model_id,
        model_version=answer.model_version,
    )


def readiness_of(state: model_service_pb2.ModelReadiness) -> ModelReadiness:
    """The readiness of a message."""
    return ModelReadiness(
        model=state.model,
        ready=state.ready,
        version=state.version,
        message=state.message,
        expected=state.expected,
        failed_attempts=state.failed_attempts,
        next_attempt_at=_time(state.next_attempt_at) if state.HasField("next_attempt_at") else None,
        checked_at=_time(state.checked_at) if state.HasField("checked_at") else None,
    )


def model_event_of(event: model_service_pb2.WatchModelsResponse) -> ModelEvent | None:
    """The event of a message; None for heartbeats, and for kinds that this client is too old to know."""
    if not event.kind or event.kind not in model_service_pb2.ModelEventKind.values():
        return None
    return ModelEvent(
        sequence=event.sequence,
        time=_time(event.time),
        kind=_word(model_service_pb2.ModelEventKind.Name(event.kind), "MODEL_EVENT_KIND_"),
        name=event.name,
        version=event.version,
        alias=event.alias,
        previous_version=event.previous_version,
        override=event.override,
        grant=event.grant,
    )


def stage_number(stage: Stage) -> model_service_pb2.ModelStage.ValueType:
    """The stage as a message has it."""
    return model_service_pb2.ModelStage.Value(f"MODEL_STAGE_{(stage or 'unspecified').upper()}")


def _word(name: str, prefix: str) -> str:
    """`staging` for MODEL_STAGE_STAGING; empty for what is not set."""
    word = name.removeprefix(prefix).lower()
    return "" if word == "unspecified" else word


def _time(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
