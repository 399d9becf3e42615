"""A real gRPC server over the real domain, without the processes that run jobs: these stay pending unless a test moves them on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import grpc
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from storages import StorageUrls, new_storage, on_every_storage

from modelwire.v1 import (
    artifact_service_pb2_grpc,
    config_service_pb2_grpc,
    job_service_pb2_grpc,
    model_service_pb2_grpc,
    predict_service_pb2_grpc,
    runner_service_pb2_grpc,
    train_service_pb2_grpc,
)
from modelwire_runners import BaseConfig, BaseModelRunner, FunctionalModelRunner, RunnerInfo, load_runner
from modelwire_server.artifacts.blobs.opening import open_blob_store
from modelwire_server.artifacts.model import MODEL_TYPE, PICKLE, Artifact, ArtifactInput
from modelwire_server.artifacts.tree import ArtifactTree
from modelwire_server.clock import new_id, now
from modelwire_server.configs.catalog import ConfigCatalog
from modelwire_server.database.engine import Database
from modelwire_server.execution.local import LocalExecutor
from modelwire_server.gateway.inside import Registered
from modelwire_server.http2.server import GrpcServer
from modelwire_server.importing.imports import ImportRules, Imports
from modelwire_server.importing.places import sources_of
from modelwire_server.inference.models import ModelCache
from modelwire_server.inference.predictor import Predictor
from modelwire_server.inference.scripts import ScriptPredictor
from modelwire_server.interceptors.around import Surrounded
from modelwire_server.jobs.desk import JobDesk
from modelwire_server.jobs.hub import JobHub
from modelwire_server.jobs.submission import JobQueue
from modelwire_server.metrics import ServerMetrics
from modelwire_server.ports import grpc_listeners
from modelwire_server.prediction import Prediction
from modelwire_server.registry.attendance import Attendance
from modelwire_server.registry.catalog import ModelCatalog
from modelwire_server.registry.following import Following
from modelwire_server.registry.gatekeeper import Gatekeeper
from modelwire_server.registry.readiness import ModelReadiness
from modelwire_server.registry.rehearsal import Rehearsal
from modelwire_server.registry.reloading import Reloading
from modelwire_server.registry.succession import Succession
from modelwire_server.runners import RunnerRegistry
from modelwire_server.services.health import Health
from modelwire_server.services.registration import Domain, add_services, around_calls, server_rules
from modelwire_server.settings import Settings
from modelwire_server.training import Training
from modelwire_server.validation import Validator


class Config(BaseConfig):
    factor: int = 2


def train(config: Config, data: Any, context: Any = None) -> Any:
    raise NotImplementedError("jobs are not run here")


def predict(config: Config, model: int, historic: pa.Table, future: pa.Table) -> pa.Table:
    if "fail" in future.column_names:
        raise ValueError("told to fail")
    return pa.table({"sample_0": pc.multiply(future.column("x"), model)})


def runners() -> list[BaseModelRunner[Any]]:
    info = RunnerInfo(id="times", display_name="Times", required_covariates=["x"], max_prediction_periods=1000)
    other = RunnerInfo(id="other", requires_geo=True)
    return [
        FunctionalModelRunner(train, predict, config_schema=Config, info=info),
        FunctionalModelRunner(train, predict, info=other),
    ]


@dataclass
class Edge:
    """The server as a client sees it, and the domain behind it."""

    channel: grpc.aio.Channel
    domain: Domain
    database: Database
    hub: JobHub
    queue: JobQueue
    health: Health
    metrics: ServerMetrics
    folder: Path

    def __post_init__(self) -> None:
        self.runners = runner_service_pb2_grpc.RunnerServiceStub(self.channel)
        self.configs = config_service_pb2_grpc.ConfigServiceStub(self.channel)
        self.trainings = train_service_pb2_grpc.TrainServiceStub(self.channel)
        self.predictions = predict_service_pb2_grpc.PredictServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)
        self.jobs = job_service_pb2_grpc.JobServiceStub(self.channel)
        self.artifacts = artifact_service_pb2_grpc.ArtifactServiceStub(self.channel)

    async def config(self, runner_id: str = "") -> str:
        return (await self.domain.configs.create(name="test", data={}, runner_id=runner_id)).id

    async def model(self, factor: int = 2, runner_id: str = "times", content: bytes = b"") -> str:
        """A trained model, as if a job had made it; its content may be anything."""
        model = Artifact(
            id=new_id(),
            type=MODEL_TYPE,
            content_type=PICKLE,
            blob=await self.domain.blobs.put(content or cloudpickle.dumps(factor)),
            inputs=(ArtifactInput("job", new_id()),),
            runner_id=runner_id,
            created_at=now(),
            updated_at=now(),
        )
        await self.database.write(lambda tx: self.domain.tree.insert_made(tx, model))
        return model.id

    async def left_by_all(self, service: str, method: str) -> None:
        """Returns once the server has noticed that nobody calls the method any more."""
        under_way = self.metrics.calls_in_flight.labels(f"modelwire.v1.{service}", method)
        while under_way.value:
            await self.database.check()

    def unfinished(self) -> list[Path]:
        """Files that the blob store holds without knowing them as content."""
        return list(self.domain.blobs.scratch.iterdir())


@asynccontextmanager
async def serving(folder: Path, storage: StorageUrls, *, targets: Sequence[str] = (), **options: Any) -> AsyncIterator[Edge]:
    """`targets` are runners beside those of this module, for which predictions at once may start processes."""
    settings = Settings(**{"predict_threads": 2, **options})
    database = await Database.open(storage.database_url or f"sqlite:///{folder / 'test.db'}")
    blobs = open_blob_store(storage.blobs_url, folder, max_bytes=settings.max_artifact_bytes, cache_bytes=1 << 24)
    await blobs.open()
    hub, metrics = JobHub(), ServerMetrics(settings.told_models)
    registry = RunnerRegistry([*runners(), *(load_runner(target) for target in targets)])
    queue = JobQueue(database, hub, max_pending=settings.max_pending_jobs)
    configs = ConfigCatalog(database, registry)
    tree = ArtifactTree(database, blobs, registry.hierarchy)
    models = ModelCache(tree=tree, blobs=blobs, runners=registry, max_bytes=1 << 30)
    succession = Succession(database, models)
    following = Following(database, succession, settings.expected_models)
    executor = LocalExecutor(targets)
    predictor = Predictor(rules=settings.lane_rules, scripts=ScriptPredictor(executor=executor, blobs=blobs, slots=2))
    prediction = Prediction(
        runners=registry, tree=tree, blobs=blobs, queue=queue, models=models, names=following, predictor=predictor
    )
    gatekeeper = Gatekeeper(tree=tree, blobs=blobs, prediction=prediction)
    catalog = ModelCatalog(database=database, tree=tree, runners=registry, gatekeeper=gatekeeper, following=following)
    reloading = Reloading(database)
    readiness = ModelReadiness(
        database=database,
        following=following,
        attendance=Attendance(following, succession),
        reloading=reloading,
        models=models,
        rehearsal=Rehearsal(database=database, gatekeeper=gatekeeper, prediction=prediction),
        holds=settings.predictor_check_seconds,
        timeout=settings.predictor_check_timeout,
    )
    rules = ImportRules(max_bytes=settings.max_import_bytes, trust_grants=settings.trust_grants)
    domain = Domain(
        runners=registry,
        configs=configs,
        tree=tree,
        blobs=blobs,
        training=Training(runners=registry, configs=configs, tree=tree, blobs=blobs, queue=queue),
        prediction=prediction,
        jobs=JobDesk(database, hub, lambda job_id: None),
        registry=catalog,
        readiness=readiness,
        imports=Imports(
            blobs=blobs,
            runners=registry,
            registry=catalog,
            rules=rules,
            sources=sources_of(settings.import_from, settings.max_import_bytes),
        ),
        validator=Validator(runners=registry, configs=configs, tree=tree, models=models),
    )
    surrounded = Surrounded(around_calls(settings, metrics))
    health = await add_services(Registered(surrounded), domain, settings=settings, metrics=metrics)
    server = GrpcServer(surrounded.find, grpc_listeners("127.0.0.1", 0, share=False), server_rules(settings))
    await following.start()
    await reloading.start()
    readiness.start()
    await server.start()
    await health.serving()
    try:
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{server.port}", options=[("grpc.max_receive_message_length", -1)]
        ) as channel:
            yield Edge(channel, domain, database, hub, queue, health, metrics, folder)
    finally:
        await server.stop(0)
        await readiness.close()
        await reloading.close()
        await following.close()
        predictor.close()
        await executor.close()
        await blobs.close()
        await database.close()


pytest_generate_tests = on_every_storage

Scenario = Callable[[Edge], Awaitable[None]]


@pytest.fixture
def storage(storage_kind: str, request: pytest.FixtureRequest) -> Iterator[StorageUrls]:
    with new_storage(storage_kind, request) as urls:
        yield urls


@pytest.fixture
def edge(tmp_path: Path, storage: StorageUrls) -> Callable[..., AbstractAsyncContextManager[Edge]]:
    """Starts a server: `async with edge(max_predict_bytes="1MiB") as it`."""
    return lambda **options: serving(tmp_path, storage, **options)


@pytest.fixture
def run(tmp_path: Path, storage: StorageUrls) -> Callable[..., None]:
    """Runs a scenario against a fresh server."""

    def run_scenario(scenario: Scenario, **options: Any) -> None:
        async def main() -> None:
            async with serving(tmp_path, storage, **options) as it, asyncio.timeout(60):
                await scenario(it)

        asyncio.run(main())

    return run_scenario


@dataclass
class Refusal:
    """A status, taken apart."""

    code: str
    reason: str
    message: str
    fields: list[str]
    metadata: dict[str, str]


def take_apart(status: Any) -> Refusal:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(bad)
    code = next(code.name for code in grpc.StatusCode if code.value[0] == status.code)
    return Refusal(code, info.reason, status.message, [one.field for one in bad.field_violations], dict(info.metadata))


@pytest.fixture
def apart() -> Callable[[Any], Refusal]:
    return take_apart


@pytest.fixture
def refusal() -> Callable[[Any], Awaitable[Refusal]]:
    """Awaits a call that must fail and returns how."""

    async def refused(call: Any) -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            _ = [answer async for answer in call] if hasattr(call, "__aiter__") else await call
        status = rpc_status.from_call(caught.value)
        assert status is not None, caught.value
        return take_apart(status)

    return refused
