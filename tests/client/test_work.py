"""Training and predicting: one message or a stream, as the data ask for."""
# ruff: noqa: N802 - servicers have the names of the contract

import asyncio
import json
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import grpc
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from google.rpc import code_pb2, status_pb2

from modelwire import AsyncClient, Client, DeadlineExceeded, Internal, InvalidArgument, NotFound, RunInfo, Unavailable
from modelwire.chunks import MIB
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


@both
def test_a_small_training_is_one_message(serve: Any, call: Call) -> None:
    worker = Worker()
    info = RunInfo(prediction_periods=3, additional_continuous_covariates=("rain",))
    job = call(serve(worker), "train", "C", {"x": [1.0]}, geo=GEO, run_info=info, timeout=90, tags=["a"], model_id="M")
    assert (job.id, job.artifact_id, job.stage) == ("J", "M", "queued")
    (received,) = worker.received
    assert not received.streamed
    assert received.frame("data").to_pydict() == {"x": [1.0]}
    assert received.geo == GEO
    header = received.header
    assert (header.config_id, header.model_id, list(header.tags)) == ("C", "M", ["a"])
    assert header.timeout.seconds == 90
    assert header.run_info.prediction_periods == 3
    assert list(header.run_info.additional_continuous_covariates) == ["rain"]
    assert not header.run_info.HasField("future_covariate_origin")


@both
def test_a_large_training_is_a_stream(serve: Any, call: Call) -> None:
    worker = Worker()
    call(serve(worker), "train", "C", big(), geo=GEO, tags=["a"])
    (received,) = worker.received
    assert received.streamed
    assert received.frame("data").equals(big())
    assert received.geo == GEO
    assert received.largest <= 2 * MIB
    assert (received.header.config_id, list(received.header.tags)) == ("C", ["a"])
    assert not received.header.HasField("data")


def test_large_geometry_makes_a_stream_too(serve: Any) -> None:
    worker = Worker()
    geo = {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"name": "ø" * 3 * MIB}}]}
    call(serve(worker), "train", "C", {"x": [1.0]}, geo=geo)
    assert worker.received[0].streamed
    assert worker.received[0].geo == geo


class Geometry:
    """What geopandas offers."""

    __geo_interface__ = GEO


def test_geometry_of_other_libraries(serve: Any) -> None:
    worker = Worker()
    call(serve(worker), "train", "C", {"x": [1.0]}, geo=Geometry())
    assert worker.received[0].geo == GEO


@both
def test_a_broken_stream_of_a_table_is_repeated(serve: Any, call: Call) -> None:
    worker = Worker(breaks=2)
    assert call(serve(worker), "train", "C", big()).id == "J"
    assert len(worker.received) == 3
    assert len({received.header.request_id for received in worker.received}) == 1
    assert worker.received[-1].frame("data").equals(big())


@both
def test_a_stream_that_is_read_once_is_sent_once(serve: Any, call: Call) -> None:
    worker = Worker(breaks=1)
    target = serve(worker)
    with pytest.raises(Unavailable):
        call(target, "train", "C", big().to_reader())
    assert call(target, "train", "C", big().to_reader()).id == "J"
    assert worker.received[1].frame("data").equals(big())


def failing_reader() -> pa.RecordBatchReader:
    def make() -> Iterator[pa.RecordBatch]:
        yield from big().to_batches(max_chunksize=50_000)
        raise pa.ArrowInvalid("the query failed")

    return pa.RecordBatchReader.from_batches(big().schema, make())


@both
def test_data_that_cannot_be_read_train_nothing(serve: Any, call: Call) -> None:
    worker = Worker()
    with pytest.raises(InvalidArgument, match="data: cannot be read: the query failed"):
        call(serve(worker), "train", "C", failing_reader())
    assert all(received.bytes["data"] != b"" for received in worker.received)


