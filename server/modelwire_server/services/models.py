"""ModelService: models by name."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

from modelwire.v1 import model_service_pb2 as pb
from modelwire.v1.model_service_pb2_grpc import ModelServiceServicer

from ..clock import now
from ..importing.imports import Imports
from ..interceptors.around import Context
from ..registry.catalog import ModelCatalog, NewVersion
from ..registry.gate import Gate
from ..registry.model import (
    PRODUCTION,
    VERSION,
    Facts,
    ModelEvent,
    ModelEventKind,
    ModelVersion,
    RegisteredModel,
    Stage,
    check_alias,
    check_name,
)
from ..registry.readiness import ModelReadiness
from ..scoring.desk import ScoreDesk, ScoreOrder
from .checks import Findings
from .frames import FrameReader
from .gates import gate_message, gate_of
from .imports import received
from .jobs import LONGEST_HEARTBEAT, SHORTEST_HEARTBEAT
from .messages import timestamp
from .readiness import readiness_message
from .values import struct_of
from .versions import STAGE_OF, STAGES, metrics_of

LONGEST_DESCRIPTION = 10_000
_KINDS = {kind: pb.ModelEventKind.Value(f"MODEL_EVENT_KIND_{kind.name}") for kind in ModelEventKind}


class ModelServicer(ModelServiceServicer):
    def __init__(
        self,
        models: ModelCatalog,
        *,
        readiness: ModelReadiness,
        imports: Imports,
        scoring: ScoreDesk,
        reader: FrameReader,
        heartbeat_seconds: float,
    ) -> None:
        self._models = models
        self._readiness = readiness
        self._imports = imports
        self._scoring = scoring
        self._reader = reader
        self._heartbeat_seconds = heartbeat_seconds

    async def RegisterModelVersion(
        self, request: pb.RegisterModelVersionRequest, context: Context
    ) -> pb.RegisterModelVersionResponse:
        version = await self._models.register(new_version_of(request))
        return pb.RegisterModelVersionResponse(version=version_message(version))

    async def ImportModel(self, request_iterator: AsyncIterator[pb.ImportModelRequest], context: Context) -> pb.ImportModelResponse:
        return pb.ImportModelResponse(version=version_message(await received(self._imports, request_iterator)))

    async def ScoreModel(self, request: pb.ScoreModelRequest, context: Context) -> pb.ScoreModelResponse:
        findings = Findings()
        named = {name: findings.text(name, getattr(request, name)) for name in ("target", "prediction")}
        findings.settle()
        order = ScoreOrder(model=request.model, data=await self._reader.table(request, "data"), **named)
        scored = await self._scoring.score(order)
        return pb.ScoreModelResponse(scores=scored.scores, model_id=scored.model_id, model_version=scored.version, rows=scored.rows)

    async def ReloadModels(self, request: pb.ReloadModelsRequest, context: Context) -> pb.ReloadModelsResponse:
        name = _Asked(request).settled() if request.name else ""
        return pb.ReloadModelsResponse(models=map(readiness_message, await self._readiness.request_reload(name)))

    async def CheckModels(self, request: pb.CheckModelsRequest, context: Context) -> pb.CheckModelsResponse:
        if request.name:
            return pb.CheckModelsResponse(models=[readiness_message(await self._readiness.of(request.name))])
        found = await self._readiness.all(attended=request.attended)
        return pb.CheckModelsResponse(models=map(readiness_message, found))

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        return pb.GetModelResponse(model=model_message(await self._models.get(_Asked(request).settled())))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        findings = Findings()
        page = findings.page(request)
        findings.settle()
        found = await self._models.list(page, tags=tuple(request.tags))
        return pb.ListModelsResponse(
            models=[model_message(model) for model in found.items],
            next_page_token=found.next_page_token,
            total_size=found.total_size,
        )

    async def UpdateModel(self, request: pb.UpdateModelRequest, context: Context) -> pb.UpdateModelResponse:
        asked = _Asked(request)
        description, tags = asked.description(request), asked.findings.tags(request.tags)
        request_id = asked.findings.request_id(request.request_id)
        gate = gate_of(request.gate, asked.findings) if request.HasField("gate") else None
        model = await self._models.update(asked.settled(), description=description, tags=tags, gate=gate, request_id=request_id)
        return pb.UpdateModelResponse(model=model_message(model))

    async def DeleteModel(self, request: pb.DeleteModelRequest, context: Context) -> pb.DeleteModelResponse:
        await self._models.delete(_Asked(request).settled())
        return pb.DeleteModelResponse()

    async def GetModelVersion(self, request: pb.GetModelVersionRequest, context: Context) -> pb.GetModelVersionResponse:
        asked = _Asked(request)
        version = asked.version(request.version)
        return pb.GetModelVersionResponse(version=version_message(await self._models.version(asked.settled(), version)))

    async def ListModelVersions(self, request: pb.ListModelVersionsRequest, context: Context) -> pb.ListModelVersionsResponse:
        asked = _Asked(request)
        page, stage = asked.findings.page(request), asked.stage(request.stage)
        found = await self._models.versions(asked.settled(), page, stage=stage)
        return pb.ListModelVersionsResponse(
            versions=[version_message(version) for version in found.items],
            next_page_token=found.next_page_token,
            total_size=found.total_size,
        )

    async def UpdateModelVersion(self, request: pb.UpdateModelVersionRequest, context: Context) -> pb.UpdateModelVersionResponse:
        asked = _Asked(request)
        description, tags = asked.description(request), asked.findings.tags(request.tags)
        stage = asked.stage(request.stage) if request.HasField("stage") else None
        asked_for, request_id = asked.version(request.version), asked.findings.request_id(request.request_id)
        version = await self._models.update_version(
            asked.settled(), asked_for, description=description, tags=tags, stage=stage, request_id=request_id
        )
        return pb.UpdateModelVersionResponse(version=version_message(version))

    async def DeleteModelVersion(self, request: pb.DeleteModelVersionRequest, context: Context) -> pb.DeleteModelVersionResponse:
        asked = _Asked(request)
        version = asked.version(request.version)
        await self._models.delete_version(asked.settled(), version)
        return pb.DeleteModelVersionResponse()

    async def PromoteModel(self, request: pb.PromoteModelRequest, context: Context) -> pb.PromoteModelResponse:
        asked = _Asked(request)
        version, alias = asked.version(request.version), asked.alias("alias", request.alias or PRODUCTION)
        override = asked.findings.text("override", request.override, LONGEST_DESCRIPTION)
        done = await self._models.promote(asked.settled(), version, alias, override=override, dry_run=request.dry_run)
        findings = [pb.GateFinding(rule=one.rule, passed=one.passed, message=one.message) for one in done.findings]
        return pb.PromoteModelResponse(model=model_message(done.model), findings=findings)

    async def RollbackModel(self, request: pb.RollbackModelRequest, context: Context) -> pb.RollbackModelResponse:
        asked = _Asked(request)
        alias = asked.alias("alias", request.alias or PRODUCTION)
        return pb.RollbackModelResponse(model=model_message(await self._models.roll_back(asked.settled(), alias)))

    async def DeleteModelAlias(self, request: pb.DeleteModelAliasRequest, context: Context) -> pb.DeleteModelAliasResponse:
        asked = _Asked(request)
        alias = asked.alias("alias", request.alias)
        await self._models.remove_alias(asked.settled(), alias)
        return pb.DeleteModelAliasResponse()

    async def WatchModels(self, request: pb.WatchModelsRequest, context: Context) -> AsyncIterator[pb.WatchModelsResponse]:
        findings = Findings()
        for violation in check_name("name", request.name) if request.name else ():
            findings.add(violation.field, violation.description)
        if request.after_sequence < -1:
            findings.add("after_sequence", "must be a sequence, 0 or -1")
        interval = findings.seconds("heartbeat_interval", request, least=SHORTEST_HEARTBEAT, most=LONGEST_HEARTBEAT)
        findings.settle()
        heartbeat = interval or self._heartbeat_seconds
        async for event in self._models.watch(request.name, request.after_sequence, heartbeat=heartbeat):
            yield event_message(event)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


class _Asked:
    """What most requests say: which model, and which of its versions."""

    def __init__(self, request: _Named) -> None:
        self._name = request.name
        self.findings = Findings()
        for violation in check_name("name", self._name):
            self.findings.add(violation.field, violation.description)

    def settled(self) -> str:
        """The name. Raises InvalidField."""
        self.findings.settle()
        return self._name

    def alias(self, field: str, value: str) -> str:
        for violation in check_alias(field, value):
            self.findings.add(violation.field, violation.description)
        return value

    def version(self, value: str) -> str:
        """A number, or an alias."""
        if not VERSION.fullmatch(value):
            self.alias("version", value)
        return value

    def stage(self, number: "pb.ModelStage.ValueType") -> Stage:
        if number not in STAGE_OF:
            self.findings.add("stage", f"{number} is no stage")
        return STAGE_OF.get(number, Stage.NONE)

    def description(self, request: pb.UpdateModelRequest | pb.UpdateModelVersionRequest) -> str | None:
        return (
            self.findings.text("description", request.description, LONGEST_DESCRIPTION) if request.HasField("description") else None
        )


def new_version_of(request: pb.RegisterModelVersionRequest) -> NewVersion:
    """Raises InvalidField, InvalidId."""
    asked = _Asked(request)
    findings = asked.findings
    facts = Facts(
        algorithm=findings.text("algorithm", request.algorithm),
        features=tuple(findings.text(f"features[{index}]", column) for index, column in enumerate(request.features)),
        target=findings.text("target", request.target),
        metrics=metrics_of(request.metrics, findings),
        framework=findings.text("framework", request.framework),
    )
    new = NewVersion(
        name=request.name,
        artifact_id=findings.id("artifact_id", request.artifact_id),
        facts=facts,
        description=findings.text("description", request.description, LONGEST_DESCRIPTION),
        tags=findings.tags(request.tags),
        stage=asked.stage(request.stage),
        alias=asked.alias("alias", request.alias) if request.alias else "",
        request_id=findings.request_id(request.request_id),
    )
    asked.settled()
    return new


def model_message(model: RegisteredModel) -> pb.Model:
    return pb.Model(
        name=model.name,
        description=model.description,
        tags=model.tags,
        aliases=model.aliases,
        latest_version=model.last_version,
        gate=gate_message(Gate.from_json(model.gate)) if model.gate else None,
        aliased_at={alias: timestamp(time) for alias, time in model.moved.items()},
        created_at=timestamp(model.created_at),
        updated_at=timestamp(model.updated_at),
    )


def version_message(version: ModelVersion) -> pb.ModelVersion:
    facts = version.facts
    return pb.ModelVersion(
        name=version.name,
        version=version.version,
        artifact_id=version.artifact_id,
        runner_id=facts.runner_id,
        algorithm=facts.algorithm,
        features=facts.features,
        target=facts.target,
        metrics=facts.metrics,
        framework=facts.framework,
        trained_at=timestamp(datetime.fromisoformat(facts.trained_at)) if facts.trained_at else None,
        signature=struct_of(dict(facts.signature)) if facts.signature else None,
        stage=STAGES[version.stage],
        description=version.description,
        tags=version.tags,
        aliases=version.aliases,
        created_at=timestamp(version.created_at),
        source=facts.source,
        format=facts.format,
        grant=facts.grant,
    )


def event_message(event: ModelEvent | int) -> pb.WatchModelsResponse:
    """An event, or a heartbeat for a sequence."""
    if isinstance(event, int):
        return pb.WatchModelsResponse(sequence=event, time=timestamp(now()))
    return pb.WatchModelsResponse(
        sequence=event.sequence,
        time=timestamp(event.time),
        kind=_KINDS[event.kind],
        name=event.name,
        version=event.version,
        alias=event.alias,
        previous_version=event.previous,
        override=event.override,
        grant=event.grant,
    )
