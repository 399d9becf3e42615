"""modelwire itself, by its own contract."""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from modelwire import Client, __version__
from modelwire.v1 import predict_service_pb2 as pb

from .. import sample, wire
from ..machine import ROOT
from ..peer import SERVERS, Peer, Place, Question, Works
from ..work import Work
from .mlserver import infer

PREDICT = "/modelwire.v1.PredictService/Predict"
STREAM = "/modelwire.v1.PredictService/PredictStream"
# The most messages in a bundle, and what asks for answers in bundles.
BUNDLED = 32
OPTIONS = pb.PredictStreamRequest(options=pb.PredictStreamOptions(bundled=True)).SerializeToString()
# Fields of PredictStreamResponse.
PREDICTIONS, ERROR = 3, 5
# Record batches of 1.25 MiB.
BATCH_ROWS = 16_384


class Modelwire(Peer):
    name = "modelwire"
    settings = "one process; defaults"
    # Jobs, trainings for instance, are forked from a process that imports what they need.
    beside = "modelwire_server.execution"
    options: ClassVar[Sequence[str]] = ()
    runners: ClassVar[Sequence[str]] = ("runner",)
    forms: ClassVar[Sequence[str]] = (
        "record batches of 1.25 MiB on a stream",
        "record batches of 1.25 MiB on a stream, compiled",
        "one message",
    )

    def command(self, place: Place) -> Sequence[str]:
        program = str(Path(place.python).parent / "modelwire")
        runners = [f"{SERVERS / 'modelwire_sample.py'}:{runner}" for runner in self.runners]
        ports = [f"--grpc-port={place.port}", f"--http-port={place.other_port}"]
        return [program, "serve", *runners, *ports, "--data-dir=data", "--log-level=warning", *self.options]

    def variables(self, place: Place) -> Mapping[str, str]:
        # For the one message of 80 MB.
        return {"MODELWIRE_MAX_MESSAGE_BYTES": "256MiB", "MODELWIRE_MAX_PREDICT_BYTES": "256MiB"}

    def calls(self, place: Place, question: Question) -> Works:
        model = train(place)
        return {
            self.name: unary(place, model, question, "runner"),
            f"{self.name}, compiled": unary(place, model, question, "onnx"),
            f"{self.name}, OIP, compiled": infer(place, question, model),
        }

    def streams(self, place: Place, question: Question) -> Works:
        model = train(place)
        alone = {
            self.name: streamed(place, model, question, "runner"),
            f"{self.name}, compiled": streamed(place, model, question, "onnx"),
        }
        return alone | {name.replace(self.name, f"{self.name}, bundled"): bundled(work) for name, work in alone.items()}

    def frame(self, place: Place, question: Question, form: str) -> Work:
        model, engine = train(place), "onnx" if "compiled" in form else "runner"
        if "stream" in form:
            return whole(place, STREAM, list(chunked(model, question.rows, engine)), question, classes_of_stream)
        return whole(place, PREDICT, [request(model, question.rows, engine).SerializeToString()], question, classes)

    def version(self) -> str:
        """With the commit, if there is git and a repository, and whether anything but the results has changed since."""
        commit = _git("rev-parse", "--short=10", "HEAD")
        changed = _git("diff", "--name-only", "HEAD", "--", ".", ":!benchmarks/RESULTS.md", ":!benchmarks/results")
        return f"{__version__} ({commit}{'-dirty' if changed else ''})" if commit else __version__


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


class ModelwireWorkers(Modelwire):
    name = "modelwire, 2 workers"
    settings = "--workers 2"
    options = ("--workers=2",)
    forms = ()


class ModelwireUncompiled(Modelwire):
    """Without ONNX Runtime in memory, which is there where a model has a compiled form, whoever predicts."""

    name = "modelwire, compile=off"
    settings = "one process, models as they were trained only"
    forms = ("record batches of 1.25 MiB on a stream",)
    calls = Peer.calls
    streams = Peer.streams

    def variables(self, place: Place) -> Mapping[str, str]:
        return {**super().variables(place), "MODELWIRE_COMPILE": "off"}