@both
def test_a_server_that_refuses_in_the_middle_is_understood(serve: Any, call: Call) -> None:
    class Picky(TrainServiceServicer, PredictServiceServicer):
        def TrainStream(self, request_iterator: Any, context: Any) -> Any:
            next(request_iterator)
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not this one")

        def PredictStream(self, request_iterator: Any, context: Any) -> Any:
            next(request_iterator)
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not this one")
            yield from ()

    target = serve(Picky())
    for _ in range(10):
        for name in ("train", "predict"):
            with pytest.raises(InvalidArgument, match="not this one"):
                call(target, name, "M", big())


def test_a_server_that_takes_nothing_is_given_up(serve: Any) -> None:
    gone = threading.Event()

    class Stuck(TrainServiceServicer):
        def TrainStream(self, request_iterator: Any, context: Any) -> Any:
            assert context.add_callback(gone.set)
            gone.wait(20)
            return train_service_pb2.TrainStreamResponse()

    target = serve(Stuck())
    with Client(target, stall_timeout=0.3) as client, pytest.raises(Unavailable, match="stands still"):
        client.train("C", big().to_reader())
    assert gone.wait(10)
    gone.clear()

    async def scenario() -> None:
        async with AsyncClient(target, stall_timeout=0.3) as client:
            with pytest.raises(Unavailable, match="stands still"):
                await client.train("C", big().to_reader())

    asyncio.run(scenario())
    assert gone.wait(10)


def test_a_large_frame_is_never_in_memory_as_a_whole(serve: Any) -> None:
    class Swallow(TrainServiceServicer):
        received = 0

        def TrainStream(self, request_iterator: Any, context: Any) -> train_service_pb2.TrainStreamResponse:
            for request in request_iterator:
                self.received += len(request.data)
            return train_service_pb2.TrainStreamResponse(job_id="J")

    batch = pa.record_batch({"x": np.zeros(131_072)})
    reader = pa.RecordBatchReader.from_batches(batch.schema, (batch for _ in range(256)))
    swallow = Swallow()
    with Client(serve(swallow)) as client:
        tracemalloc.start()
        client.train("C", reader)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert swallow.received > 256 * MIB
    assert peak < 64 * MIB


@both
@pytest.mark.parametrize("rows", [3, 400_000], ids=["small", "large"])
def test_predictions_come_in_the_kind_of_the_question(serve: Any, call: Call, rows: int) -> None:
    worker = Worker()
    target = serve(worker)
    frame = big(rows)
    answer = call(target, "predict", "M", frame)
    assert isinstance(answer, pa.Table)
    assert answer.equals(pa.table({"y": np.arange(rows, dtype=float) * 2}))
    assert isinstance(call(target, "predict", "M", pl.from_arrow(frame)), pl.DataFrame)
    index = pd.RangeIndex(10, 10 + rows, name="row")
    predicted = call(target, "predict", "M", frame.to_pandas().set_index(index))
    assert isinstance(predicted, pd.DataFrame)
    pd.testing.assert_index_equal(predicted.index, index)
    assert [received.streamed for received in worker.received] == [rows > 3] * 3
    assert {received.header.model for received in worker.received} == {"M"}


@both
def test_historic_and_geo_go_along(serve: Any, call: Call) -> None:
    worker = Worker()
    target = serve(worker)
    for future in (big(3), big()):
        call(target, "predict", "M", future, {"past": [1]}, geo=GEO, run_info={"prediction_periods": 2})
    for received in worker.received:
        assert received.frame("historic").to_pydict() == {"past": [1]}
        assert received.geo == GEO
        assert received.header.run_info.prediction_periods == 2


@both
def test_a_large_prediction_that_breaks_is_repeated(serve: Any, call: Call) -> None:
    worker = Worker(breaks=2)
    assert call(serve(worker), "predict", "M", big()).num_rows == 400_000
    assert len(worker.received) == 3


@both
def test_a_large_prediction_that_fails(serve: Any, call: Call) -> None:
    worker = Worker()
    with pytest.raises(Internal, match="no negative x"):
        call(serve(worker), "predict", "M", pa.table({"x": np.full(400_000, -1.0)}))
    assert len(worker.received) == 1


