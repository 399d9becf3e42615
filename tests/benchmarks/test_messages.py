"""The messages that the benchmarks make by hand are those of the contracts."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from benchmarks.serving import oip, wire
from benchmarks.serving.peers import flight, modelwire

from modelwire.v1 import predict_service_pb2 as pb
from modelwire_server.protocols.open_inference.v2 import open_inference_pb2

ROWS = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**40])
def test_numbers_come_back(number: int) -> None:
    assert wire.parse(wire.field(5, number)) == {5: [number]}


def test_an_inference_request_is_what_the_protocol_says() -> None:
    request = open_inference_pb2.ModelInferRequest.FromString(oip.request("sample", "predict", ROWS))
    (tensor,) = request.inputs
    assert (request.model_name, tensor.name, tensor.datatype, list(tensor.shape)) == ("sample", "predict", "FP64", [3, 4])
    assert np.array_equal(np.frombuffer(request.raw_input_contents[0]).reshape(3, 4), ROWS)


def _tensor(**contents: object) -> open_inference_pb2.ModelInferResponse:
    response = open_inference_pb2.ModelInferResponse()
    response.outputs.add(name="predict", datatype="INT64", shape=[3], **contents)
    return response


def test_predictions_are_found_as_raw_bytes_and_as_a_list() -> None:
    raw = _tensor()
    raw.raw_output_contents.append(np.array([2, 0, 1]).tobytes())
    listed = _tensor(contents=open_inference_pb2.InferTensorContents(int64_contents=[2, 0, 1]))
    assert oip.predictions(raw.SerializeToString()) == oip.predictions(listed.SerializeToString()) == [2, 0, 1]


def test_record_batches_come_back_from_flight() -> None:
    table = pa.table({"prediction": pa.array([3, 1, 2, 0, 5], pa.int64())})
    assert flight.classes(b"".join(flight.flight_data(table, 2))) == [3, 1, 2, 0, 5]


def test_chunks_of_a_prediction_end_where_record_batches_do() -> None:
    rows = np.zeros((2 * modelwire.BATCH_ROWS + 1, 4))
    header, *chunks, end = [pb.PredictStreamRequest.FromString(message) for message in modelwire.chunked("model", rows, "runner")]
    assert (header.header.model, header.header.engine, end.WhichOneof("part")) == ("model", "runner", "end")
    assert len(chunks) == 3, "three record batches, the first with the schema, the last with the end of the stream"
    assert pa.ipc.open_stream(b"".join(chunk.future for chunk in chunks)).read_all().num_rows == len(rows)


def test_nothing_but_versions_is_in_the_requirements() -> None:
    for path in (Path(modelwire.__file__).parents[1] / "requirements").glob("*.txt"):
        assert all("==" in line for line in path.read_text().splitlines()), path
