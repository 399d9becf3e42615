"""Puts all services, and what surrounds their calls, on a server."""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelwire.v1 import (
    artifact_service_pb2_grpc,
    config_service_pb2_grpc,
    job_service_pb2_grpc,
    model_service_pb2_grpc,
    predictor_service_pb2_grpc,
    runner_service_pb2_grpc,
    train_service_pb2_grpc,
)

from ..artifacts.blobs.interface import BlobStore
from ..artifacts.tree import ArtifactTree
from ..configs.catalog import ConfigCatalog
from ..errors import Overloaded
from ..http2.calls import Refused
from ..http2.server import ServerRules
from ..importing.imports import Imports
from ..interceptors.around import AroundCalls
from ..interceptors.deadlines import deadlines
from ..interceptors.errors import errors_to_statuses, refusal_of
from ..interceptors.logs import log_calls
from ..interceptors.metrics import count_calls
from ..jobs.desk import JobDesk
from ..metrics import ServerMetrics
from ..prediction import Prediction
from ..predictors.desk import PredictorDesk
from ..protocols.open_inference.registration import SERVICE as OPEN_INFERENCE
from ..protocols.open_inference.registration import add_open_inference
from ..protocols.open_inference.v2.pool import POOL as OPEN_INFERENCE_POOL
from ..registry.catalog import ModelCatalog
from ..registry.readiness import ModelReadiness
from ..runners import RunnerRegistry
from ..scoring.desk import ScoreDesk
from ..settings import Settings
from ..training import Training
from ..validation import Validator
from .artifacts import ArtifactServicer
from .configs import ConfigServicer
from .frames import FrameReader
from .health import Health, Probe
from .jobs import JobServicer
from .models import ModelServicer
from .predict import PredictServicer
from .predictors import PredictorServicer
from .readiness import ModelHealth
from .reflection import add_reflection
from .runners import RunnerServicer
from .stream_messages import add_predict_service
from .train import TrainServicer

SERVICES = tuple(
    f"modelwire.v1.{name}Service" for name in ("Runner", "Config", "Train", "Predict", "Predictor", "Model", "Job", "Artifact")
)
HEALTH: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
# What a message may have beyond the frame in it.
ENVELOPE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """All that the services call."""

    runners: RunnerRegistry
    configs: ConfigCatalog
    tree: ArtifactTree
    blobs: BlobStore
    training: Training
    prediction: Prediction
    jobs: JobDesk
    registry: ModelCatalog
    readiness: ModelReadiness
    imports: Imports
    validator: Validator
    predictors: PredictorDesk = field(default_factory=PredictorDesk)


def server_rules(settings: Settings) -> ServerRules:
    """Answers have no size limit of ours: a caller sets what it can take."""
    busy = Overloaded("more calls arrive than are taken up: too many have not even begun")
    busy.retry_after = timedelta(seconds=0.1)
    return ServerRules(
        busy=Refused(*refusal_of(busy)),
        max_message_bytes=settings.max_message_bytes + ENVELOPE_BYTES,
        max_concurrent_rpcs=settings.max_concurrent_rpcs,
        max_connection_age=settings.max_connection_age,
        max_connection_age_grace=settings.max_connection_age_grace,
    )


def around_calls(settings: Settings, metrics: ServerMetrics) -> AroundCalls:
    """What surrounds every call. Logs and metrics are outside, so that they see the status that errors became."""
    return AroundCalls(log_calls, count_calls(metrics), errors_to_statuses, deadlines(settings.default_deadline))


def probes_of(predictors: PredictorDesk) -> dict[str, Probe]:
    """What finds out whether each predictor works, by its name in health checks."""

    async def works(name: str) -> bool:
        (state,) = await predictors.readiness(name)
        return state.ready

    return {f"predictors/{name}": partial(works, name) for name in predictors.names}


async def add_services(server: Any, domain: Domain, *, settings: Settings, metrics: ServerMetrics) -> Health:
    """Registers all services with a server, or what stands for one; returns their health, which says NOT_SERVING until told otherwise."""
    limits = settings.frame_limits
    reader = FrameReader(limits.in_memory(settings.max_message_bytes), domain.blobs)
    streams: dict[str, Any] = {"limits": limits, "max_geo_bytes": settings.max_geo_bytes, "metrics": metrics}
    runners = RunnerServicer(runners=domain.runners, configs=domain.configs, validator=domain.validator, reader=reader)
    training = TrainServicer(training=domain.training, configs=domain.configs, blobs=domain.blobs, reader=reader, **streams)
    prediction = PredictServicer(
        prediction=domain.prediction,
        tree=domain.tree,
        blobs=domain.blobs,
        reader=reader,
        max_predict_bytes=settings.max_predict_bytes,
        max_batch_rows=settings.max_batch_rows,
        **streams,
    )
    jobs = JobServicer(domain.jobs, heartbeat_seconds=settings.heartbeat_seconds)
    runner_service_pb2_grpc.add_RunnerServiceServicer_to_server(runners, server)
    config_service_pb2_grpc.add_ConfigServiceServicer_to_server(ConfigServicer(domain.configs, domain.runners), server)
    train_service_pb2_grpc.add_TrainServiceServicer_to_server(training, server)
    add_predict_service(prediction, server)
    models = ModelServicer(
        domain.registry,
        readiness=domain.readiness,
        imports=domain.imports,
        scoring=ScoreDesk(prediction=domain.prediction, registry=domain.registry),
        reader=reader,
        heartbeat_seconds=settings.heartbeat_seconds,
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(models, server)
    predictor_service_pb2_grpc.add_PredictorServiceServicer_to_server(PredictorServicer(domain.predictors), server)
    job_service_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
    artifacts = ArtifactServicer(domain.tree, domain.blobs, limits)
    artifact_service_pb2_grpc.add_ArtifactServiceServicer_to_server(artifacts, server)
    names = [*SERVICES, OPEN_INFERENCE, *(f"runners/{runner.info.id}" for runner in domain.runners.all())]
    health = Health(
        names,
        probes_of(domain.predictors),
        models=ModelHealth(domain.readiness),
        probe_seconds=settings.predictor_check_seconds,
    )
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    add_open_inference(
        server,
        prediction=domain.prediction,
        tree=domain.tree,
        registry=domain.registry,
        limits=limits,
        metrics=metrics,
        is_serving=health.is_serving,
    )
    if settings.reflection:
        add_reflection(server, [*SERVICES, OPEN_INFERENCE, HEALTH], OPEN_INFERENCE_POOL)
    return health