@both
def test_a_large_prediction_has_a_deadline_if_asked(serve: Any, call: Call) -> None:
    class Stuck(PredictServiceServicer):
        calls = 0

        def PredictStream(self, request_iterator: Any, context: Any) -> Any:
            self.calls += 1
            gone = threading.Event()
            assert context.add_callback(gone.set)
            gone.wait(20)
            yield from ()

    stuck = Stuck()
    with pytest.raises(DeadlineExceeded):
        call(serve(stuck), "predict", "M", big(), timeout=0.3)
    assert stuck.calls == 1


def test_run_info_with_unknown_fields_is_refused() -> None:
    with Client("localhost:1") as client, pytest.raises(InvalidArgument, match="run_info"):
        client.predict("M", {"x": [1]}, run_info={"periods": 3})


def mixed() -> list[Any]:
    return [big(2), {"x": [5.0]}, big(), pd.DataFrame({"x": [1.0]}), big(0)]


def test_many_predictions_over_one_stream(serve: Any) -> None:
    worker = Worker()
    with Client(serve(worker)) as client:
        answers = list(client.predict_many("M", mixed(), {"past": [1]}))
    assert [len(answer) for answer in answers] == [2, 1, 400_000, 1, 0]
    assert isinstance(answers[3], pd.DataFrame)
    assert [received.streamed for received in worker.received] == [False, False, True, False, False]
    assert all(received.frame("historic").num_rows == 1 for received in worker.received)


def test_many_predictions_on_asyncio(serve: Any) -> None:
    async def scenario() -> list[int]:
        async with AsyncClient(serve(Worker())) as client:
            return [len(answer) async for answer in client.predict_many("M", mixed())]

    assert asyncio.run(scenario()) == [2, 1, 400_000, 1, 0]


def test_one_of_many_that_fails(serve: Any) -> None:
    futures: list[Any] = [{"x": [1.0]}, {"x": [-1.0]}, pa.table({"x": np.full(400_000, -1.0)}), {"x": [2.0]}]
    with Client(serve(Worker())) as client:
        answers = list(client.predict_many("M", futures, errors="return"))
        assert [type(answer) for answer in answers] == [pa.Table, Internal, Internal, pa.Table]
        with pytest.raises(Internal, match="no negative x"):
            list(client.predict_many("M", futures))


def test_many_predictions_are_taken_as_they_come(serve: Any) -> None:
    """The source may wait for an answer before it makes the next question."""
    answered = threading.Semaphore(1)

    def futures() -> Iterator[Any]:
        for x in range(5):
            assert answered.acquire(timeout=10)
            yield {"x": [float(x)]}

    with Client(serve(Worker())) as client:
        seen = []
        for answer in client.predict_many("M", futures()):
            seen.append(answer["y"][0].as_py())
            answered.release()
    assert seen == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_many_predictions_as_they_are_done(serve: Any) -> None:
    """The first is answered last."""

    class Backwards(Worker):
        def PredictStream(self, request_iterator: Any, context: Any) -> Iterator[predict_service_pb2.PredictStreamResponse]:
            options, *requests = request_iterator
            assert options.options.out_of_order
            yield from reversed(list(super().PredictStream(iter(requests), context)))

    with Client(serve(Backwards())) as client:
        futures = [{"x": [float(x)]} for x in range(4)]
        pairs = list(client.predict_many("M", futures, out_of_order=True))
    assert [(number, answer["y"][0].as_py()) for number, answer in pairs] == [(3, 6.0), (2, 4.0), (1, 2.0), (0, 0.0)]


@pytest.mark.parametrize("in_flight", [1, 3])
def test_frames_are_not_read_before_they_may_be_in_flight(serve: Any, in_flight: int) -> None:
    read: list[int] = []

    def futures() -> Iterator[Any]:
        for x in range(20):
            read.append(x)
            yield {"x": [float(x)]}

    with Client(serve(Worker())) as client:
        for taken, answer in enumerate(client.predict_many("M", futures(), in_flight=in_flight)):
            assert answer["y"][0].as_py() == 2.0 * taken
            # What was answered is answered to the client before this loop has taken it: one more may be under way for each of them.
            assert len(read) <= taken + 1 + in_flight
    with Client("localhost:1") as client, pytest.raises(InvalidArgument, match="in_flight"):
        list(client.predict_many("M", [], in_flight=0))


