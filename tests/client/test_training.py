"""Training: one message or a stream, as the data ask for."""
# ruff: noqa: N802 - servicers have the names of the contract

import asyncio
import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest
from working_server import GEO, Call, Worker, big, both, call

from modelwire import AsyncClient, Client, InvalidArgument, RunInfo, Unavailable
from modelwire.chunks import MIB
from modelwire.v1 import train_service_pb2
from modelwire.v1.predict_service_pb2_grpc import PredictServiceServicer
from modelwire.v1.train_service_pb2_grpc import TrainServiceServicer


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
