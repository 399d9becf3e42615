"""PredictService: predictions at once, in streams, and as jobs."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Any

from structlog.contextvars import bind_contextvars

from modelwire.v1 import predict_service_pb2 as pb
from modelwire.v1.predict_service_pb2_grpc import PredictServiceServicer

from ..artifacts.blobs.interface import BlobStore
from ..artifacts.tree import ArtifactTree
from ..frames import FrameLimits
from ..inference.models import find_model
from ..inference.predictor import Predicted
from ..interceptors.around import Context
from ..jobs.submission import Submission
from ..metrics import ServerMetrics
from ..prediction import Prediction, PredictionOrder, PredictOrder
from .checks import Findings
from .frames import FrameReader, form_of, frame_of
from .messages import run_info_of
from .predict_stream import PredictStream
from .receiving import IN_CHUNKS, FrameReceiver, GeoReceiver, Receiver, receive

POLICIES: dict[int, str] = {
    pb.SCHEMA_POLICY_UNSPECIFIED: "",
    pb.SCHEMA_POLICY_STRICT: "strict",
    pb.SCHEMA_POLICY_SAFE: "safe",
    pb.SCHEMA_POLICY_OFF: "off",
}


class PredictServicer(PredictServiceServicer):
    def __init__(
        self,
        *,
        prediction: Prediction,
        tree: ArtifactTree,
        blobs: BlobStore,
        reader: FrameReader,
        limits: FrameLimits,
        max_predict_bytes: int,
        max_geo_bytes: int,
        metrics: ServerMetrics,
    ) -> None:
        self._prediction = prediction
        self._tree = tree
        self._blobs = blobs
        self._reader = reader
        self._limits = limits
        self._max_predict_bytes = max_predict_bytes
        self._max_geo_bytes = max_geo_bytes
        self._metrics = metrics

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:
        answer = await self.answer(request)
        context.set_trailing_metadata((*(context.trailing_metadata() or ()), *told_in_trailer(answer)))
        return answer

    async def answer(self, request: pb.PredictRequest) -> pb.PredictResponse:
        """One prediction in one message."""
        began = time.perf_counter()
        model = model_of(request)
        future = await self._reader.table(request, "future")
        historic = await self._reader.table(request, "historic") if request.HasField("historic") else None
        geo, run_info = self._reader.geo(request), run_info_of(request.run_info)
        order = PredictOrder(
            model=model,
            future=future,
            historic=historic,
            geo=geo,
            run_info=run_info,
            schema_policy=POLICIES[request.schema_policy],
            engine=request.engine,
        )
        with self._metrics.predict_seconds.time():
            predicted = await self._prediction.predict(order)
        predictions = frame_of(predicted.table, form_of(request.form, request.future))
        return pb.PredictResponse(
            predictions=predictions,
            model_id=predicted.model_id,
            engine=predicted.engine,
            timing=timing_of(predicted, time.perf_counter() - began),
        )

    async def PredictStream(
        self, request_iterator: AsyncIterator[pb.PredictStreamRequest], context: Context
    ) -> AsyncIterator[pb.PredictStreamResponse]:
        stream = PredictStream(
            prediction=self._prediction,
            answer=self.answer,
            limits=self._limits.in_memory(self._max_predict_bytes),
            max_geo_bytes=self._max_geo_bytes,
        )
        async with aclosing(stream.answers(request_iterator)) as answers:
            async for answer in answers:
                yield answer

    async def SubmitPrediction(self, request: pb.SubmitPredictionRequest, context: Context) -> pb.SubmitPredictionResponse:
        fields = order_fields(request)
        historic, future = await self._reader.stored(request, "historic"), await self._reader.stored(request, "future")
        geo = await self._reader.stored_geo(request)
        made = await self._submit(PredictionOrder(historic=historic, future=future, geo=geo, **fields))
        return pb.SubmitPredictionResponse(job_id=made.job_id, artifact_id=made.artifact_id, message=made.message)

    async def SubmitPredictionStream(
        self, request_iterator: AsyncIterator[pb.SubmitPredictionStreamRequest], context: Context
    ) -> pb.SubmitPredictionStreamResponse:
        async with AsyncExitStack() as stack:
            historic = FrameReceiver(self._blobs, self._limits, "historic", stack)
            future = FrameReceiver(self._blobs, self._limits, "future", stack)
            geo = GeoReceiver(self._max_geo_bytes)
            parts: dict[str, Receiver] = {"historic": historic, "future": future, "geo": geo}
            header = await receive(request_iterator, parts, self._check_header)
            order = PredictionOrder(
                historic=await historic.finish(),
                future=await future.finish(),
                geo=await geo.stored(self._blobs),
                **order_fields(header),
            )
            made = await self._submit(order)
        return pb.SubmitPredictionStreamResponse(job_id=made.job_id, artifact_id=made.artifact_id, message=made.message)

    async def _check_header(self, header: pb.SubmitPredictionRequest) -> None:
        """An unknown model is better told before the frames are sent."""
        fields = order_fields(header, streamed=True)
        if not header.errors_in_job:
            await find_model(self._tree, fields["model_id"])

    async def _submit(self, order: PredictionOrder) -> Submission:
        submission = await self._prediction.submit(order)
        bind_contextvars(job_id=submission.job_id)
        self._metrics.predict_jobs.inc()
        return submission


def timing_of(predicted: Predicted, total_seconds: float) -> pb.PredictTiming:
    return pb.PredictTiming(
        queue_us=round(predicted.queue_seconds * 1e6),
        compute_us=round(predicted.compute_seconds * 1e6),
        total_us=round(total_seconds * 1e6),
    )


def told_in_trailer(answer: pb.PredictResponse) -> tuple[tuple[str, str], ...]:
    """What an answer says of its making, for those who look at metadata only."""
    timing = answer.timing
    spent = f"queue;dur={timing.queue_us / 1e3:g}, compute;dur={timing.compute_us / 1e3:g}, total;dur={timing.total_us / 1e3:g}"
    return ("modelwire-model", answer.model_id), ("modelwire-engine", answer.engine), ("modelwire-timing", spent)


def model_of(request: pb.PredictRequest) -> str:
    findings = Findings()
    model = findings.id("model", request.model)
    findings.settle()
    return model


def order_fields(request: pb.SubmitPredictionRequest, *, streamed: bool = False) -> dict[str, Any]:
    """All of an order but the frames and the GeoJSON. Raises InvalidField, InvalidId."""
    findings = Findings()
    fields = {
        "model_id": findings.id("artifact_id", request.artifact_id),
        "run_info": run_info_of(request.run_info),
        "request_id": findings.request_id(request.request_id),
        "timeout": findings.seconds("timeout", request),
        "tags": findings.tags(request.tags),
        "priority": findings.priority(request.priority),
        "prediction_id": findings.optional_id("prediction_id", request.prediction_id),
        "errors_in_job": request.errors_in_job,
    }
    if streamed:
        findings.absent(request, "historic", "future", "geo", why=IN_CHUNKS)
    findings.settle()
    return fields
