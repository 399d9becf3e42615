"""Models by name that are not there yet, cannot be loaded, or break: what is told of them over the wire, and who predicts meanwhile."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cloudpickle
import grpc
import pyarrow as pa
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from modelwire.v1 import frame_pb2, predict_service_pb2
from modelwire.v1 import model_service_pb2 as pb
from modelwire_server.artifacts.model import ARROW_STREAM, MODEL_TYPE, PICKLE, Artifact, ArtifactInput, Blob
from modelwire_server.artifacts.tree import NewArtifact
from modelwire_server.clock import new_id, now
from modelwire_server.errors import ModelNotFound
from modelwire_server.frames import write_frame
from modelwire_server.registry import store
from modelwire_server.registry.model import ModelEventKind

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
BRITTLE = f"{Path(__file__).parent / 'brittle.py'}:runner"
SIGNATURE = {"inputs": [{"name": "x", "type": "double", "nullable": False}], "outputs": [{"name": "y", "type": "double"}]}


class SizeOf:
    """Becomes the size of a file as it is loaded, which fails as long as there is none."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> Any:
        return os.path.getsize, (self._path,)


async def model_of_size(edge: Any, path: Path) -> str:
    model: str = await edge.model(content=cloudpickle.dumps(SizeOf(path)))
    return model


async def brittle_model(edge: Any, path: Path) -> str:
    """A model that predicts what is in a file, and knows its columns."""
    model = Artifact(
        id=new_id(),
        type=MODEL_TYPE,
        content_type=PICKLE,
        blob=await edge.domain.blobs.put(cloudpickle.dumps(str(path))),
        inputs=(ArtifactInput("job", new_id()),),
        runner_id="brittle",
        metadata={"signature": SIGNATURE},
        created_at=now(),
        updated_at=now(),
    )
    await edge.database.write(lambda tx: edge.domain.tree.insert_made(tx, model))
    return model.id


async def register(edge: Any, model: str, alias: str = "production", name: str = "weather") -> None:
    await edge.models.RegisterModelVersion(pb.RegisterModelVersionRequest(name=name, artifact_id=model, alias=alias))


async def moved_elsewhere(edge: Any, version: int) -> None:
    """Moves production as another server does, which could load the version."""

    def move(tx: Any) -> None:
        store.lock(tx)
        model = store.get(tx, "weather")
        assert model is not None
        history = [*store.history_of(tx, model, "production"), *model.aliases.values()]
        store.point(tx, model, "production", version, history)
        store.tell(tx, ModelEventKind.PROMOTED, "weather", version=version, alias="production")

    await edge.database.write(move)
    edge.domain.registry._following.notice()


async def predicted(edge: Any, model: str = "weather") -> tuple[str, float]:
    """The version that predicted, and what it predicted for 1."""
    future = frame_pb2.Frame(arrow=write_frame(pa.table({"x": [1.0]})))
    answer = await edge.predictions.Predict(predict_service_pb2.PredictRequest(model=model, future=future))
    (column,) = pa.ipc.open_stream(answer.predictions.arrow).read_all().to_pydict().values()
    return answer.model_version, float(column[0])


async def readiness(edge: Any, name: str = "weather") -> pb.ModelReadiness:
    answer: pb.CheckModelsResponse = await edge.models.CheckModels(pb.CheckModelsRequest(name=name))
    (found,) = answer.models
    return found


async def until_predicted_by(edge: Any, version: str) -> None:
    with edge.domain.readiness.watching() as news:
        while (await predicted(edge))[0] != version:
            await news.wait()
            news.clear()


@asynccontextmanager
async def watching(edge: Any, name: str) -> AsyncIterator[Any]:
    """The health of something as it changes: reads the next status."""
    call = health_pb2_grpc.HealthStub(edge.channel).Watch(health_pb2.HealthCheckRequest(service=name))

    async def next_status() -> Any:
        return (await call.read()).status

    yield next_status
    call.cancel()


async def health(edge: Any, name: str) -> Any:
    return (await health_pb2_grpc.HealthStub(edge.channel).Check(health_pb2.HealthCheckRequest(service=name))).status


