"""ModelService over the wire: names, versions, aliases, and the events that tell of them."""

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pyarrow as pa
import pytest

from modelwire.v1 import artifact_service_pb2, config_service_pb2, frame_pb2, predict_service_pb2
from modelwire.v1 import model_service_pb2 as pb
from modelwire_server.clock import new_id
from modelwire_server.frames import write_frame
from modelwire_server.registry import store

REGISTERED, PROMOTED = pb.MODEL_EVENT_KIND_REGISTERED, pb.MODEL_EVENT_KIND_PROMOTED


async def register(edge: Any, artifact_id: str = "", **fields: Any) -> pb.ModelVersion:
    request = pb.RegisterModelVersionRequest(name="weather", artifact_id=artifact_id or await edge.model(), **fields)
    answer = await edge.models.RegisterModelVersion(request)
    version: pb.ModelVersion = answer.version
    return version


async def aliases(edge: Any, name: str = "weather") -> dict[str, int]:
    return dict((await edge.models.GetModel(pb.GetModelRequest(name=name))).model.aliases)


async def promote(edge: Any, version: int, alias: str = "") -> None:
    await edge.models.PromoteModel(pb.PromoteModelRequest(name="weather", version=str(version), alias=alias))


async def events(edge: Any, count: int, after: int = 0, name: str = "") -> list[pb.WatchModelsResponse]:
    call = edge.models.WatchModels(pb.WatchModelsRequest(name=name, after_sequence=after))
    found = [await call.read() for _ in range(count)]
    call.cancel()
    return found


