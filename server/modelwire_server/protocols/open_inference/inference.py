"""Answers requests for predictions: tensors in, tensors out."""

import asyncio
import time

from ...deadline import remaining, set_remaining
from ...errors import DeadlineExceeded, ModelwireError
from ...frames import FrameLimits
from ...inference.models import LoadedModel
from ...inference.predictor import Predicted
from ...interceptors.errors import status_of
from ...metrics import ServerMetrics
from ...prediction import Prediction, PredictOrder
from .options import Options, options_of, refuse_shared_memory
from .reading import table_of
from .repository import Named, Repository
from .statistics import Statistics
from .v2 import open_inference_pb2 as pb
from .writing import fill

# Tensors up to this size are read and written on the event loop: handing them to a thread would take longer.
SMALL = 128 * 1024


class Inference:
    def __init__(
        self,
        *,
        repository: Repository,
        prediction: Prediction,
        statistics: Statistics,
        metrics: ServerMetrics,
        limits: FrameLimits,
    ) -> None:
        self._repository = repository
        self._prediction = prediction
        self._statistics = statistics
        self._metrics = metrics
        self._limits = limits

    async def answer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        """Raises ModelNotFound, NotAModel, InvalidFrame, FrameTooLarge, InvalidField, and what Prediction.predict() raises."""
        leave = self._prediction.enter()
        try:
            return await self._answer(request)
        finally:
            leave()

    async def _answer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        began = time.perf_counter()
        named = await self._repository.named(request.model_name, request.model_version)
        model = await self._repository.loaded(named)
        counts = self._statistics.of(model.artifact_id)
        try:
            options = options_of(request.parameters)
            order = await _order(request, model, options, self._limits)
            ordered = time.perf_counter()
            predicted = await self._predicted(order, options.timeout)
            predicted_at = time.perf_counter()
            response = await _response(request, named, predicted, options)
        except ModelwireError:
            counts.failed(time.perf_counter() - began)
            raise
        ended = time.perf_counter()
        counts.answered(
            predicted, rows=order.future.num_rows, input=ordered - began, output=ended - predicted_at, total=ended - began
        )
        return response

    async def answer_in_stream(self, request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
        """The same, with what is wrong in the answer."""
        try:
            return pb.ModelStreamInferResponse(infer_response=await self.answer(request))
        except Exception as error:
            failed = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
            return pb.ModelStreamInferResponse(error_message=status_of(error).message, infer_response=failed)

    async def _predicted(self, order: PredictOrder, timeout: float | None) -> Predicted:
        with self._metrics.predict_seconds.time():
            if timeout is None:
                return await self._prediction.predict(order)
            left = remaining()
            set_remaining(timeout if left is None else min(left, timeout))
            try:
                async with asyncio.timeout(timeout):
                    return await self._prediction.predict(order)
            except TimeoutError:
                raise DeadlineExceeded(f"the prediction took longer than its timeout of {timeout:g} s", timeout=timeout) from None


async def _order(request: pb.ModelInferRequest, model: LoadedModel, options: Options, limits: FrameLimits) -> PredictOrder:
    """What is asked of the model."""
    for wanted in request.outputs:
        if wanted.parameters:
            refuse_shared_memory(wanted)
    arguments = (request, model.signature, limits)
    return PredictOrder(
        model=model.artifact_id,
        future=await asyncio.to_thread(table_of, *arguments) if is_large(request) else table_of(*arguments),
        run_info=options.run_info,
        schema_policy=options.schema_policy,
        engine=options.engine,
    )


async def _response(request: pb.ModelInferRequest, named: Named, predicted: Predicted, options: Options) -> pb.ModelInferResponse:
    """The predictions, in the form of the question unless another is asked for."""
    response = pb.ModelInferResponse(model_name=request.model_name, model_version=named.version, id=request.id)
    response.parameters["engine"].string_param = predicted.engine
    if options.final_mark:
        response.parameters["triton_final_response"].bool_param = True
    raw = options.raw if options.raw is not None else len(request.raw_input_contents) > 0
    wanted = [output.name for output in request.outputs]
    if predicted.table.nbytes > SMALL:
        await asyncio.to_thread(fill, response, predicted.table, wanted, raw=raw)
    else:
        fill(response, predicted.table, wanted, raw=raw)
    return response


def is_large(request: pb.ModelInferRequest) -> bool:
    return request.ByteSize() > SMALL