def test_asynchronous_frames(serve: Any) -> None:
    asked: asyncio.Queue[float | None] = asyncio.Queue()

    async def futures() -> AsyncIterator[Any]:
        while (x := await asked.get()) is not None:
            yield {"x": [x]}

    async def scenario() -> list[float]:
        seen: list[float] = []
        async with AsyncClient(serve(Worker())) as client:
            await asked.put(1.0)
            async for answer in client.predict_many("M", futures()):
                seen.append(answer["y"][0].as_py())
                await asked.put(seen[-1] if len(seen) < 4 else None)
        return seen

    assert asyncio.run(scenario()) == [2.0, 4.0, 8.0, 16.0]


def test_asynchronous_frames_that_fail_or_are_not_wanted_any_more(serve: Any) -> None:
    async def failing() -> AsyncIterator[Any]:
        yield {"x": [1.0]}
        raise LookupError("no more of them")

    async def endless() -> AsyncIterator[Any]:
        yield {"x": [1.0]}
        await asyncio.Event().wait()

    async def scenario() -> None:
        async with AsyncClient(serve(Worker())) as client:
            with pytest.raises(LookupError, match="no more of them"):
                _ = [answer async for answer in client.predict_many("M", failing())]
            async with aclosing(client.predict_many("M", endless())) as answers:
                assert (await anext(answers))["y"].to_pylist() == [2.0]

    asyncio.run(scenario())
    left = [thread for thread in threading.enumerate() if thread.name == "modelwire-requests"]
    for thread in left:
        thread.join(10)
        assert not thread.is_alive()


def test_a_frame_that_is_none_ends_the_stream_with_its_error(serve: Any) -> None:
    with Client(serve(Worker())) as client, pytest.raises(InvalidArgument, match="future: must be a frame"):
        list(client.predict_many("M", [{"x": [1.0]}, 3]))


@both
@pytest.mark.parametrize("rows", [3, 400_000], ids=["small", "large"])
def test_predictions_are_submitted(serve: Any, call: Call, rows: int) -> None:
    worker = Worker()
    job = call(serve(worker), "submit_prediction", "M", big(rows), prediction_id="P", tags=["a"])
    assert (job.id, job.kind, job.artifact_id, job.model_id) == ("J", "predict", "P", "M")
    (received,) = worker.received
    assert received.streamed == (rows > 3)
    assert received.frame("future").equals(big(rows))
    assert received.frame("historic").equals(big(0)), "without a past: an empty frame with the same columns"
    assert (received.header.artifact_id, received.header.prediction_id) == ("M", "P")
    assert len(received.header.request_id) == 32


def test_validation_is_false_when_something_is_wrong(serve: Any) -> None:
    worker = Worker()
    with Client(serve(worker)) as client:
        found = client.runners.validate_training("C", {"x": []})
        assert not found
        assert (found.diagnostics[0].severity, found.diagnostics[0].code) == ("error", "data_empty")
        assert found.diagnostics[0].field is None
        client.runners.validate_prediction("M", {"x": [1]}, {"x": [2]})
    assert worker.received[1].header.type == runner_service_pb2.VALIDATION_TYPE_PREDICT
    assert worker.received[1].frame("historic").to_pydict() == {"x": [2]}


def test_ids_that_are_not_there_are_not_found(serve: Any) -> None:
    class Empty(PredictServiceServicer):
        def Predict(self, request: Any, context: Any) -> Any:
            context.abort(grpc.StatusCode.NOT_FOUND, "no model M")

    with pytest.raises(NotFound, match="no model M"):
        call(serve(Empty()), "predict", "M", {"x": [1]})
