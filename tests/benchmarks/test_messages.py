"""The messages that the benchmarks make by hand are those of the contracts."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from benchmarks.serving import oip, wire
from benchmarks.serving.load import SOURCE, Report
from benchmarks.serving.peer import Place, Question
from benchmarks.serving.peers import flight, modelwire
from benchmarks.serving.rounds import Measured, Results
from benchmarks.serving.scenarios import streams
from benchmarks.serving.work import Work

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


def _streamed() -> Work:
    return modelwire.streamed(Place("python", Path(), 4, 1, 2), "model", Question(ROWS, np.zeros(len(ROWS))))


def test_messages_in_bundles_are_the_same_and_answers_in_bundles_are_asked_for() -> None:
    alone, bundled = _streamed(), modelwire.bundled(_streamed())
    assert bundled.messages == alone.messages
    assert [pb.PredictStreamRequest.FromString(message).options.bundled for message in bundled.preamble] == [True]
    assert bundled.options == ("-numbered", f"-bundled={modelwire.BUNDLED}")


def test_the_load_generator_knows_the_fields_of_bundles() -> None:
    tags = dict(re.findall(r"(\w+) += (\d+)<<3 \| 2", (SOURCE / "bundles.go").read_text()))
    assert int(tags["askedTag"]) == pb.PredictStreamRequest.BUNDLE_FIELD_NUMBER
    assert int(tags["answersTag"]) == pb.PredictStreamResponse.BUNDLE_FIELD_NUMBER
    assert (
        int(tags["partTag"])
        == pb.PredictStreamRequestBundle.PARTS_FIELD_NUMBER
        == pb.PredictStreamResponseBundle.PARTS_FIELD_NUMBER
    )


def test_bundles_are_held_against_the_unary_calls_of_the_same_engine() -> None:
    def reports(name: str, *rates: float) -> Measured:
        return {
            (name, level): Report(1, rate, 1, 0, {}) for level, rate in zip((streams.UNARY, *streams.SHAPES), rates, strict=True)
        }

    results = Results(busy_at_start=0)
    results.add(reports("modelwire, compiled", 100, 200, 300))
    results.add({key: one for key, one in reports("modelwire, bundled, compiled", 0, 500, 600).items() if key[1] != streams.UNARY})
    (row,) = [row for row in streams.table(results).rows if row[0] == "modelwire, bundled, compiled"]
    assert row[1:4] == ["100", "500", "600"]
    assert row[6:8] == ["5.00 x", "6.00 x"]


def test_nothing_but_versions_is_in_the_requirements() -> None:
    for path in (Path(modelwire.__file__).parents[1] / "requirements").glob("*.txt"):
        assert all("==" in line for line in path.read_text().splitlines()), path