def test_versions_are_numbered_and_the_name_comes_with_the_first(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model()
        first = await register(edge, model, description="the first", tags=["a"], metrics={"accuracy": 0.9}, target="cases")
        assert (first.name, first.version, first.artifact_id, first.runner_id) == ("weather", 1, model, "times")
        assert (first.description, list(first.tags), dict(first.metrics), first.target) == (
            "the first",
            ["a"],
            {"accuracy": 0.9},
            "cases",
        )
        assert (await register(edge)).version == 2
        listed = await edge.models.ListModelVersions(pb.ListModelVersionsRequest(name="weather"))
        assert ([version.version for version in listed.versions], listed.total_size) == ([2, 1], 2)
        (model,) = (await edge.models.ListModels(pb.ListModelsRequest())).models
        assert (model.name, model.latest_version, dict(model.aliases)) == ("weather", 2, {})

    run(scenario)


def test_a_number_is_never_given_twice(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        await register(edge)
        await register(edge)
        await edge.models.DeleteModelVersion(pb.DeleteModelVersionRequest(name="weather", version="2"))
        assert (await register(edge)).version == 3

    run(scenario)


def test_a_retry_registers_once(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model()
        one, two = await register(edge, model, request_id="r"), await register(edge, model, request_id="r")
        assert one == two
        with pytest.raises(grpc.aio.AioRpcError, match="another request"):
            await register(edge, model, request_id="r", description="changed")

    run(scenario)


def test_aliases_are_moved_and_rolled_back(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        for _ in range(3):
            await register(edge)
        await promote(edge, 1)
        await promote(edge, 3)
        await promote(edge, 2, "staging")
        assert await aliases(edge) == {"production": 3, "staging": 2}
        version = await edge.models.GetModelVersion(pb.GetModelVersionRequest(name="weather", version="production"))
        assert (version.version.version, list(version.version.aliases)) == (3, ["production"])
        await edge.models.RollbackModel(pb.RollbackModelRequest(name="weather"))
        assert await aliases(edge) == {"production": 1, "staging": 2}
        await edge.models.DeleteModelAlias(pb.DeleteModelAliasRequest(name="weather", alias="staging"))
        assert await aliases(edge) == {"production": 1}

    run(scenario)


def test_a_rollback_goes_to_the_last_version_that_is_still_there(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        for number in (1, 2, 3):
            await register(edge)
            await promote(edge, number)
        await edge.models.DeleteModelVersion(pb.DeleteModelVersionRequest(name="weather", version="2"))
        await edge.models.RollbackModel(pb.RollbackModelRequest(name="weather"))
        assert await aliases(edge) == {"production": 1}

    run(scenario)


def test_a_version_can_be_promoted_as_it_is_registered(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        version = await register(edge, alias="production")
        assert list(version.aliases) == ["production"]
        assert [event.kind for event in await events(edge, 2)] == [REGISTERED, PROMOTED]

    run(scenario)


def test_what_people_write_can_be_changed(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        await register(edge, stage=pb.MODEL_STAGE_STAGING)
        model = (await edge.models.UpdateModel(pb.UpdateModelRequest(name="weather", description="new", tags=["t"]))).model
        assert (model.description, list(model.tags)) == ("new", ["t"])
        request = pb.UpdateModelVersionRequest(name="weather", version="1", stage=pb.MODEL_STAGE_PRODUCTION, description="good")
        version = (await edge.models.UpdateModelVersion(request)).version
        assert (version.stage, version.description) == (pb.MODEL_STAGE_PRODUCTION, "good")
        kept = (await edge.models.UpdateModel(pb.UpdateModelRequest(name="weather"))).model
        assert (kept.description, list(kept.tags)) == ("new", ["t"])
        of_stage = pb.ListModelVersionsRequest(name="weather", stage=pb.MODEL_STAGE_PRODUCTION)
        assert (await edge.models.ListModelVersions(of_stage)).total_size == 1

    run(scenario)


def test_events_come_in_order_and_as_they_happen(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        await register(edge)
        call = edge.models.WatchModels(pb.WatchModelsRequest(name="weather"))
        assert (await call.read()).kind == REGISTERED
        await promote(edge, 1)
        told = await call.read()
        assert (told.sequence, told.kind, told.version, told.alias) == (2, PROMOTED, 1, "production")
        call.cancel()
        assert [event.sequence for event in await events(edge, 1, after=1)] == [2]

    run(scenario)


def test_a_watch_of_what_is_new_begins_with_a_heartbeat_when_nothing_happens(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        await register(edge)
        call = edge.models.WatchModels(pb.WatchModelsRequest(after_sequence=-1))
        beat = await call.read()
        assert (beat.sequence, beat.kind) == (1, pb.MODEL_EVENT_KIND_UNSPECIFIED)
        await promote(edge, 1)
        assert (await call.read()).kind == PROMOTED
        call.cancel()

    run(scenario, heartbeat_seconds=1)


def test_a_model_that_cannot_be_loaded_is_not_promoted(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        await register(edge)
        await promote(edge, 1)
        await register(edge, await edge.model(content=b"no pickle"))
        assert (await refusal(promote(edge, 2))).reason == "MODEL_NOT_LOADABLE"
        assert await aliases(edge) == {"production": 1}

    run(scenario)


def test_what_has_a_name_cannot_be_deleted(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model()
        await register(edge, model, alias="production")
        assert (
            await refusal(edge.artifacts.DeleteArtifact(artifact_service_pb2.DeleteArtifactRequest(artifact_id=model)))
        ).reason == "MODEL_IN_USE"
        config = await edge.config()
        await edge.domain.configs.link(config, model)
        assert (
            await refusal(edge.configs.DeleteConfig(config_service_pb2.DeleteConfigRequest(config_id=config)))
        ).reason == "MODEL_IN_USE"
        assert (
            await refusal(edge.models.DeleteModelVersion(pb.DeleteModelVersionRequest(name="weather", version="1")))
        ).reason == "MODEL_IN_USE"
        await edge.models.DeleteModel(pb.DeleteModelRequest(name="weather"))
        await edge.artifacts.DeleteArtifact(artifact_service_pb2.DeleteArtifactRequest(artifact_id=model))

    run(scenario)


@pytest.mark.parametrize(
    ("method", "request_", "code", "reason"),
    [
        ("GetModel", pb.GetModelRequest(name="none"), "NOT_FOUND", "MODEL_NOT_FOUND"),
        ("GetModel", pb.GetModelRequest(), "INVALID_ARGUMENT", "INVALID_FIELD"),
        ("GetModel", pb.GetModelRequest(name="a b"), "INVALID_ARGUMENT", "INVALID_FIELD"),
        ("GetModel", pb.GetModelRequest(name=new_id()), "INVALID_ARGUMENT", "INVALID_FIELD"),
        ("GetModelVersion", pb.GetModelVersionRequest(name="weather", version="9"), "NOT_FOUND", "MODEL_NOT_FOUND"),
        ("GetModelVersion", pb.GetModelVersionRequest(name="weather", version="best"), "NOT_FOUND", "MODEL_NOT_FOUND"),
        ("PromoteModel", pb.PromoteModelRequest(name="weather", version="9"), "NOT_FOUND", "MODEL_NOT_FOUND"),
        ("PromoteModel", pb.PromoteModelRequest(name="weather"), "INVALID_ARGUMENT", "INVALID_FIELD"),
        ("PromoteModel", pb.PromoteModelRequest(name="weather", version="1", alias="1"), "INVALID_ARGUMENT", "INVALID_FIELD"),
        ("RollbackModel", pb.RollbackModelRequest(name="weather"), "FAILED_PRECONDITION", "NOTHING_TO_ROLL_BACK"),
        ("DeleteModelAlias", pb.DeleteModelAliasRequest(name="weather", alias="no"), "NOT_FOUND", "MODEL_NOT_FOUND"),
        ("DeleteModel", pb.DeleteModelRequest(name="none"), "NOT_FOUND", "MODEL_NOT_FOUND"),
        ("RegisterModelVersion", pb.RegisterModelVersionRequest(name="w"), "INVALID_ARGUMENT", "INVALID_ID"),
        (
            "RegisterModelVersion",
            pb.RegisterModelVersionRequest(name="w", artifact_id=new_id()),
            "NOT_FOUND",
            "MODEL_NOT_FOUND",
        ),
        (
            "UpdateModelVersion",
            pb.UpdateModelVersionRequest(name="weather", version="1", stage=9),
            "INVALID_ARGUMENT",
            "INVALID_FIELD",
        ),
    ],
)
def test_mistakes_are_told(run: Any, refusal: Any, method: str, request_: Any, code: str, reason: str) -> None:
    async def scenario(edge: Any) -> None:
        await register(edge)
        refused = await refusal(getattr(edge.models, method)(request_))
        assert (refused.code, refused.reason) == (code, reason)

    run(scenario)


def test_many_promote_at_once_and_no_event_is_lost(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        for _ in range(4):
            await register(edge)
        await asyncio.gather(*(promote(edge, number, f"alias{number}") for number in (1, 2, 3, 4)))
        assert await aliases(edge) == {f"alias{number}": number for number in (1, 2, 3, 4)}
        assert [event.sequence for event in await events(edge, 8)] == list(range(1, 9))

    run(scenario)


def test_a_server_that_is_gone_holds_nobody_up_for_longer_than_its_lease(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        await register(edge)
        await edge.database.write(lambda tx: store.follow(tx, new_id(), 0, timedelta(seconds=1)))
        sequence = await edge.database.read(store.last_sequence) + 1
        assert await edge.database.read(lambda tx: store.seconds_behind(tx, sequence)) > 0
        await promote(edge, 1)
        assert await edge.database.read(lambda tx: store.seconds_behind(tx, sequence)) == 0

    run(scenario)


def test_whoever_moves_a_name_waits_for_predictions_that_began_before(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        await register(edge)
        await register(edge)
        await promote(edge, 1)
        leave = edge.domain.prediction.enter()
        moving = asyncio.ensure_future(promote(edge, 2))
        call = edge.models.WatchModels(pb.WatchModelsRequest(name="weather"))
        told = [await call.read() for _ in range(4)]
        call.cancel()
        assert (told[-1].kind, told[-1].version) == (PROMOTED, 2)
        assert not moving.done()
        leave()
        await moving

    run(scenario)


def test_predictions_by_name(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        first, second = await edge.model(factor=2), await edge.model(factor=5)
        await register(edge, first, alias="production")
        await register(edge, second, alias="staging")
        future = frame_pb2.Frame(arrow=write_frame(pa.table({"x": [1]})))
        for name, model, version in [
            ("weather", first, "weather/1"),
            ("weather@production", first, "weather/1"),
            ("weather@staging", second, "weather/2"),
            ("weather/2", second, "weather/2"),
            (second.lower(), second, ""),
        ]:
            answer = await edge.predictions.Predict(predict_service_pb2.PredictRequest(model=name, future=future))
            assert (answer.model_id, answer.model_version) == (model, version)
        for name, reason in [
            ("other", "MODEL_NOT_FOUND"),
            ("weather@best", "MODEL_NOT_FOUND"),
            ("weather/9", "MODEL_NOT_FOUND"),
            ("weather/0", "INVALID_FIELD"),
            ("weather@", "INVALID_FIELD"),
            ("", "INVALID_FIELD"),
        ]:
            refused = await refusal(edge.predictions.Predict(predict_service_pb2.PredictRequest(model=name, future=future)))
            assert refused.reason == reason, name

    run(scenario)


def test_a_job_keeps_what_its_name_meant(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        first = await edge.model(factor=2)
        await register(edge, first, alias="production")
        await register(edge, await edge.model(factor=5))
        future = frame_pb2.Frame(arrow=write_frame(pa.table({"x": [1]})))
        request = predict_service_pb2.SubmitPredictionRequest(
            artifact_id="weather", historic=future, future=future, request_id="once"
        )
        made = await edge.predictions.SubmitPrediction(request)
        assert (await edge.domain.jobs.get(made.job_id)).model_id == first
        await promote(edge, 2)
        assert (await edge.predictions.SubmitPrediction(request)).job_id == made.job_id
        request.request_id, request.artifact_id = "", "weather@nowhere"
        assert (await refusal(edge.predictions.SubmitPrediction(request))).reason == "MODEL_NOT_FOUND"

    run(scenario)
