"""Models that are compiled at the end of their training, and the columns that predictions are held against."""

import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest
from serving import EXAMPLES, RUNNERS, ServerProcess
from test_metrics import samples

from modelwire import Client, InvalidArgument, JobFailed
from modelwire.v1 import frame_pb2, predict_service_pb2, predict_service_pb2_grpc

TARGETS = [f"{RUNNERS / 'compilable.py'}:{name}" for name in ("runner", "left_alone")] + [f"{EXAMPLES / 'wine.py'}:runner"]
ENGINE = {"engine": "onnx", "passed": True, "tolerance": 1e-5}


def rows(count: int = 300, *, color: bool = False, y: bool = True) -> pa.Table:
    random = np.random.default_rng(1)
    a, b = random.normal(size=(2, count))
    columns: dict[str, Any] = {"a": a, "b": b, **({"y": a + b} if y else {})}
    return pa.table(columns | ({"color": random.choice(["red", "blue"], count)} if color else {}))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(*TARGETS, data_dir=tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.target) as client:
        yield client


def trained(client: Client, kind: str, runner: str = "compilable", count: int = 300, **fields: Any) -> tuple[Any, dict[str, Any]]:
    config = client.configs.create(kind, {"kind": kind}, runner=runner)
    model = client.train(config, rows(count, **fields)).wait()
    return model, dict(client.artifacts.get(model.id).metadata)


def answer(server: ServerProcess, model: str, future: pa.Table, **fields: Any) -> Any:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, future.schema) as writer:
        writer.write_table(future)
    with grpc.insecure_channel(server.target) as channel:
        stub = predict_service_pb2_grpc.PredictServiceStub(channel)
        frame = frame_pb2.Frame(arrow=sink.getvalue().to_pybytes())
        return stub.Predict(predict_service_pb2.PredictRequest(model=model, future=frame, **fields))


def table_of(answer: Any) -> pa.Table:
    return pa.ipc.open_stream(answer.predictions.arrow).read_all()


@pytest.mark.parametrize(
    ("kind", "methods", "color"),
    [
        ("boosted", [("['model']", "HistGradientBoostingClassifier", "predict_proba")], False),
        ("forest", [("the model", "RandomForestRegressor", "predict")], False),
        ("clusters", [("['model']", "KMeans", "transform")], False),
        ("text", [("the model", "Pipeline", "predict_proba"), ("the model", "Pipeline", "predict")], True),
    ],
)
def test_a_model_predicts_compiled_and_says_so(
    server: ServerProcess, client: Client, kind: str, methods: list[tuple[str, str, str]], color: bool
) -> None:
    model, metadata = trained(client, kind, color=color)
    report = metadata["compiled"]
    assert {name: report[name] for name in ENGINE} == ENGINE, report
    assert 0 <= report["max_difference"] <= 1e-5
    assert report["rows"] == 364
    assert [(one["place"], one["type"], one["method"]) for one in report["methods"]] == methods
    future = rows(50, color=color, y=False)
    found, original = (answer(server, model.id, future, engine=engine) for engine in ("", "runner"))
    assert (found.engine, original.engine) == ("onnx", "runner")
    for column, expected in zip(table_of(found).columns, table_of(original).columns, strict=True):
        assert column.type == expected.type
        if pa.types.is_floating(column.type):
            np.testing.assert_allclose(column.to_numpy(), expected.to_numpy(), rtol=1e-5, atol=1e-5)
        else:
            assert column.equals(expected)
    kept = [edge for edge in client.artifacts.get(model.id).inputs if edge.role == "compiled"]
    assert [edge.digest for edge in kept] == [one["digest"] for one in report["methods"]]


@pytest.mark.parametrize(
    ("kind", "runner", "reason"),
    [
        ("constant", "compilable", "the model neither is a scikit-learn estimator nor holds one as an item or attribute"),
        ("neighbours", "compilable", "it would be slower"),
        ("forest", "left-alone", None),
    ],
)
def test_what_is_not_compiled_says_why(server: ServerProcess, client: Client, kind: str, runner: str, reason: str | None) -> None:
    model, metadata = trained(client, kind, runner, count=5000)
    assert metadata.get("compiled", {}).get("reason") == reason
    assert answer(server, model.id, rows(5, y=False)).engine == "runner"
    with pytest.raises(grpc.RpcError, match="the model has no engine `onnx`, only `runner`"):
        answer(server, model.id, rows(5, y=False), engine="onnx")


def test_rows_that_only_the_estimator_knows_are_left_to_it(server: ServerProcess, client: Client) -> None:
    """Boosted trees know missing values, which their compiled form is not given."""
    model, _ = trained(client, "boosted")
    future = pa.table({"a": [None, 1.0], "b": [0.5, None]})
    found, original = (answer(server, model.id, future, engine=engine) for engine in ("onnx", "runner"))
    assert (found.engine, original.engine) == ("runner", "runner")
    assert table_of(found).equals(table_of(original))


