"""PredictService: predictions at once, in streams, and as jobs."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, cast

from structlog.contextvars import bind_contextvars

from modelwire.v1 import predict_service_pb2 as pb
from modelwire.v1.predict_service_pb2_grpc import PredictServiceServicer

from ..artifacts.blobs.interface import BlobStore
from ..artifacts.tree import ArtifactTree
from ..errors import FieldViolation, InvalidField
from ..frames import FrameLimits
from ..inference.models import find_model
from ..inference.orders import WhenSent
from ..interceptors.around import Context
from ..jobs.submission import Submission
from ..metrics import ServerMetrics
from ..prediction import Prediction, PredictionOrder, PredictOrder
from .checks import Findings
from .frames import FrameReader, form_of, frame_of
from .messages import POLICIES, fill_timing, run_info_of
from .predict_stream import PredictStream
from .receiving import IN_CHUNKS, FrameReceiver, GeoReceiver, Receiver, receive
from .together import Together

if TYPE_CHECKING:
    from ..interceptors.context import CallContext


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
        max_batch_rows: int,
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
        self._together = Together(prediction=prediction, reader=reader, metrics=metrics, max_rows=max_batch_rows)

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:
        answering = self.answer(request, cast("WhenSent", context.add_done_callback))
        del request  # which has the frame once more
        answer = await answering
        context.set_trailing_metadata((*(context.trailing_metadata() or ()), *told_in_trailer(answer)))
        return answer

    async def answer(self, request: pb.PredictRequest, when_sent: WhenSent | None = None) -> pb.PredictResponse:
        """One prediction in one message, which is let go of as soon as it is read. `when_sent` is as in PredictOrder."""
        began, form = time.perf_counter(), form_of(request.form, request.future)
        order = PredictOrder(
            model=model_of(request),
            future=await self._reader.frame(request, "future"),
            historic=await self._reader.frame(request, "historic") if request.HasField("historic") else None,
            geo=self._reader.geo(request),
            run_info=run_info_of(request.run_info) if request.HasField("run_info") else {},
            schema_policy=POLICIES[request.schema_policy],
            engine=request.engine,
            when_sent=when_sent,
        )
        del request
        predicted = await self._prediction.predict(order)
        response = pb.PredictResponse(
            predictions=frame_of(predicted.answer, form),
            model_id=predicted.model_id,
            engine=predicted.engine,
            model_version=predicted.version,
        )
        total = time.perf_counter() - began
        fill_timing(response.timing, predicted, total)
        self._metrics.predicted(predicted, total)
        return response

    async def PredictStream(self, request_iterator: AsyncIterator[bytes], context: Context) -> None:  # type: ignore[override]
        """Reads and writes messages as bytes; see stream_messages."""
        stream = PredictStream(
            prediction=self._prediction,
            answer=self.answer,
            together=self._together,
            limits=self._limits,
            max_bytes=self._max_predict_bytes,
            max_geo_bytes=self._max_geo_bytes,
        )
        await stream.serve(request_iterator, cast("CallContext", context).write_all)

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
            named = await self._prediction.resolve(fields["model_id"], "artifact_id")
            await find_model(self._tree, named.artifact_id)

    async def _submit(self, order: PredictionOrder) -> Submission:
        submission = await self._prediction.submit(order)
        bind_contextvars(job_id=submission.job_id)
        self._metrics.predict_jobs.inc()
        return submission


def told_in_trailer(answer: pb.PredictResponse) -> tuple[tuple[str, str], ...]:
    """What an answer says of its making, for those who look at metadata only."""
    timing = answer.timing
    times = (timing.queue_us, timing.compute_us, timing.total_us)
    return trailer_of(answer.model_id, answer.model_version, answer.engine, times)


def trailer_of(model_id: str, version: str, engine: str, times: tuple[int, int, int]) -> tuple[tuple[str, str], ...]:
    """What made an answer, and how many microseconds it waited, was computed and took in all."""
    queue, compute, total = times
    spent = f"queue;dur={queue / 1e3}, compute;dur={compute / 1e3}, total;dur={total / 1e3}"
    model = ("modelwire-model", model_id), ("modelwire-engine", engine), ("modelwire-timing", spent)
    return (*model, ("modelwire-model-version", version)) if version else model


def model_of(request: pb.PredictRequest) -> str:
    """Which model is asked. Raises InvalidField; whether it can be one at all is seen when it is looked up."""
    if request.schema_policy not in POLICIES:
        raise InvalidField.of(FieldViolation("schema_policy", "must be one of SchemaPolicy's values"))
    return request.model


def order_fields(request: pb.SubmitPredictionRequest, *, streamed: bool = False) -> dict[str, Any]:
    """All of an order but the frames and the GeoJSON. Raises InvalidField, InvalidId."""
    findings = Findings()
    fields = {
        "model_id": findings.model("artifact_id", request.artifact_id),
        "run_info": run_info_of(request.run_info),
        "request_id": findings.request_id(request.request_id),
        "timeout": findings.seconds("timeout", request),
        "tags": findings.tags(request.tags),
        "priority": findings.priority(request.priority),
        "prediction_id": findings.optional_id("prediction_id", request.prediction_id),
        "errors_in_job": request.errors_in_job,
        "schema_policy": POLICIES.get(request.schema_policy, ""),
    }
    if request.schema_policy not in POLICIES:
        findings.add("schema_policy", "must be one of SchemaPolicy's values")
    if streamed:
        findings.absent(request, "historic", "future", "geo", why=IN_CHUNKS)
    findings.settle()
    return fields
