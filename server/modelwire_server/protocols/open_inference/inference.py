"""Answers requests for predictions: tensors in, tensors out."""

import asyncio
import time
from dataclasses import dataclass
from math import prod
from typing import cast

from ...deadline import remaining, set_remaining
from ...errors import DeadlineExceeded, ModelwireError
from ...frames import FrameLimits
from ...inference.models import LoadedModel
from ...inference.orders import PredictOrder, WhenSent
from ...inference.predictor import Predicted
from ...interceptors.errors import status_of
from ...metrics import ServerMetrics
from ...prediction import Prediction
from ...services.predict import trailer_of
from .layouts import SMALL, TensorLayouts
from .options import Options, options_of, refuse_shared_memory
from .repository import Named, Repository
from .statistics import Statistics
from .v2 import open_inference_pb2 as pb
from .writing import fill, fill_numbers


@dataclass(frozen=True, slots=True)
class Answered:
    """A response, and what it was made of; it took `seconds` in all."""

    response: pb.ModelInferResponse
    predicted: Predicted
    seconds: float

    @property
    def trailer(self) -> tuple[tuple[str, str], ...]:
        found = self.predicted
        times = tuple(round(seconds * 1e6) for seconds in (found.queue_seconds, found.compute_seconds, self.seconds))
        return trailer_of(found.model_id, found.version, found.engine, cast("tuple[int, int, int]", times))


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
        self._layouts = TensorLayouts(limits)

    async def answer(self, request: pb.ModelInferRequest, when_sent: WhenSent | None = None) -> Answered:
        """`when_sent` is as in PredictOrder. Raises ModelNotFound, NotAModel, InvalidFrame, FrameTooLarge, InvalidField, and what
        Prediction.predict() raises."""
        leave = self._prediction.enter()
        try:
            return await self._answer(request, when_sent)
        finally:
            leave()

    async def _answer(self, request: pb.ModelInferRequest, when_sent: WhenSent | None) -> Answered:
        began = time.perf_counter()
        named = await self._repository.named(request.model_name, request.model_version)
        model = await self._repository.loaded(named)
        counts = self._statistics.of(model.artifact_id)
        try:
            options = options_of(request.parameters)
            order = await self._order(request, model, options, when_sent)
            ordered = time.perf_counter()
            predicted = await self._predicted(order, options.timeout)
            predicted_at = time.perf_counter()
            response = await _response(request, named, predicted, options)
        except ModelwireError:
            counts.failed(time.perf_counter() - began)
            raise
        ended = time.perf_counter()
        self._metrics.predicted(predicted, ended - began)
        counts.answered(
            predicted, rows=order.future.num_rows, input=ordered - began, output=ended - predicted_at, total=ended - began
        )
        return Answered(response, predicted, ended - began)

    async def answer_in_stream(self, request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
        """The same, with what is wrong in the answer."""
        try:
            return pb.ModelStreamInferResponse(infer_response=(await self.answer(request)).response)
        except Exception as error:
            failed = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
            return pb.ModelStreamInferResponse(error_message=status_of(error).message, infer_response=failed)

    async def _predicted(self, order: PredictOrder, timeout: float | None) -> Predicted:
        if timeout is None:
            return await self._prediction.predict(order)
        left = remaining()
        set_remaining(timeout if left is None else min(left, timeout))
        try:
            async with asyncio.timeout(timeout):
                return await self._prediction.predict(order)
        except TimeoutError:
            raise DeadlineExceeded(f"the prediction took longer than its timeout of {timeout:g} s", timeout=timeout) from None

    async def _order(
        self, request: pb.ModelInferRequest, model: LoadedModel, options: Options, when_sent: WhenSent | None
    ) -> PredictOrder:
        """What is asked of the model."""
        for wanted in request.outputs:
            if wanted.parameters:
                refuse_shared_memory(wanted)
        arguments = (request, model.signature)
        read = self._layouts.frame_of
        return PredictOrder(
            model=model.artifact_id,
            future=await asyncio.to_thread(read, *arguments) if is_large(request) else read(*arguments),
            run_info=options.run_info,
            schema_policy=options.schema_policy,
            engine=options.engine,
            when_sent=when_sent,
        )


async def _response(request: pb.ModelInferRequest, named: Named, predicted: Predicted, options: Options) -> pb.ModelInferResponse:
    """The predictions, in the form of the question unless another is asked for."""
    response = pb.ModelInferResponse(model_name=request.model_name, model_version=named.version, id=request.id)
    response.parameters["engine"].string_param = predicted.engine
    if options.final_mark:
        response.parameters["triton_final_response"].bool_param = True
    raw = options.raw if options.raw is not None else len(request.raw_input_contents) > 0
    wanted = [output.name for output in request.outputs]
    answer = predicted.answer
    if isinstance(answer, dict):
        fill_numbers(response, answer, wanted, raw=raw)
    elif answer.nbytes > SMALL:
        await asyncio.to_thread(fill, response, answer, wanted, raw=raw)
    else:
        fill(response, answer, wanted, raw=raw)
    return response


def is_large(request: pb.ModelInferRequest) -> bool:
    """Asking a message for its size would write it down."""
    if raw := request.raw_input_contents:
        return sum(map(len, raw)) > SMALL
    return any(prod(tensor.shape) > SMALL // 8 for tensor in request.inputs)