def test_the_columns_of_a_training_are_the_contract_of_its_predictions(server: ServerProcess, client: Client) -> None:
    model, metadata = trained(client, "text", color=True)
    signature = metadata["signature"]
    assert [(one["name"], one["type"]) for one in signature["inputs"]] == [("a", "double"), ("b", "double"), ("color", "string")]
    assert signature["outputs"] == [{"name": "p", "type": "double"}, {"name": "y", "type": "bool"}]
    assert signature["targets"] == ["y"]
    future = pa.table({"color": ["red"], "more": [0], "b": [1], "a": [2]})
    same = pa.table({"a": [2.0], "b": [1.0], "color": ["red"]})
    found = table_of(answer(server, model.id, future, engine="runner"))
    assert found.equals(table_of(answer(server, model.id, same, engine="runner")))
    wrong = pa.table({"a": ["2"], "color": [1]})
    with pytest.raises(InvalidArgument) as raised:
        client.predict(model, wrong)
    assert raised.value.reason == "SCHEMA_VIOLATION"
    assert {violation.field: violation.description for violation in raised.value.violations} == {
        "future.a": "was double in the training and is string here: send it as double",
        "future.b": "is missing, it was double in the training: send it",
        "future.color": "was string in the training and is int64 here: send it as string",
    }
    with pytest.raises(grpc.RpcError, match="'more' is no column of the training"):
        answer(server, model.id, future, schema_policy="SCHEMA_POLICY_STRICT")
    with pytest.raises(grpc.RpcError, match="the runner raised"):
        answer(server, model.id, wrong, schema_policy="SCHEMA_POLICY_OFF")


def test_jobs_and_rest_keep_the_contract_too(server: ServerProcess, client: Client) -> None:
    model, _ = trained(client, "forest")
    with pytest.raises(InvalidArgument, match="'b' is missing"):
        client.submit_prediction(model, pa.table({"a": [1.0]}))
    lossy = pa.table({"a": [1.0], "b": [2**53 + 1]})
    with pytest.raises(JobFailed, match="holds 9007199254740993 here, which double cannot hold") as raised:
        client.submit_prediction(model, lossy).wait()
    assert raised.value.reason == "SCHEMA_VIOLATION"
    done = client.submit_prediction(model, pa.table({"b": [1], "a": [2]})).wait()
    assert client.artifacts.get(done.id).metadata["rows"] == 1

    def post(**frame: Any) -> Any:
        body = json.dumps({"model": model.id, "future": frame}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{server.http_port}/api/v1/ml/$predict-now", body)
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request) as found:  # noqa: S310
            return json.loads(found.read())

    found = post(columns=["b", "a"], data=[[1, 2], [1, 0.5]])
    assert len(found["predictions"]["data"]) == 2
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(columns=["b", "a"], data=[["one", 2]])
    assert "was double in the training and is string here" in refused.value.read().decode()


def test_the_example_is_compiled(server: ServerProcess, client: Client) -> None:
    subprocess.run([sys.executable, "-c", "import wine"], cwd=EXAMPLES, check=True)
    sys.path.insert(0, str(EXAMPLES))
    from wine import TARGET, load_frames

    seen, unseen = load_frames()
    model = client.train(client.configs.create("wine", {}, runner="wine"), seen).wait()
    found = answer(server, model.id, pa.Table.from_pandas(unseen.drop(columns=TARGET)))
    assert found.engine == "onnx"
    likeliest = table_of(found).to_pandas().idxmax(axis=1)
    assert (likeliest == unseen[TARGET]).mean() > 0.9


def test_models_in_memory_are_counted(server: ServerProcess, client: Client) -> None:
    model, _ = trained(client, "forest")
    before = samples(server)
    answer(server, model.id, rows(3, y=False))
    after = samples(server)
    assert after["modelwire_models_loaded"] == before["modelwire_models_loaded"] + 1
    assert after["modelwire_models_bytes"] > before["modelwire_models_bytes"]
    assert after["modelwire_model_load_seconds_count"] == before["modelwire_model_load_seconds_count"] + 1


def test_compiled_forms_are_verified_and_backed_up(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    with ServerProcess(*TARGETS, data_dir=data) as server, Client(server.target) as client:
        kept, _ = trained(client, "clusters")
        (digest,) = [edge.digest for edge in client.artifacts.get(kept.id).inputs if edge.role == "compiled"]
    (stored,) = data.rglob(f"*{digest[-40:]}")
    admin(data, "verify")
    admin(data, "backup", str(copy))
    shutil.rmtree(data)
    admin(data, "restore", str(copy))
    settings = {"pinned_models": kept.id, "compile": "off"}
    with ServerProcess(*TARGETS, data_dir=data, **settings) as server, Client(server.target) as client:
        assert samples(server)["modelwire_models_loaded"] == 1
        assert answer(server, kept.id, rows(3, y=False)).engine == "onnx"
        _, metadata = trained(client, "clusters")
        assert "compiled" not in metadata
    stored.write_bytes(b"something else")
    assert "(compiled)" in admin(data, "verify", "--json", fails=True)
    with ServerProcess(*TARGETS, data_dir=data) as server:
        assert answer(server, kept.id, rows(3, y=False)).engine == "runner"
        assert "the compiled form of a model cannot be loaded" in server.output()


def test_the_original_predicts_where_the_settings_say_so(tmp_path: Path) -> None:
    with (
        ServerProcess(*TARGETS, data_dir=tmp_path, engine="runner", schema_policy="off") as server,
        Client(server.target) as client,
    ):
        model, _ = trained(client, "clusters")
        assert answer(server, model.id, rows(3, y=False)).engine == "runner"
        assert answer(server, model.id, rows(3, y=False), engine="onnx").engine == "onnx"
        with pytest.raises(grpc.RpcError, match="the runner raised"):
            answer(server, model.id, rows(3, y=False).select(["a"]))


def admin(data: Path, *arguments: str, fails: bool = False) -> str:
    command = [str(Path(sys.executable).parent / "modelwire"), "admin", *arguments, "--data-dir", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bool(done.returncode) is fails, done.stdout + done.stderr
    return done.stdout + done.stderr