def test_a_server_starts_without_a_model_says_so_and_picks_it_up_when_it_appears(run: Any, apart: Any) -> None:
    async def scenario(edge: Any) -> None:
        async with watching(edge, "models/weather") as status:
            assert await status() == NOT_SERVING
            found = await readiness(edge)
            assert (found.model, found.ready, found.expected, found.version) == ("weather@production", False, True, 0)
            assert "there is no model weather" in found.message
            assert await health(edge, "") == SERVING
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await predicted(edge)
            refusal = apart(rpc_status.from_call(caught.value))
            assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "MODEL_NOT_READY")
            assert refusal.message == "this server is to serve weather@production, but there is no model weather"
            await register(edge, await edge.model(7))
            assert await status() == SERVING
        assert await predicted(edge) == ("weather/1", 7.0)
        found = await readiness(edge)
        assert (found.ready, found.version, found.message) == (True, 1, "")

    run(scenario, expected_models=["weather"])


def test_an_alias_that_is_expected_says_which_there_are(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        await register(edge, await edge.model())
        with pytest.raises(
            grpc.aio.AioRpcError, match=r"weather@staging, but the model weather has no alias staging \(aliases: pro"
        ):
            await predicted(edge, "weather@staging")
        assert [one.model for one in (await edge.models.CheckModels(pb.CheckModelsRequest(attended=True))).models] == [
            "weather@staging"
        ]
        both = (await edge.models.CheckModels(pb.CheckModelsRequest())).models
        assert [(one.model, one.ready, one.expected) for one in both] == [
            ("weather@production", True, False),
            ("weather@staging", False, True),
        ]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await predicted(edge, "weather@other")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    run(scenario, expected_models=["weather@staging"])


def test_an_expected_model_is_loaded_before_anybody_asks(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model()
        with edge.domain.readiness.watching() as news:
            await register(edge, model, alias="")
            edge.domain.prediction.unload(model)
            await moved_elsewhere(edge, 1)
            while not edge.domain.prediction.in_memory(model):
                await news.wait()
                news.clear()

    run(scenario, expected_models=["weather"])


def test_the_version_before_goes_on_while_a_new_one_cannot_be_loaded_and_it_is_tried_again(run: Any, tmp_path: Path) -> None:
    async def scenario(edge: Any) -> None:
        await register(edge, await edge.model(7))
        assert await predicted(edge) == ("weather/1", 7.0)
        await register(edge, await model_of_size(edge, tmp_path / "later"), alias="")
        async with watching(edge, "models/weather") as status:
            assert await status() == SERVING
            with edge.domain.readiness.watching() as news:
                await moved_elsewhere(edge, 2)
                await news.wait()
            assert await predicted(edge) == ("weather/1", 7.0)
            found = await readiness(edge)
            assert (found.ready, found.version) == (True, 1)
            assert found.message.startswith("weather/2 cannot be loaded:")
            assert "later" in found.message
            assert found.failed_attempts >= 1
            assert found.HasField("next_attempt_at")
            (attended,) = (await edge.models.CheckModels(pb.CheckModelsRequest(attended=True))).models
            assert attended == found
            (tmp_path / "later").write_bytes(b"12345")
            await until_predicted_by(edge, "weather/2")
        assert await predicted(edge) == ("weather/2", 5.0)
        found = await readiness(edge)
        assert (found.ready, found.version, found.message, found.failed_attempts) == (True, 2, "", 0)
        assert not (await edge.models.CheckModels(pb.CheckModelsRequest(attended=True))).models

    run(scenario)


def test_a_version_before_goes_on_after_a_restart_too(run: Any, tmp_path: Path) -> None:
    async def scenario(edge: Any) -> None:
        first = await edge.model(7)
        await register(edge, first)
        edge.domain.prediction.unload(first)
        for _ in range(2):
            await register(edge, await model_of_size(edge, tmp_path / "never"), alias="")
        await moved_elsewhere(edge, 2)
        await moved_elsewhere(edge, 3)
        assert await predicted(edge) == ("weather/1", 7.0)
        found = await readiness(edge)
        assert (found.ready, found.version) == (True, 1)
        assert found.message.startswith("weather/3 cannot be loaded:")

    run(scenario)


def test_readiness_finds_out_that_a_version_before_must_go_on(run: Any, tmp_path: Path) -> None:
    async def scenario(edge: Any) -> None:
        first = await edge.model(7)
        await register(edge, first)
        edge.domain.prediction.unload(first)
        await register(edge, await model_of_size(edge, tmp_path / "never"), alias="")
        await moved_elsewhere(edge, 2)
        found = await readiness(edge)
        assert (found.ready, found.version) == (True, 1)
        assert await predicted(edge) == ("weather/1", 7.0)

    run(scenario)


def test_pauses_grow_and_a_reload_does_not_wait_for_their_end(run: Any, tmp_path: Path) -> None:
    async def scenario(edge: Any) -> None:
        await register(edge, await edge.model(7))
        await predicted(edge)
        await register(edge, await model_of_size(edge, tmp_path / "later"), alias="")
        with edge.domain.readiness.watching() as news:
            await moved_elsewhere(edge, 2)
            await news.wait()
        pauses = []
        for attempts in (2, 3, 4, 5, 6, 7):
            await edge.models.ReloadModels(pb.ReloadModelsRequest(name="weather"))
            while (found := await readiness(edge)).failed_attempts < attempts:
                pass
            pauses.append(found.next_attempt_at.ToMilliseconds() - now().timestamp() * 1000)
        assert pauses == sorted(pauses)
        assert pauses[-1] > 20_000
        (tmp_path / "later").write_bytes(b"12345")
        answer = await edge.models.ReloadModels(pb.ReloadModelsRequest())
        assert [(one.model, one.version) for one in answer.models] == [("weather@production", 1)]
        await until_predicted_by(edge, "weather/2")

    run(scenario)


def test_going_back_ends_the_attempts(run: Any, tmp_path: Path) -> None:
    async def scenario(edge: Any) -> None:
        await register(edge, await edge.model(7))
        await predicted(edge)
        await register(edge, await model_of_size(edge, tmp_path / "never"), alias="")
        with edge.domain.readiness.watching() as news:
            await moved_elsewhere(edge, 2)
            await news.wait()
        await edge.models.PromoteModel(pb.PromoteModelRequest(name="weather", version="1"))
        while (await edge.models.CheckModels(pb.CheckModelsRequest(attended=True))).models:
            pass
        assert await predicted(edge) == ("weather/1", 7.0)
        assert (await readiness(edge)).message == ""

    run(scenario)


def test_what_never_worked_is_not_ready_until_it_does(run: Any, tmp_path: Path) -> None:
    async def scenario(edge: Any) -> None:
        await register(edge, await model_of_size(edge, tmp_path / "later"), alias="")
        await moved_elsewhere(edge, 1)
        async with watching(edge, "models/weather") as status:
            assert await status() == NOT_SERVING
            while (found := await readiness(edge)).failed_attempts == 0:
                pass
            assert (found.ready, found.expected) == (False, True)
            assert "later" in found.message
            (tmp_path / "later").write_bytes(b"123")
            assert await status() == SERVING
        assert await predicted(edge) == ("weather/1", 3.0)

    run(scenario, expected_models=["weather"])


def test_readiness_really_predicts(run: Any, tmp_path: Path) -> None:
    async def scenario(edge: Any) -> None:
        (tmp_path / "value").write_text("3.5")
        await register(edge, await brittle_model(edge, tmp_path / "value"))
        assert (await readiness(edge)).ready
        (tmp_path / "value").unlink()
        found = await readiness(edge)
        assert (found.ready, found.version) == (False, 0)
        assert "FileNotFoundError" in found.message
        assert await health(edge, "models/weather") == NOT_SERVING
        (tmp_path / "value").write_text("4")
        assert (await readiness(edge)).ready

    run(scenario, targets=[BRITTLE], predictor_check_seconds=1e-6)


def test_what_was_found_holds_for_the_configured_time(run: Any, tmp_path: Path) -> None:
    async def scenario(edge: Any) -> None:
        (tmp_path / "value").write_text("3.5")
        await register(edge, await brittle_model(edge, tmp_path / "value"))
        first = await readiness(edge)
        (tmp_path / "value").unlink()
        assert await readiness(edge) == first

    run(scenario, targets=[BRITTLE], predictor_check_seconds=3600)


def test_made_up_rows_that_a_model_never_could_predict_say_nothing(run: Any, tmp_path: Path) -> None:
    async def scenario(edge: Any) -> None:
        (tmp_path / "value").write_text("3.5")
        model = await brittle_model(edge, tmp_path / "value")
        await register(edge, model, alias="")
        (tmp_path / "value").unlink()
        await moved_elsewhere(edge, 1)
        assert (await readiness(edge)).ready

    run(scenario, targets=[BRITTLE])


def test_golden_rows_are_what_a_model_must_predict(run: Any, tmp_path: Path) -> None:
    async def scenario(edge: Any) -> None:
        (tmp_path / "value").write_text("3.5")
        await register(edge, await brittle_model(edge, tmp_path / "value"))
        blob: Blob = await edge.domain.blobs.put(write_frame(pa.table({"x": [1.0, 2.0]})))
        rows = await edge.domain.tree.store(NewArtifact(), blob, ARROW_STREAM)
        gate = pb.PromotionGate(golden=pb.GoldenRows(dataset_id=rows.id))
        await edge.models.UpdateModel(pb.UpdateModelRequest(name="weather", gate=gate))
        assert (await readiness(edge)).ready
        (tmp_path / "value").write_text("nan")
        found = await readiness(edge)
        assert not found.ready
        assert "NaN" in found.message

    run(scenario, targets=[BRITTLE], predictor_check_seconds=1e-6)


def test_a_model_that_hangs_is_not_ready_and_keeps_nobody_waiting(run: Any, tmp_path: Path) -> None:
    async def scenario(edge: Any) -> None:
        pipe = tmp_path / "value"
        pipe.write_text("3.5")
        await register(edge, await brittle_model(edge, pipe))
        await register(edge, await edge.model(7), name="other")
        while not (await readiness(edge)).ready:  # the first time takes longer
            pass
        pipe.unlink()
        os.mkfifo(pipe)
        checking = asyncio.create_task(readiness(edge))
        assert await predicted(edge, "other") == ("other/1", 7.0)
        found = await checking
        assert not found.ready
        assert "it has not predicted for" in found.message
        await register(edge, await edge.model(8))
        assert await predicted(edge) == ("weather/2", 8.0)
        with pipe.open("w") as file:  # lets it end
            file.write("1")

    run(scenario, targets=[BRITTLE], predictor_check_seconds=1e-6, predictor_check_timeout=0.3)


def test_models_come_and_go_in_health_checks(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        stub = health_pb2_grpc.HealthStub(edge.channel)
        async with watching(edge, "models/weather") as status:
            assert await status() == UNKNOWN
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await health(edge, "models/weather")
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            await register(edge, await edge.model())
            assert await status() == SERVING
            listed = (await stub.List(health_pb2.HealthListRequest())).statuses
            assert listed["models/weather"].status == SERVING
            assert await health(edge, "models/weather@production") == SERVING
            await edge.models.DeleteModel(pb.DeleteModelRequest(name="weather"))
            assert await status() == UNKNOWN
        assert "models/weather" not in (await stub.List(health_pb2.HealthListRequest())).statuses

    run(scenario)


def test_watchers_of_models_learn_of_the_drain(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        await register(edge, await edge.model())
        async with watching(edge, "models/weather") as status, watching(edge, "models/none") as other:
            assert (await status(), await other()) == (SERVING, UNKNOWN)
            await edge.health.draining()
            assert (await status(), await other()) == (NOT_SERVING, NOT_SERVING)

    run(scenario)


def test_what_was_asked_before_the_drain_hides_it_from_nobody(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        async with watching(edge, "models/none") as status:
            assert await status() == UNKNOWN
            asked = [asyncio.create_task(edge.health._probe("models/none")) for _ in range(8)]
            await asyncio.sleep(0)
            await edge.health.draining()
            await asyncio.gather(*asked)
            assert await status() == NOT_SERVING
            assert await health(edge, "models/none") == NOT_SERVING

    run(scenario)


def test_who_is_not_there_cannot_be_reloaded_or_checked(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        for call in (
            edge.models.ReloadModels(pb.ReloadModelsRequest(name="weather")),
            edge.models.CheckModels(pb.CheckModelsRequest(name="weather")),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        for name in ("weather/1", "no name"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await edge.models.CheckModels(pb.CheckModelsRequest(name=name))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert not (await edge.models.ReloadModels(pb.ReloadModelsRequest())).models

    run(scenario)


def test_each_request_to_reload_is_passed_on(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        heard: asyncio.Queue[str] = asyncio.Queue()
        reloading = edge.domain.readiness._reloading
        end = reloading.subscribe(heard.put_nowait)
        await reloading.request("weather")
        assert await heard.get() == "weather"
        await reloading.request()
        assert await heard.get() == ""
        end()
        await edge.database.write(lambda tx: store.request_reload(tx, "weather"))
        reloading.subscribe(heard.put_nowait)
        await reloading.request("other")
        assert {await heard.get(), await heard.get()} == {"weather", "other"}

    run(scenario)


def test_models_that_others_would_have_to_go_for_are_not_loaded_to_be_checked(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model()
        await register(edge, model)
        edge.domain.prediction.unload(model)
        edge.domain.readiness._models._max_bytes = 1
        (found,) = (await edge.models.CheckModels(pb.CheckModelsRequest())).models
        assert found.ready
        assert "not in memory" in found.message
        assert not edge.domain.prediction.in_memory(model)
        assert (await readiness(edge)).message == ""
        with pytest.raises(ModelNotFound):
            await edge.domain.readiness.of("weather@none")

    run(scenario)
