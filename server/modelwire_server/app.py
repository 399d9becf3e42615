"""The one place where everything is put together."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog

from . import event_loop
from .artifacts.tree import ArtifactTree
from .configs.catalog import ConfigCatalog
from .cores import available_cores
from .database.engine import Database
from .database.notifications import Listener, Topic
from .front import open_front
from .ground import Ground, prepare
from .importing.imports import ImportRules, Imports
from .importing.places import sources_of
from .inference.models import ModelCache
from .inference.predictor import Predictor
from .inference.scripts import ScriptPredictor
from .job_metrics import JobMetrics, MeasuredExecutor
from .jobs import store as job_store
from .jobs.desk import JobDesk
from .jobs.dispatcher import Capacity, Dispatcher
from .jobs.hub import JobHub
from .jobs.model import JobKind
from .jobs.submission import JobQueue
from .logs import configure_logs
from .metrics import ServerMetrics
from .orchestration.orchestrator import Orchestrator
from .orchestration.registration import Registration, Rhythm, own_url, url_of
from .prediction import Prediction
from .predictors.desk import PredictorDesk, PredictorRules
from .registry.attendance import Attendance
from .registry.catalog import ModelCatalog
from .registry.following import Following
from .registry.gatekeeper import Gatekeeper
from .registry.readiness import ModelReadiness
from .registry.rehearsal import Rehearsal
from .registry.reloading import Reloading
from .registry.succession import Succession
from .runners import RunnerRegistry
from .running import Running, ServedRunner
from .services.registration import Domain
from .settings import Settings
from .sources.following import FollowedModels
from .sources.mlflow import MLflowServers
from .training import Training
from .upkeep.deletion import Retention
from .upkeep.rounds import Upkeep
from .validation import Validator

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a server does: `domain` for callers, the rest by itself."""

    domain: Domain
    hub: JobHub
    queue: JobQueue
    models: ModelCache
    predictor: Predictor
    dispatcher: Dispatcher
    upkeep: Upkeep
    following: Following
    reloading: Reloading
    mlflow: MLflowServers
    followed: FollowedModels
    listener: Listener
    job_metrics: JobMetrics


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """A server from start to drained end. Raises StartError."""
    async with AsyncExitStack() as stack:
        ground = await prepare(stack, settings)
        parts = assemble(ground)
        stack.callback(parts.predictor.close)
        metrics = metrics_of(ground, parts)
        registration = registration_of(settings, required=settings.registration_required)
        checks = {"database": ground.database.check, **({"registration": registration.check} if registration else {})}
        front = await open_front(parts.domain, settings, metrics=metrics, checks=checks)
        await begin_work(stack, parts)
        attend(stack, parts)
        await front.start()
        grpc_port, http_port = front.grpc_port, front.http.port
        served = [one.id for one in shown(ground.runners)]
        try:
            async with registered(registration, settings, http_port):
                spare_collector()
                log.info("serving", host=settings.host, grpc_port=grpc_port, http_port=http_port, runners=served)
                yield Running(settings.host, grpc_port, http_port, shown(ground.runners))
        finally:
            log.info("shutting down")
            parts.queue.open = False
            await front.health.draining()
            await parts.dispatcher.drain(settings.drain_seconds)
            await front.stop(settings.drain_seconds)


