"""The one place where everything is put together."""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import structlog
import uvicorn

from .artifacts.blobs.opening import open_blob_store
from .artifacts.tree import ArtifactTree
from .clock import new_id
from .configs.catalog import ConfigCatalog
from .database.engine import Database
from .database.notifications import Listener, Topic
from .execution.local import LocalExecutor
from .gateway.http import http_app
from .inference.models import ModelCache
from .inference.predictor import Predictor
from .inference.scripts import ScriptPredictor
from .jobs import store as job_store
from .jobs.desk import JobDesk
from .jobs.dispatcher import Capacity, Dispatcher
from .jobs.hub import JobHub
from .jobs.model import JobKind
from .jobs.submission import JobQueue
from .logs import configure_logs
from .metrics import ServerMetrics
from .prediction import Prediction
from .runners import RunnerRegistry
from .services.registration import Domain, add_services, server_interceptors, server_options
from .settings import Settings
from .training import Training
from .upkeep.deletion import Retention
from .upkeep.rounds import Upkeep
from .validation import Validator

log = structlog.get_logger(__name__)

# A process is launched in a few milliseconds; then the event loop may stand still while runners are imported.
LAUNCH_SECONDS = 0.05


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server at work: where it listens, and what it serves."""

    host: str
    grpc_port: int
    http_port: int
    runners: RunnerRegistry


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """A server from start to drained end. Raises StartError."""
    async with AsyncExitStack() as stack:
        data_dir = claim_data_dir(stack, settings.data_dir)
        blobs = open_blob_store(
            settings.blobs_url, data_dir, max_bytes=settings.max_artifact_bytes, cache_bytes=settings.blob_cache_bytes
        )
        await blobs.open()
        stack.push_async_callback(blobs.close)
        executor = LocalExecutor(settings.targets, slots=settings.max_jobs, private=[data_dir, blobs.scratch.parent.parent])
        stack.push_async_callback(executor.close)
        runners = await load_runners(settings.targets, executor)
        database = await Database.open(settings.database_url or f"sqlite:///{data_dir / 'modelwire.db'}")
        stack.push_async_callback(database.close)

        metrics = ServerMetrics()
        hub = JobHub()
        queue = JobQueue(
            database,
            hub,
            max_pending=settings.max_pending_jobs,
            max_pending_of={r.info.id: r.max_pending for r in runners.all() if r.max_pending},
        )

        def forget(ids: Sequence[str]) -> None:
            for gone in ids:
                models.forget(gone)

        configs = ConfigCatalog(database, runners, forget)
        tree = ArtifactTree(database, blobs, runners.hierarchy, forget)
        models = ModelCache(tree=tree, blobs=blobs, runners=runners, max_bytes=settings.model_memory_bytes)
        cores = os.cpu_count() or 1
        scripts = ScriptPredictor(executor=executor, blobs=blobs, slots=cores)
        predictor = Predictor(threads=cores, max_waiting=settings.max_waiting_predictions, scripts=scripts)
        stack.callback(predictor.close)
        training = Training(runners=runners, configs=configs, tree=tree, blobs=blobs, queue=queue, timeout=settings.job_timeout)
        prediction = Prediction(
            runners=runners,
            tree=tree,
            blobs=blobs,
            queue=queue,
            models=models,
            predictor=predictor,
            timeout=settings.job_timeout,
        )
        dispatcher = Dispatcher(
            database=database,
            blobs=blobs,
            hub=hub,
            executor=executor,
            work={JobKind.TRAIN: training, JobKind.PREDICT: prediction},
            capacity=Capacity(
                slots=settings.max_jobs,
                policies={r.info.id: r.retry for r in runners.all()},
                limits={r.info.id: r.max_concurrency for r in runners.all() if r.max_concurrency},
                lease=timedelta(seconds=settings.lease_seconds),
            ),
            worker_id=worker_id(data_dir),
        )
        desk = JobDesk(database, hub, dispatcher.stop)

        def on_notice(topic: Topic, id: str) -> None:
            """Another server on this database has something to tell."""
            match topic:
                case Topic.JOB:
                    hub.notify(id)
                case Topic.WORK:
                    hub.work.set()
                case Topic.STOP:
                    dispatcher.stop(id)
                case Topic.GONE:
                    forget([id])

        listener = Listener(database, on_notice, hub.notify_all)
        stack.push_async_callback(listener.close)
        upkeep = Upkeep(
            database,
            blobs,
            Retention(settings.retention, settings.delete_jobs_after),
            interval=timedelta(seconds=settings.upkeep_interval),
            on_deleted=forget,
        )
        stack.push_async_callback(upkeep.stop)
        domain = Domain(
            runners=runners,
            configs=configs,
            tree=tree,
            blobs=blobs,
            training=training,
            prediction=prediction,
            jobs=desk,
            validator=Validator(runners=runners, configs=configs, tree=tree, models=models),
        )
        metrics.jobs_from(lambda: database.read(job_store.count_by_status))
        metrics.stored_from(upkeep.stored)
        metrics.gauge_from("models_bytes", "Size of the models in memory.", lambda: models.bytes)
        metrics.gauge_from("job_watchers", "Watchers of jobs.", lambda: hub.watchers)
        server = grpc.aio.server(
            interceptors=server_interceptors(settings, metrics),
            options=server_options(settings),
            maximum_concurrent_rpcs=settings.max_concurrent_rpcs,
        )
        health = await add_services(server, domain, settings=settings, metrics=metrics)
        grpc_port = bind(server, settings)
        http = HttpServer(http_app(checks={"database": database.check}, metrics=metrics), settings)
        listener.start()
        desk.start()
        stack.push_async_callback(desk.close)
        await dispatcher.start()
        await server.start()
        await http.start()
        await health.serving()
        upkeep.start()
        log.info(
            "serving", host=settings.host, grpc_port=grpc_port, http_port=http.port, runners=[r.info.id for r in runners.all()]
        )
        try:
            yield Running(settings.host, grpc_port, http.port, runners)
        finally:
            log.info("shutting down")
            queue.open = False
            await health.draining()
            await dispatcher.drain(settings.drain_seconds)
            await server.stop(settings.drain_seconds)
            await http.stop()


async def load_runners(targets: Sequence[str], executor: LocalExecutor) -> RunnerRegistry:
    """Imports the runners here, while the fork server, just launched, imports them for itself. Raises TargetError.

    Not in a thread: what else is imported meanwhile could get at modules that are only half there."""
    starting = asyncio.create_task(executor.start())
    await asyncio.wait({starting}, timeout=LAUNCH_SECONDS)
    try:
        runners = RunnerRegistry.load(targets)
    except BaseException:
        starting.cancel()
        await asyncio.wait({starting})
        raise
    await starting
    return runners


def claim_data_dir(stack: AsyncExitStack, folder: Path) -> Path:
    """Makes the data folder and holds it for this process alone. Raises StartError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context((folder / "lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StartError(f"another server works on {folder}; stop it, or give --data-dir another folder") from None
    except OSError as error:
        raise StartError(
            f"the data folder {folder} cannot be written: {error.strerror}; give --data-dir a folder that can"
        ) from None
    return folder.resolve()


def worker_id(data_dir: Path) -> str:
    """Who this server is to others on its database. It stays the same, so that what an earlier process was at work on when it was
    killed is known to be lost at once."""
    file = data_dir / "worker"
    if not file.exists():
        file.write_text(new_id())
    return file.read_text().strip()


def bind(server: grpc.aio.Server, settings: Settings) -> int:
    """Opens the gRPC port and returns its number. Raises StartError."""
    address = f"{settings.host}:{settings.grpc_port}"
    try:
        return server.add_insecure_port(address)
    except RuntimeError:
        raise StartError(f"cannot listen on {address}: is the port in use? --grpc-port chooses another") from None


class HttpServer:
    """The HTTP port: uvicorn inside our own event loop, with our own signal handling."""

    def __init__(self, app: object, settings: Settings) -> None:
        try:
            self._socket = socket.create_server((settings.host, settings.http_port))
        except OSError as error:
            address = f"{settings.host}:{settings.http_port}"
            raise StartError(f"cannot listen on {address}: {error.strerror}; --http-port chooses another port") from None
        config = uvicorn.Config(app, log_config=None, lifespan="off", access_log=False)  # type: ignore[arg-type]
        self._server = uvicorn.Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    async def start(self) -> None:
        # serve() would install signal handlers of its own; _serve() is the same without.
        self._task = asyncio.create_task(self._server._serve([self._socket]), name="http")

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()


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
        asyncio.run(serve_until_signal(settings, announce))
