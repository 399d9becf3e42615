"""The registry: models by name, their versions, and the aliases that are moved from one to the next."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from modelwire._async.connection import AsyncConnection, new_request_id
from modelwire._async.watching import HEARTBEAT, MISSED_HEARTBEATS, AsyncWatch
from modelwire._async.work import id_of
from modelwire._seams import asynchronous as seam
from modelwire.content import open_upload
from modelwire.gates import GateFinding, PromotionGate, finding_of, gate_message
from modelwire.importing import import_requests
from modelwire.payload import Payload
from modelwire.registered import (
    ModelEvent,
    ModelReadiness,
    ModelScores,
    ModelVersion,
    RegisteredModel,
    Stage,
    model_event_of,
    readiness_of,
    registered_of,
    scores_of,
    stage_number,
    version_of,
)
from modelwire.v1 import model_service_pb2 as pb
from modelwire.values import to_struct

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime

    from modelwire._async.artifacts import AsyncArtifact
    from modelwire.content import UploadLike, UploadSource
    from modelwire.frames import FrameLike

PRODUCTION = "production"


class AsyncRegistry:
    """`client.registry`: models by name. Wherever a model is asked for, `name`, `name/3` and `name@alias` do as well as an id."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @property
    def _stub(self) -> Any:
        return self._connection.stubs.models

    async def register(
        self,
        name: str,
        model: AsyncArtifact | str,
        *,
        alias: str = "",
        metrics: Mapping[str, float] | None = None,
        description: str = "",
        tags: Sequence[str] = (),
        stage: Stage = "",
        algorithm: str = "",
        features: Sequence[str] = (),
        target: str = "",
        framework: str = "",
    ) -> ModelVersion:
        """Registers a trained model, given as it is or by its id, as the next version of a name.

        The name comes into being with its first version; `alias` points to the version at once, as `promote` does. What is not said of
        algorithm, features, target and metrics is what the training recorded. Raises NotFound, InvalidArgument, FailedPrecondition.
        """
        request = pb.RegisterModelVersionRequest(
            name=name,
            artifact_id=id_of(model),
            alias=alias,
            metrics=metrics,
            description=description,
            tags=tags,
            stage=stage_number(stage),
            algorithm=algorithm,
            features=features,
            target=target,
            framework=framework,
            request_id=new_request_id(),
        )
        return version_of((await self._connection.call(self._stub.RegisterModelVersion, request)).version)

    async def import_model(
        self,
        name: str,
        file: UploadLike | None = None,
        *,
        uri: str = "",
        format: str = "",
        runner: str = "",
        config: Mapping[str, Any] | None = None,
        grant: str = "",
        alias: str = "",
        signature: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        description: str = "",
        tags: Sequence[str] = (),
        stage: Stage = "",
        algorithm: str = "",
        features: Sequence[str] = (),
        target: str = "",
        framework: str = "",
        trained_at: datetime | None = None,
    ) -> ModelVersion:
        """Registers a model that was made elsewhere as the next version of a name: a file of skops, ONNX or safetensors - a path, bytes, or
        a file open for reading - or what an address (`uri`) stands for, such as `mlflow:wine@champion`.

        What is not said is what the file tells. `runner` is the id of the runner that predicts with it; the built-in one calls the model's
        own `predict`. Pickles, which can run code when they are read, need a `grant`: why they are to be trusted, which is recorded; the
        server must allow it too. Raises InvalidArgument, PermissionDenied, FailedPrecondition, ResourceExhausted.
        """
        if (file is None) == (not uri):
            raise TypeError("import_model() takes either a file or a uri")
        header = pb.ImportHeader(
            name=name,
            uri=uri,
            format=format,
            runner_id=runner,
            config=None if config is None else to_struct(config, "config"),
            grant=grant,
            alias=alias,
            signature=None if signature is None else to_struct(signature, "signature"),
            metrics=metrics,
            description=description,
            tags=tags,
            stage=stage_number(stage),
            algorithm=algorithm,
            features=features,
            target=target,
            framework=framework,
            request_id=new_request_id(),
        )
        if trained_at is not None:
            header.trained_at.FromDatetime(trained_at)
        if file is None:
            return await self._import(header, None)
        with open_upload(file) as source:
            header.digest = await seam.in_thread(source.digest_ahead)
            return await self._import(header, source)

    async def _import(self, header: pb.ImportHeader, source: UploadSource | None) -> ModelVersion:
        replayable = source is None or source.replayable
        requests = partial(import_requests, header, source)
        return version_of((await self._connection.send(self._stub.ImportModel, requests, replayable=replayable)).version)

    async def get(self, name: str) -> RegisteredModel:
        """One model with its aliases. Raises NotFound."""
        return registered_of((await self._connection.call(self._stub.GetModel, pb.GetModelRequest(name=name))).model)

    async def list(self, *, tags: Sequence[str] = (), limit: int | None = None) -> AsyncIterator[RegisteredModel]:
        """Yields the models that have all the tags, oldest first, at most `limit`."""
        async for model in self._connection.pages(self._stub.ListModels, pb.ListModelsRequest(tags=tags), "models", limit):
            yield registered_of(model)

    async def update(
        self,
        name: str,
        *,
        description: str | None = None,
        tags: Sequence[str] = (),
        gate: PromotionGate | Mapping[str, Any] | None = None,
    ) -> RegisteredModel:
        """Changes what is given; answers with the model as it is now. Raises NotFound, InvalidArgument.

        `gate` is replaced as a whole, and may also be an object with the same keys; an empty one lets everything pass that loads.
        """
        request = pb.UpdateModelRequest(
            name=name,
            description=description,
            tags=tags,
            gate=None if gate is None else gate_message(gate),
            request_id=new_request_id(),
        )
        return registered_of((await self._connection.call(self._stub.UpdateModel, request)).model)

    async def delete(self, name: str) -> None:
        """Forgets a name with its versions and aliases; the trained models stay. Raises NotFound."""
        await self._connection.call(self._stub.DeleteModel, pb.DeleteModelRequest(name=name))

    async def version(self, name: str, version: int | str = PRODUCTION) -> ModelVersion:
        """One version, by its number or by an alias. Raises NotFound."""
        request = pb.GetModelVersionRequest(name=name, version=str(version))
        return version_of((await self._connection.call(self._stub.GetModelVersion, request)).version)

    async def versions(self, name: str, *, stage: Stage = "", limit: int | None = None) -> AsyncIterator[ModelVersion]:
        """Yields the versions that fit, newest first, at most `limit`. Raises NotFound."""
        request = pb.ListModelVersionsRequest(name=name, stage=stage_number(stage))
        async for version in self._connection.pages(self._stub.ListModelVersions, request, "versions", limit):
            yield version_of(version)

    async def update_version(
        self,
        name: str,
        version: int | str,
        *,
        description: str | None = None,
        tags: Sequence[str] = (),
        stage: Stage | None = None,
    ) -> ModelVersion:
        """Changes what is given of a version; what it is, and how it came about, never changes. Raises NotFound, InvalidArgument."""
        request = pb.UpdateModelVersionRequest(
            name=name,
            version=str(version),
            description=description,
            tags=tags,
            stage=None if stage is None else stage_number(stage),
            request_id=new_request_id(),
        )
        return version_of((await self._connection.call(self._stub.UpdateModelVersion, request)).version)

    async def delete_version(self, name: str, version: int | str) -> None:
        """Forgets a version; the trained model stays. Raises NotFound, and FailedPrecondition while an alias points to it."""
        request = pb.DeleteModelVersionRequest(name=name, version=str(version))
        await self._connection.call(self._stub.DeleteModelVersion, request)

    async def promote(self, name: str, version: int | str, alias: str = PRODUCTION, *, override: str = "") -> RegisteredModel:
        """Points an alias to a version, or to where another alias points, once that is loaded and has passed the model's gate.

        When this returns, no prediction comes from where the alias pointed before; none fails meanwhile. A version that cannot be
        loaded or breaks rules of the gate leaves everything as it was: FailedPrecondition, whose `violations` name each rule.
        `override` says why the rules shall not count, and is recorded. Raises NotFound, InvalidArgument, too.
        """
        request = pb.PromoteModelRequest(name=name, version=str(version), alias=alias, override=override)
        return registered_of((await self._connection.call(self._stub.PromoteModel, request)).model)

    async def check(self, name: str, version: int | str, alias: str = PRODUCTION) -> tuple[GateFinding, ...]:
        """What the model's gate says of a version, rule by rule; nothing is changed. Raises as `promote` does, but for the rules."""
        request = pb.PromoteModelRequest(name=name, version=str(version), alias=alias, dry_run=True)
        answer = await self._connection.call(self._stub.PromoteModel, request)
        return tuple(finding_of(finding) for finding in answer.findings)

    async def score(
        self,
        model: AsyncArtifact | str,
        data: FrameLike,
        *,
        target: str = "",
        prediction: str = "",
        timeout: float | None = None,
    ) -> ModelScores:
        """How good a model is on rows whose target is known, all in a frame below the server's message limit (16 MiB).

        `target` is the column of what is right, by default what is known of the model; `prediction` the column of the predictions to
        compare it with, by default the first that is new. `timeout` is in seconds. Raises NotFound, InvalidArgument, Internal.
        """
        payload = await seam.in_thread(Payload, {"data": data}, None)
        request = payload.fill(pb.ScoreModelRequest(model=id_of(model), target=target, prediction=prediction))
        return scores_of(await self._connection.call(self._stub.ScoreModel, request, timeout=timeout))

    async def readiness(self, name: str = "") -> tuple[ModelReadiness, ...]:
        """Whether a model can predict, `name` or `name@alias`; without a name all that the server is to serve or has in production.

        That is found out by having them predict. Raises NotFound.
        """
        answer = await self._connection.call(self._stub.CheckModels, pb.CheckModelsRequest(name=name))
        return tuple(readiness_of(state) for state in answer.models)

    async def reload(self, name: str = "") -> tuple[ModelReadiness, ...]:
        """Has all servers look anew for a model, or for all, without waiting for that; returns how it was before.

        Sources of models are asked, and what could not be loaded is tried again at once. Raises NotFound.
        """
        answer = await self._connection.call(self._stub.ReloadModels, pb.ReloadModelsRequest(name=name))
        return tuple(readiness_of(state) for state in answer.models)

    async def rollback(self, name: str, alias: str = PRODUCTION) -> RegisteredModel:
        """Points an alias to where it pointed before. Raises NotFound, and FailedPrecondition if there is nothing to go back to."""
        request = pb.RollbackModelRequest(name=name, alias=alias)
        return registered_of((await self._connection.call(self._stub.RollbackModel, request)).model)

    async def remove_alias(self, name: str, alias: str) -> None:
        """Removes an alias: predictions by it fail from now on. Raises NotFound."""
        await self._connection.call(self._stub.DeleteModelAlias, pb.DeleteModelAliasRequest(name=name, alias=alias))

    async def watch(
        self, name: str = "", after: int = 0, *, heartbeat: float = HEARTBEAT, reconnect_for: float | None = None
    ) -> AsyncIterator[ModelEvent]:
        """Yields what happened to a model, or to all, after sequence `after`, then each new event as it happens, without end.

        0 begins with the oldest event that is kept, -1 with the next one that happens. A broken connection is made again, for
        `reconnect_for` seconds (default: the client's) without any sign of life; no event is lost and none comes twice. `heartbeat` is
        the interval in seconds, 1 to 300, at which the server shows that it lives.
        """
        request = pb.WatchModelsRequest(name=name, after_sequence=after)
        request.heartbeat_interval.FromNanoseconds(int(heartbeat * 1e9))
        watch = AsyncWatch(
            self._connection,
            self._stub.WatchModels,
            request,
            read=lambda answer: (answer.sequence, model_event_of(answer)),
            idle=heartbeat * MISSED_HEARTBEATS,
            reconnect_for=reconnect_for,
        )
        async with aclosing(watch.events()) as events:
            async for event in events:
                yield event