def assemble(ground: Ground) -> Parts:
    """Puts the parts together; none of them does anything yet."""
    settings, blobs, database, runners = ground.settings, ground.blobs, ground.database, ground.runners

    def forget(ids: Sequence[str]) -> None:
        for gone in ids:
            models.forget(gone)

    hub, job_metrics = JobHub(), JobMetrics()
    limits = {runner.info.id: runner.max_pending for runner in runners.all() if runner.max_pending}
    queue = JobQueue(database, hub, max_pending=settings.max_pending_jobs, max_pending_of=limits)
    configs = ConfigCatalog(database, runners, forget)
    tree = ArtifactTree(database, blobs, runners.hierarchy, forget)
    reloading = Reloading(database)
    models = ModelCache(
        tree=tree,
        blobs=blobs,
        runners=runners,
        max_bytes=settings.model_memory_bytes,
        prefer_compiled=settings.engine == "auto",
        pinned=settings.pinned_models,
    )
    succession = Succession(database, models)
    following = Following(database, succession, settings.all_expected_models)
    predictor = predictor_of(ground)
    timeout = settings.job_timeout
    training = Training(
        runners=runners, configs=configs, tree=tree, blobs=blobs, queue=queue, timeout=timeout, compile=settings.compiles
    )
    prediction = Prediction(
        runners=runners,
        tree=tree,
        blobs=blobs,
        queue=queue,
        models=models,
        names=following,
        predictor=predictor,
        timeout=timeout,
        schema_policy=settings.schema_policy,
    )
    dispatcher = Dispatcher(
        database=database,
        blobs=blobs,
        hub=hub,
        executor=MeasuredExecutor(ground.executor, job_metrics),
        work={JobKind.TRAIN: training, JobKind.PREDICT: prediction},
        capacity=capacity_of(ground),
        worker_id=ground.worker_id,
    )
    gatekeeper = Gatekeeper(tree=tree, blobs=blobs, prediction=prediction)
    registry = ModelCatalog(database=database, tree=tree, runners=runners, gatekeeper=gatekeeper, following=following)
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
    mlflow = MLflowServers(settings.mlflow_servers, max_bytes=settings.max_import_bytes)
    import_rules = ImportRules(max_bytes=settings.max_import_bytes, trust_grants=settings.trust_grants)
    imports = Imports(
        blobs=blobs,
        runners=runners,
        registry=registry,
        rules=import_rules,
        sources=[mlflow.source(settings.mlflow_url), *sources_of(settings.import_from, settings.max_import_bytes)],
    )
    domain = Domain(
        runners=runners,
        configs=configs,
        tree=tree,
        blobs=blobs,
        training=training,
        prediction=prediction,
        jobs=JobDesk(database, hub, dispatcher.stop),
        registry=registry,
        readiness=readiness,
        imports=imports,
        validator=Validator(runners=runners, configs=configs, tree=tree, models=models),
        predictors=PredictorDesk(runners.predictors, predictor_rules(settings)),
    )
    return Parts(
        domain=domain,
        hub=hub,
        queue=queue,
        models=models,
        predictor=predictor,
        dispatcher=dispatcher,
        upkeep=upkeep_of(ground, forget),
        following=following,
        reloading=reloading,
        mlflow=mlflow,
        followed=FollowedModels(
            settings.followed_models,
            mlflow,
            database=database,
            imports=imports,
            catalog=registry,
            reloading=reloading,
            folder=blobs.scratch,
        ),
        listener=listener_of(database, hub, dispatcher, models, following, reloading),
        job_metrics=job_metrics,
    )


def predictor_rules(settings: Settings) -> PredictorRules:
    return PredictorRules(
        threads=available_cores(),
        max_waiting=settings.max_waiting_predictions,
        check_seconds=settings.predictor_check_seconds,
        check_timeout=settings.predictor_check_timeout,
        yields=settings.models_yield,
    )


def predictor_of(ground: Ground) -> Predictor:
    cores = available_cores()
    scripts = ScriptPredictor(executor=ground.executor, blobs=ground.blobs, slots=cores)
    return Predictor(rules=ground.settings.lane_rules, scripts=scripts)


def capacity_of(ground: Ground) -> Capacity:
    runners = ground.runners.working()
    return Capacity(
        slots=ground.settings.max_jobs,
        policies={runner.info.id: runner.retry for runner in runners},
        limits={runner.info.id: runner.max_concurrency for runner in runners if runner.max_concurrency},
        lease=timedelta(seconds=ground.settings.lease_seconds),
    )


def upkeep_of(ground: Ground, on_deleted: Callable[[Sequence[str]], None]) -> Upkeep:
    settings = ground.settings
    retention = Retention(settings.retention, settings.delete_jobs_after)
    interval = timedelta(seconds=settings.upkeep_interval)
    return Upkeep(ground.database, ground.blobs, retention, interval=interval, on_deleted=on_deleted)


def listener_of(
    database: Database, hub: JobHub, dispatcher: Dispatcher, models: ModelCache, following: Following, reloading: Reloading
) -> Listener:
    """Hears what other servers on the database have to tell."""

    def on_gap() -> None:
        hub.notify_all()
        following.notice()
        reloading.notice()

    acts: dict[Topic, Callable[[str], None]] = {
        Topic.JOB: hub.notify,
        Topic.WORK: lambda _: hub.work.set(),
        Topic.STOP: dispatcher.stop,
        Topic.GONE: models.forget,
        Topic.MODELS: lambda _: following.notice(),
        Topic.MODELS_SEEN: lambda _: following.seen(),
        Topic.RELOADS: lambda _: reloading.notice(),
    }
    return Listener(database, lambda topic, about: acts[topic](about), on_gap)


