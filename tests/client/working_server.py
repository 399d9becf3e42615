"""A server that takes trainings and predictions, and keeps what it was sent."""
# ruff: noqa: N802 - servicers have the names of the contract

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest
from google.rpc import code_pb2, status_pb2

from modelwire import AsyncClient, Client
from modelwire.v1 import predict_service_pb2, runner_service_pb2, train_service_pb2
from modelwire.v1.predict_service_pb2_grpc import PredictServiceServicer
from modelwire.v1.runner_service_pb2_grpc import RunnerServiceServicer
from modelwire.v1.train_service_pb2_grpc import TrainServiceServicer
from modelwire.values import from_struct

GEO = {"type": "FeatureCollection", "features": []}


def table(data: bytes) -> pa.Table:
    return pa.ipc.open_stream(data).read_all()


def arrow(content: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, content.schema) as writer:
        writer.write_table(content)
    return bytes(sink.getvalue())


class Received:
    """One request, put together."""

    def __init__(self, header: Any, streamed: bool) -> None:
        self.header = header
        self.streamed = streamed
        self.bytes: dict[str, bytes] = {}
        self.largest = 0

    def add(self, role: str, chunk: bytes) -> None:
        self.bytes[role] = self.bytes.get(role, b"") + chunk
        self.largest = max(self.largest, len(chunk))

    def frame(self, role: str) -> pa.Table:
        return table(self.bytes[role] if self.streamed else getattr(self.header, role).arrow)

    @property
    def geo(self) -> Any:
        return json.loads(self.bytes["geo"]) if self.streamed else from_struct(self.header.geo)


def collect(requests: Iterator[Any]) -> Received:
    received = Received(next(requests).header, streamed=True)
    for request in requests:
        role = request.WhichOneof("part")
        received.add(role, getattr(request, role))
    return received


def predictions_of(requests: Iterator[Any]) -> Iterator[Any]:
    """The parts of predictions on a stream, which may come in bundles, after the options."""
    for request in requests:
        if not request.HasField("options"):
            yield from request.bundle.parts if request.HasField("bundle") else (request,)


class Worker(TrainServiceServicer, PredictServiceServicer, RunnerServiceServicer):
    """Notes what it receives; predicts y = 2 x in batches of 10,000 rows, and fails for x < 0."""

    def __init__(self, *, breaks: int = 0) -> None:
        self.received: list[Received] = []
        self.models: list[str] = []
        self._breaks = breaks

    def _break(self, context: Any) -> None:
        if self._breaks:
            self._breaks -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    def Train(self, request: Any, context: Any) -> train_service_pb2.TrainResponse:
        self.received.append(Received(request, streamed=False))
        return train_service_pb2.TrainResponse(job_id="J", artifact_id="M")

    def TrainStream(self, request_iterator: Any, context: Any) -> train_service_pb2.TrainStreamResponse:
        self.received.append(collect(request_iterator))
        self._break(context)
        return train_service_pb2.TrainStreamResponse(job_id="J", artifact_id="M")

    def SubmitPrediction(self, request: Any, context: Any) -> predict_service_pb2.SubmitPredictionResponse:
        self.received.append(Received(request, streamed=False))
        return predict_service_pb2.SubmitPredictionResponse(job_id="J", artifact_id="P")

    def SubmitPredictionStream(self, request_iterator: Any, context: Any) -> predict_service_pb2.SubmitPredictionStreamResponse:
        self.received.append(collect(request_iterator))
        return predict_service_pb2.SubmitPredictionStreamResponse(job_id="J", artifact_id="P")

    def ValidateInput(self, request: Any, context: Any) -> runner_service_pb2.ValidateInputResponse:
        self.received.append(Received(request, streamed=False))
        found = runner_service_pb2.ValidationDiagnostic(
            severity=runner_service_pb2.VALIDATION_SEVERITY_ERROR, code="data_empty", message="no rows"
        )
        return runner_service_pb2.ValidateInputResponse(valid=False, diagnostics=[found])

    def Predict(self, request: Any, context: Any) -> predict_service_pb2.PredictResponse:
        received = Received(request, streamed=False)
        self.received.append(received)
        return self._answer(received)

    def _answer(self, received: Received) -> predict_service_pb2.PredictResponse:
        answer = predict_service_pb2.PredictResponse(model_id=received.header.model)
        answer.predictions.arrow = arrow(self._predict(received))
        return answer

    def _predict(self, received: Received) -> pa.Table:
        future = received.frame("future")
        x = np.asarray(future["x"])
        if len(x) and x[0] < 0:
            raise ValueError("no negative x")
        return pa.table({"y": x * 2}).replace_schema_metadata(None)

    def PredictStream(self, request_iterator: Any, context: Any) -> Iterator[predict_service_pb2.PredictStreamResponse]:
        answer = predict_service_pb2.PredictStreamResponse
        calls: dict[int, Received] = {}
        for request in predictions_of(request_iterator):
            part = request.WhichOneof("part")
            if part in ("header", "whole"):
                calls[request.call] = Received(getattr(request, part), streamed=part == "header")
                self.received.append(calls[request.call])
            elif part != "end":
                calls[request.call].add(part, getattr(request, part))
            if part not in ("end", "whole"):
                continue
            self._break(context)
            received = calls[request.call]
            try:
                predicted = self._predict(received)
            except ValueError as error:
                yield answer(call=request.call, error=status_pb2.Status(code=code_pb2.INTERNAL, message=str(error)))
                continue
            if part == "whole":
                yield answer(call=request.call, whole=self._answer(received))
                continue
            encoded = arrow(predicted)
            for start in range(0, len(encoded), 777_777):
                yield answer(call=request.call, predictions=encoded[start : start + 777_777])
            yield answer(call=request.call, end=predict_service_pb2.PredictStreamEnd())


def big(rows: int = 400_000) -> pa.Table:
    return pa.table({"x": np.arange(rows, dtype=float), "n": np.arange(rows)})


def call(target: str, name: str, *arguments: Any, **options: Any) -> Any:
    with Client(target) as client:
        return getattr(client, name)(*arguments, **options)


def call_async(target: str, name: str, *arguments: Any, **options: Any) -> Any:
    async def work() -> Any:
        async with AsyncClient(target) as client:
            return await getattr(client, name)(*arguments, **options)

    return asyncio.run(work())


both = pytest.mark.parametrize("call", [call, call_async], ids=["blocking", "asyncio"])
Call = Callable[..., Any]
