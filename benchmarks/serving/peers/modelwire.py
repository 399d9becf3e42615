"""modelwire itself, by its own contract."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from modelwire import Client
from modelwire.v1 import predict_service_pb2 as pb

from .. import sample
from ..peer import SERVERS, Peer, Place, Question
from ..work import Work

PREDICT = "/modelwire.v1.PredictService/Predict"


class Modelwire(Peer):
    name = "modelwire"

    def command(self, place: Place) -> Sequence[str]:
        program = Path(place.python).parent / "modelwire"
        ports = [f"--grpc-port={place.port}", f"--http-port={place.other_port}"]
        return [
            str(program),
            "serve",
            f"{SERVERS / 'modelwire_sample.py'}:runner",
            *ports,
            "--data-dir=data",
            "--log-level=warning",
        ]

    def subjects(self, place: Place, question: Question) -> Mapping[str, Work]:
        model = train(place)
        return {"modelwire": unary(place, model, question)}


def train(place: Place) -> str:
    """The id of a model that was trained on the sample."""
    rows, classes = sample.training(place.columns)
    with Client(place.address, wait_for_ready=True) as client:
        config = client.configs.create("sample", {}).id
        return client.train(config, {**dict(zip(sample.names(place.columns), rows.T, strict=True)), "target": classes}).wait().id


def unary(place: Place, model: str, question: Question, engine: str = "") -> Work:
    asked = [(request(model, row, engine).SerializeToString(), expected) for row, expected in question.single()]
    return Work(
        mode="unary",
        target=place.address,
        method=PREDICT,
        messages=[message for message, _ in asked],
        expected=[expected for _, expected in asked],
        read=lambda answer: classes(pb.PredictResponse.FromString(answer)),
    )


def request(model: str, rows: np.ndarray, engine: str = "") -> pb.PredictRequest:
    asked = pb.PredictRequest(model=model, engine=engine)
    asked.future.arrow = arrow(frame(rows))
    return asked


def frame(rows: np.ndarray) -> pa.Table:
    return pa.table(dict(zip(sample.names(rows.shape[1]), rows.T, strict=True)))


def arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def classes(answer: pb.PredictResponse) -> list[int]:
    found: list[int] = pa.ipc.open_stream(answer.predictions.arrow).read_all()["prediction"].to_pylist()
    return found