def registration_of(settings: Settings, *, required: bool) -> Registration | None:
    if not settings.orchestrator_url:
        return None
    orchestrator = Orchestrator(settings.orchestrator_url, settings.registration_key.get_secret_value())
    rhythm = Rhythm(keepalive=settings.keepalive_seconds, grace=settings.registration_grace_seconds)
    return Registration(orchestrator, required=required, rhythm=rhythm)


@asynccontextmanager
async def registered(registration: Registration | None, settings: Settings, port: int) -> AsyncIterator[None]:
    """Keeps the server known to its orchestrator, if it has one. Raises StartError."""
    if registration is None:
        yield
        return
    try:
        await register(registration, settings, port)
        yield
    finally:
        await registration.close()


async def register(registration: Registration, settings: Settings, port: int) -> None:
    """Begins to keep the server known. Raises StartError."""
    host = settings.advertised_host or socket.gethostname()
    await registration.start(own_url(settings.host, port), url_of(host, settings.advertised_port or port))


def metrics_of(ground: Ground, parts: Parts) -> ServerMetrics:
    """All that there is to measure of a server."""
    metrics = metrics_of_process(ground, parts)
    metrics.jobs_from(lambda: ground.database.read(job_store.count_by_status))
    metrics.stored_from(parts.upkeep.stored)
    return metrics


def metrics_of_process(ground: Ground, parts: Parts) -> ServerMetrics:
    """What each of several processes measures for itself."""
    metrics = ServerMetrics(ground.settings.told_models)
    metrics.registry.register(parts.job_metrics)
    parts.models.on_loaded = lambda model, seconds: metrics.model_load_seconds.observe(seconds)
    metrics.gauge_from("models_loaded", "Models in memory.", lambda: len(parts.models))
    metrics.gauge_from("models_bytes", "Size of the models in memory.", lambda: parts.models.bytes)
    metrics.gauge_from("job_watchers", "Watchers of jobs.", lambda: parts.hub.watchers)
    return metrics


async def begin_work(stack: AsyncExitStack, parts: Parts) -> None:
    """Starts all that goes on by itself; `stack` ends it. The dispatcher is drained before."""
    await begin_service(stack, parts)
    for part in (parts.upkeep, parts.followed):
        part.start()
        stack.push_async_callback(part.close)
    await parts.dispatcher.start()


async def begin_service(stack: AsyncExitStack, parts: Parts) -> None:
    """Starts what callers need; `stack` ends it."""
    stack.push_async_callback(parts.mlflow.close)
    stack.callback(parts.domain.predictors.close)
    for part in (parts.listener, parts.domain.jobs):
        part.start()
        stack.push_async_callback(part.close)
    await parts.models.load_pinned()
    for follower in (parts.following, parts.reloading):
        await follower.start()
        stack.push_async_callback(follower.close)


def attend(stack: AsyncExitStack, parts: Parts) -> None:
    """Begins to look after the models that callers are to find ready; `stack` ends it."""
    parts.domain.readiness.start()
    stack.push_async_callback(parts.domain.readiness.close)


def spare_collector() -> None:
    """What is there now stays: the collector need not look at it whenever a large request makes many objects."""
    gc.collect()
    gc.freeze()


def shown(runners: RunnerRegistry) -> list[ServedRunner]:
    found = [ServedRunner(runner.info.id, runner.info.display_name, runner.info.version) for runner in runners.all()]
    return [*found, *(ServedRunner(one.name, type(one).__name__, one.version, is_predictor=True) for one in runners.predictors)]


async def serve_until_signal(settings: Settings, announce: object = None) -> None:
    """Serves until SIGTERM or SIGINT, then drains. `announce` is called with the Running server."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as server:
        if callable(announce):
            announce(server)
        await stop.wait()


def serve(settings: Settings, announce: object = None) -> None:
    """Runs a server in this process until it is told to stop. Raises StartError."""
    configure_logs(settings.log_level, settings.log_format)
    with contextlib.suppress(KeyboardInterrupt):
        event_loop.run(serve_until_signal(settings, announce), settings.busy_seconds)
