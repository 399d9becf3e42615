"""TrainService: checks a training, stores its frame, submits it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from structlog.contextvars import bind_contextvars

from modelwire.v1 import train_service_pb2 as pb
from modelwire.v1.train_service_pb2_grpc import TrainServiceServicer

from ..artifacts.blobs.interface import BlobStore
from ..configs.catalog import ConfigCatalog
from ..frames import FrameLimits
from ..interceptors.around import Context
from ..jobs.submission import Submission
from ..metrics import ServerMetrics
from ..training import Training, TrainingOrder
from .checks import Findings
from .frames import FrameReader
from .messages import run_info_of
from .receiving import IN_CHUNKS, FrameReceiver, GeoReceiver, receive


class TrainServicer(TrainServiceServicer):
    def __init__(
        self,
        *,
        training: Training,
        configs: ConfigCatalog,
        blobs: BlobStore,
        reader: FrameReader,
        limits: FrameLimits,
        max_geo_bytes: int,
        metrics: ServerMetrics,
    ) -> None:
        self._training = training
        self._configs = configs
        self._blobs = blobs
        self._reader = reader
        self._limits = limits
        self._max_geo_bytes = max_geo_bytes
        self._metrics = metrics

    async def Train(self, request: pb.TrainRequest, context: Context) -> pb.TrainResponse:
        fields = order_fields(request)
        data = await self._reader.stored(request, "data")
        submission = await self._submit(TrainingOrder(data=data, geo=await self._reader.stored_geo(request), **fields))
        return pb.TrainResponse(job_id=submission.job_id, artifact_id=submission.artifact_id, message=submission.message)

    async def TrainStream(self, request_iterator: AsyncIterator[pb.TrainStreamRequest], context: Context) -> pb.TrainStreamResponse:
        async with AsyncExitStack() as stack:
            data = FrameReceiver(self._blobs, self._limits, "data", stack)
            geo = GeoReceiver(self._max_geo_bytes)
            header = await receive(request_iterator, {"data": data, "geo": geo}, self._check_header)
            order = TrainingOrder(data=await data.finish(), geo=await geo.stored(self._blobs), **order_fields(header))
            submission = await self._submit(order)
        return pb.TrainStreamResponse(job_id=submission.job_id, artifact_id=submission.artifact_id, message=submission.message)

    async def _check_header(self, header: pb.TrainRequest) -> None:
        """An unknown config is better told before the frame is sent."""
        fields = order_fields(header, streamed=True)
        if not header.errors_in_job:
            await self._configs.get(fields["config_id"])

    async def _submit(self, order: TrainingOrder) -> Submission:
        submission = await self._training.submit(order)
        bind_contextvars(job_id=submission.job_id)
        self._metrics.train_jobs.inc()
        return submission


def order_fields(request: pb.TrainRequest, *, streamed: bool = False) -> dict[str, Any]:
    """All of an order but the frame and the GeoJSON. Raises InvalidField, InvalidId."""
    findings = Findings()
    fields = {
        "config_id": findings.id("config_id", request.config_id),
        "run_info": run_info_of(request.run_info),
        "request_id": findings.request_id(request.request_id),
        "timeout": findings.seconds("timeout", request),
        "tags": findings.tags(request.tags),
        "priority": findings.priority(request.priority),
        "model_id": findings.optional_id("model_id", request.model_id),
        "errors_in_job": request.errors_in_job,
    }
    if streamed:
        findings.absent(request, "data", "geo", why=IN_CHUNKS)
    findings.settle()
    return fields
