"""What a training returned, where its compiled form predicts: it stays stored until it is needed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest
from serving import RUNNERS, ServerProcess

from modelwire import Client
from modelwire.v1 import frame_pb2, predict_service_pb2, predict_service_pb2_grpc

TARGETS = [f"{RUNNERS / 'late_imports.py'}:{name}" for name in ("runner", "labelled", "awaited", "scored")]
READ = "a prediction needs a model as it was trained"


def rows(count: int, *, gaps: bool = False) -> pa.Table:
    a, b = np.random.default_rng(1).normal(size=(2, count))
    return pa.table({"a": pa.array(a, mask=np.arange(count) % 3 == 1 if gaps else None), "b": b})


class Place:
    """A server that is started anew before each look, so that no training has imported anything into it."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server

    def trained(self, runner: str, *, gaps: bool = False) -> str:
        table = rows(300, gaps=gaps)
        data = table.append_column("y", pa.array(table["b"].to_numpy()))
        with Client(self.server.target) as client:
            model = client.train(client.configs.create(f"{runner} {gaps}", {}, runner=runner), data).wait()
            assert client.artifacts.get(model.id).metadata["compiled"]["passed"]
        self.server.stop()
        (self.server.data_dir / "server.log").unlink()
        self.server.start()
        return str(model.id)

    def predict(self, model: str, future: pa.Table, **fields: Any) -> tuple[str, list[float]]:
        """The engine, and the predictions."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, future.schema) as writer:
            writer.write_table(future)
        with grpc.insecure_channel(self.server.target) as channel:
            stub = predict_service_pb2_grpc.PredictServiceStub(channel)
            frame = frame_pb2.Frame(arrow=sink.getvalue().to_pybytes())
            found = stub.Predict(predict_service_pb2.PredictRequest(model=model, future=frame, **fields), timeout=60)
        return found.engine, pa.ipc.open_stream(found.predictions.arrow).read_all()["p"].to_pylist()

    def has(self, package: str, module: str = "") -> bool:
        """Whether the server has a library of the package in memory, or of a module of it."""
        return any(f"/{package}/{module}" in library.path for library in self.server.process.memory_maps())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ServerProcess(*TARGETS, data_dir=tmp_path) as server:
        yield Place(server)


def test_a_compiled_model_predicts_without_its_libraries_until_a_row_needs_them(place: Place) -> None:
    model = place.trained("late")
    engine, found = place.predict(model, rows(50))
    assert engine == "onnx"
    assert place.has("onnxruntime")
    assert not place.has("sklearn")
    assert not place.has("pandas")
    assert not place.has("pyarrow", "_compute.")
    with_gaps = rows(50, gaps=True)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: place.predict(model, with_gaps), range(16)))
    assert place.has("sklearn")
    assert place.server.output().count(READ) == 1
    assert {engine for engine, _ in answers} == {"runner"}
    expected = place.predict(model, with_gaps, engine="runner")
    assert all(answer == expected for answer in answers)
    assert min(expected[1]) >= 0
    engine, again = place.predict(model, rows(50))
    assert (engine, again) == ("onnx", found)
    _, original = place.predict(model, rows(50), engine="runner")
    np.testing.assert_allclose(found, original, rtol=1e-5, atol=1e-5)


def test_whoever_asks_for_the_original_gets_it(place: Place) -> None:
    model = place.trained("late")
    assert place.predict(model, rows(3), engine="runner")[0] == "runner"
    assert place.has("sklearn")


@pytest.mark.parametrize(
    ("runner", "gaps"),
    [("labelled", False), ("awaited", False), ("late", True)],
    ids=["predict asks for more than a method", "predict is async", "the training had gaps"],
)
def test_an_original_that_will_be_needed_is_read_at_once(place: Place, runner: str, gaps: bool) -> None:
    model = place.trained(runner, gaps=gaps)
    assert place.predict(model, rows(3))[0] == "onnx"
    assert place.has("sklearn")
    assert place.predict(model, rows(3, gaps=True))[0] == "runner"
    assert READ not in place.server.output()


def test_a_score_is_given_the_whole_model(place: Place) -> None:
    model = place.trained("scored")
    table = rows(20)
    with Client(place.server.target) as client:
        scored = client.registry.score(model, table.append_column("y", table["b"]))
    assert scored.scores == {"classes": 2.0}


def test_an_original_that_cannot_be_read_fails_the_rows_that_need_it(place: Place) -> None:
    model = place.trained("late")
    with Client(place.server.target) as client:
        digest = client.artifacts.get(model).digest
    (stored,) = place.server.data_dir.rglob(f"*{digest[-40:]}")
    content = stored.read_bytes()
    stored.write_bytes(b"something else")
    assert place.predict(model, rows(3))[0] == "onnx"
    for _ in range(2):
        with pytest.raises(grpc.RpcError, match="was changed"):
            place.predict(model, rows(3, gaps=True))
    assert place.predict(model, rows(3))[0] == "onnx"
    stored.write_bytes(content)
    assert place.predict(model, rows(3, gaps=True))[0] == "runner"
