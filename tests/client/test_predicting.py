"""Predicting: one message or a stream, as the rows ask for, or a job."""
# ruff: noqa: N802 - servicers have the names of the contract

import threading
from typing import Any

import grpc
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from working_server import GEO, Call, Worker, big, both, call

from modelwire import Client, DeadlineExceeded, Internal, InvalidArgument, NotFound
from modelwire.v1 import runner_service_pb2
from modelwire.v1.predict_service_pb2_grpc import PredictServiceServicer


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