def train(place: Place, runner: str = "sample") -> str:
    """The id of a model that was trained on the sample."""
    rows, target = sample.training(place.columns)
    with Client(place.address, wait_for_ready=True) as client:
        config = client.configs.create("sample", {}, runner=runner).id
        return client.train(config, frame(rows).append_column("target", pa.array(target))).wait().id


def unary(place: Place, model: str, question: Question, engine: str = "") -> Work:
    asked = [(request(model, row, engine).SerializeToString(), expected) for row, expected in question.single()]
    return Work(
        mode="unary",
        target=place.address,
        method=PREDICT,
        messages=[message for message, _ in asked],
        expected=[expected for _, expected in asked],
        read=classes,
    )


def model_of(work: Work) -> str:
    """The model that a PredictRequest names."""
    (model,) = wire.parse(work.messages[0])[1]
    assert isinstance(model, bytes)
    return model.decode()


def streamed(place: Place, model: str, question: Question, engine: str = "") -> Work:
    asked = [(pb.PredictStreamRequest(whole=request(model, row, engine)), expected) for row, expected in question.single()]
    return Work(
        mode="stream",
        target=place.address,
        method=STREAM,
        messages=[message.SerializeToString() for message, _ in asked],
        expected=[expected for _, expected in asked],
        read=lambda answer: classes(pb.PredictStreamResponse.FromString(answer).whole.SerializeToString()),
        options=("-numbered",),
    )


def bundled(work: Work) -> Work:
    """The same messages, in bundles of those that have room at the same time."""
    return replace(work, preamble=[OPTIONS], options=(*work.options, f"-bundled={BUNDLED}"))


def whole(place: Place, method: str, messages: Sequence[bytes], question: Question, read: Callable[[bytes], list[int]]) -> Work:
    return Work(
        mode="unary" if method == PREDICT else "exchange",
        target=place.address,
        method=method,
        messages=messages,
        expected=[question.expected.tolist()],
        read=read,
        whole=True,
    )


def request(model: str, rows: np.ndarray, engine: str = "") -> pb.PredictRequest:
    asked = pb.PredictRequest(model=model, engine=engine)
    asked.future.arrow = b"".join(pieces(frame(rows)))
    return asked


def chunked(model: str, rows: np.ndarray, engine: str) -> Iterator[bytes]:
    """A prediction in chunks that end where record batches do."""
    yield pb.PredictStreamRequest(call=1, header=pb.PredictRequest(model=model, engine=engine)).SerializeToString()
    for piece in pieces(frame(rows), BATCH_ROWS):
        yield pb.PredictStreamRequest(call=1, future=piece).SerializeToString()
    yield pb.PredictStreamRequest(call=1, end=pb.PredictStreamEnd()).SerializeToString()


def frame(rows: np.ndarray) -> pa.Table:
    return pa.table(dict(zip(sample.names(rows.shape[1]), rows.T.copy(), strict=True)))


def pieces(table: pa.Table, rows: int | None = None) -> Iterator[bytes]:
    """An Arrow stream: the schema, record batches of so many rows, the end."""
    sink = pa.BufferOutputStream()
    ends = [0]
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=rows):
            ends.append(sink.tell())
            writer.write_batch(batch)
    content = sink.getvalue()
    for begin, end in zip(ends, [*ends[1:], content.size], strict=True):
        if end > begin:
            yield content[begin:end].to_pybytes()


def classes(answer: bytes) -> list[int]:
    return _classes(pb.PredictResponse.FromString(answer).predictions.arrow)


def classes_of_stream(answer: bytes) -> list[int]:
    fields = wire.parse(answer)
    if ERROR in fields:
        raise RuntimeError(str(fields[ERROR][0]))
    return _classes(b"".join(part for part in fields[PREDICTIONS] if isinstance(part, bytes)))


def _classes(content: bytes) -> list[int]:
    found: list[int] = pa.ipc.open_stream(content).read_all()["prediction"].to_pylist()
    return found
